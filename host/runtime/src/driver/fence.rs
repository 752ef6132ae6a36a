//! Fencing, between core's types and those of `wit/fence-driver.wit`.

use symphony_core::plan::fence::{Device, Fact, Fences, Intent, Probe, Step};
use symphony_core::power::PowerState;

use crate::bindings::fencing::exports::symphony::plugin::fence_driver as wit;

super::glue::glue!(Fences, wit);

fn device(device: &Device) -> wit::Device {
    wit::Device {
        number: device.number,
        level: device.level,
        program: device.program.clone(),
        tried: device.tried,
    }
}

fn intent(intent: &Intent) -> wit::Intent {
    wit::Intent {
        node: intent.node.clone(),
        devices: intent.devices.iter().map(device).collect(),
    }
}

fn fact(fact: &Fact) -> wit::Fact {
    let Fact::Power(fact) = fact;
    wit::Fact::Power(wit::PowerFact {
        device: fact.device,
        state: match fact.state {
            PowerState::On => wit::PowerState::On,
            PowerState::Off => wit::PowerState::Off,
            PowerState::Unknown => wit::PowerState::Unknown,
        },
        said: fact.said.clone(),
    })
}

fn probe(said: wit::Probe) -> Probe {
    let wit::Probe::Power(device) = said;
    Probe::Power(device)
}

fn step(said: wit::Step) -> Step {
    let wit::Step::Cut(device) = said;
    Step::Cut { device }
}
