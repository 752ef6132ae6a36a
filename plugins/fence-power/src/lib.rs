//! Cuts a node's power level by level: all devices of the first level, and only when that level has failed those of the
//! next. A device that was told once is not told again in the same run; the host begins anew later.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use symphony_sdk::FenceDriver;
use symphony_sdk::driver::Refusal;
use symphony_sdk::driver::fence::{Device, Fact, Intent, PowerFact, PowerState, Probe, Step};

/// The driver.
#[derive(Debug, Default)]
pub struct Levels;

impl FenceDriver for Levels {
    const NAME: &'static str = "power";

    fn probes(&self, intent: &Intent) -> Vec<Probe> {
        intent
            .devices
            .iter()
            .map(|device| Probe::Power(device.number))
            .collect()
    }

    fn plan(&self, intent: &Intent, facts: &[Fact]) -> Result<Vec<Step>, Refusal> {
        if intent.devices.is_empty() {
            return Err(Refusal::Invalid(
                "the node has no devices that cut its power".to_owned(),
            ));
        }
        let levels: BTreeSet<u32> = intent.devices.iter().map(|device| device.level).collect();
        let of = |level: u32| intent.devices.iter().filter(move |device| device.level == level);
        if levels
            .iter()
            .any(|level| of(*level).all(|device| is_off(facts, device)))
        {
            return Ok(Vec::new());
        }
        for level in levels {
            let left: Vec<Step> = of(level)
                .filter(|device| !device.tried && !is_off(facts, device))
                .map(|device| Step::Cut(device.number))
                .collect();
            if !left.is_empty() {
                return Ok(left);
            }
        }
        Err(Refusal::Unavailable(said(intent, facts)))
    }
}

symphony_sdk::export_fence_driver!(Levels);

fn fact<'a>(facts: &'a [Fact], device: &Device) -> Option<&'a PowerFact> {
    facts
        .iter()
        .map(|Fact::Power(fact)| fact)
        .find(|fact| fact.device == device.number)
}

/// A fact that did not come is unknown, and unknown is not off.
fn is_off(facts: &[Fact], device: &Device) -> bool {
    fact(facts, device).is_some_and(|fact| fact.state == PowerState::Off)
}

/// Why nothing is left to try.
fn said(intent: &Intent, facts: &[Fact]) -> String {
    let of = |device: &Device| {
        let (number, program) = (device.number, &device.program);
        let fact = fact(facts, device);
        let state = match fact.map(|fact| fact.state) {
            Some(PowerState::On) => "is on after it was told to cut the power",
            Some(PowerState::Off) => "is off",
            Some(PowerState::Unknown) | None => "does not say whether it is off",
        };
        match fact.map(|fact| fact.said.as_str()).filter(|said| !said.is_empty()) {
            Some(said) => format!("device {number} ({program}) {state}: {said}"),
            None => format!("device {number} ({program}) {state}"),
        }
    };
    intent.devices.iter().map(of).collect::<Vec<_>>().join("; ")
}
