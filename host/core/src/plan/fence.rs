//! Fencing: the intent, the facts and the steps of `wit/fence-driver.wit`, and the check on a plan.
//!
//! Only one thing is ever wanted: that a node has no power, and that this was seen. What a device is, and what opens it, is
//! not part of it: plugins know devices by their numbers.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::plugin::Slot;
use crate::power::PowerState;

use super::{Goal, Kind, PlanFault};

/// The kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fences;

/// The node that is to have no power.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Its name, for messages.
    pub node: String,
    /// What can cut its power.
    pub devices: Vec<Device>,
}

/// A device, as far as a plan needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub number: u32,
    /// All devices of one level together cut the power; a later level is for when an earlier one fails.
    pub level: u32,
    /// What asks it, for messages.
    pub program: String,
    /// Whether it was told to cut the power already, in this pass.
    pub tried: bool,
}

/// A fact that a driver needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// What a device says of the node's power.
    Power(u32),
}

/// What a device says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerFact {
    /// Its number.
    pub device: u32,
    /// What it says.
    pub state: PowerState,
    /// Why nobody knows, or why it could not cut the power; for a person, at most 400 characters.
    #[serde(default)]
    pub said: String,
}

/// What an agent saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// Of a device.
    Power(PowerFact),
}

/// One action of an agent; see `wit/fence-driver.wit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Has a device cut the power. That it could not is a fact, and no failure.
    Cut {
        /// Which.
        device: u32,
    },
}

/// What cut a node's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Off {
    /// The level of which each device says so.
    pub level: u32,
}

impl Kind for Fences {
    const NAME: &'static str = "fence";
    const SLOT: Slot = Slot::FenceDriver;

    type Intent = Intent;
    type Probe = Probe;
    type Fact = Fact;
    type Step = Step;
    type Met = Off;

    fn goal(_: &Intent) -> Goal {
        Goal::Absent
    }

    fn may_probe(intent: &Intent, probe: &Probe) -> Result<(), String> {
        let Probe::Power(number) = probe;
        match intent.has(*number) {
            true => Ok(()),
            false => Err(format!("device {number}")),
        }
    }

    /// All of them: an answer of some is none.
    fn proof(intent: &Intent) -> Vec<Probe> {
        intent
            .devices
            .iter()
            .map(|device| Probe::Power(device.number))
            .collect()
    }

    fn check(intent: &Intent, _: &[Fact], steps: &[Step]) -> Result<(), PlanFault> {
        for (position, Step::Cut { device }) in steps.iter().enumerate() {
            if !intent.has(*device) {
                return Err(PlanFault::ForeignObject {
                    step: position,
                    object: format!("device {device}"),
                });
            }
        }
        Ok(())
    }

    /// Each device of one level says that it is off. What one of several supplies says proves nothing, and neither do parts
    /// of two levels. One look is not yet enough to fence the node: devices are not asked in one moment.
    fn met(intent: &Intent, facts: &[Fact]) -> Option<Off> {
        let off = |number: u32| {
            let mut of = facts
                .iter()
                .map(|Fact::Power(fact)| fact)
                .filter(|fact| fact.device == number)
                .peekable();
            of.peek().is_some() && of.all(|fact| fact.state == PowerState::Off)
        };
        let levels: BTreeSet<u32> = intent.devices.iter().map(|device| device.level).collect();
        let is_off = |level: &u32| {
            let mut of = intent.devices.iter().filter(|device| device.level == *level);
            of.all(|device| off(device.number))
        };
        levels.into_iter().find(is_off).map(|level| Off { level })
    }

    fn action(step: &Step) -> &'static str {
        match step {
            Step::Cut { .. } => "cut",
        }
    }
}

impl Intent {
    /// Of a node whose power can be cut so.
    #[must_use]
    pub fn of(node: &crate::name::Name, power: &crate::power::NodePower) -> Self {
        let device = |(number, device): (u32, &crate::power::Device)| Device {
            number,
            level: u32::from(device.level),
            program: device.program.clone(),
            tried: false,
        };
        Self {
            node: node.to_string(),
            devices: (0..).zip(&power.devices).map(device).collect(),
        }
    }

    fn has(&self, number: u32) -> bool {
        self.devices.iter().any(|device| device.number == number)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{check, check_probes};
    use super::*;

    /// Two supplies, and behind them a management board.
    fn intent() -> Intent {
        let device = |number, level| Device {
            number,
            level,
            program: "fence_x".to_owned(),
            tried: false,
        };
        Intent {
            node: "n1".to_owned(),
            devices: vec![device(0, 1), device(1, 1), device(2, 2)],
        }
    }

    fn facts(states: &[(u32, PowerState)]) -> Vec<Fact> {
        let fact = |(device, state): &(u32, PowerState)| {
            Fact::Power(PowerFact {
                device: *device,
                state: *state,
                said: String::new(),
            })
        };
        states.iter().map(fact).collect()
    }

    #[test]
    fn off_is_what_each_device_of_a_level_says() {
        use PowerState::{Off as No, On, Unknown};
        let met = |states: &[(u32, PowerState)]| Fences::met(&intent(), &facts(states)).map(|off| off.level);
        assert_eq!(met(&[(0, No), (1, No), (2, On)]), Some(1));
        assert_eq!(met(&[(0, No), (1, On), (2, No)]), Some(2));
        for states in [
            vec![],
            vec![(0, No)],
            vec![(0, No), (1, On), (2, On)],
            vec![(0, No), (1, Unknown), (2, Unknown)],
            vec![(1, No), (2, Unknown)],
            vec![(0, No), (1, No), (1, On)],
            vec![(7, No)],
        ] {
            assert_eq!(met(&states), None, "{states:?}");
        }
        let nothing = Intent {
            devices: vec![],
            ..intent()
        };
        assert_eq!(
            Fences::met(&nothing, &facts(&[(0, No)])),
            None,
            "no device proves nothing"
        );
    }

    #[test]
    fn a_plan_is_about_devices_of_the_node_and_each_is_looked_at() {
        let cut = |device| check::<Fences>(&intent(), &[], vec![Step::Cut { device }]);
        assert!(cut(2).is_ok());
        assert!(matches!(cut(3), Err(PlanFault::ForeignObject { .. })));
        let probes = check_probes::<Fences>(&intent(), vec![Probe::Power(2)]).unwrap();
        assert_eq!(probes.as_slice().len(), 3);
        assert!(check_probes::<Fences>(&intent(), vec![Probe::Power(3)]).is_err());
    }
}
