//! What feeds servers, and what cuts it: two supplies, and behind them a board. Other servers ask them; they fail by chance.

use std::collections::BTreeMap;

use symphony_core::plan::fence::{Fact, Fences, PowerFact, Probe, Step};
use symphony_core::power::{Device, NodePower, PowerState};
use symphony_protocol::{Failure, FailureKind, Seen, StepDone, Task};
use tokio::time::sleep;

use crate::world::{Mutation, World};

/// The program that speaks to them.
pub const PROGRAM: &str = "fence_simulated";
/// How many devices a server has; the last is its board.
const DEVICES: usize = 3;
/// The place of the board.
const BOARD: usize = 2;

/// Which of a server's devices have cut its power.
pub type Cuts = [bool; DEVICES];

/// Whether a server has no power by its devices.
#[must_use]
pub const fn is_cut(cuts: Cuts) -> bool {
    (cuts[0] && cuts[1]) || cuts[BOARD]
}

/// The devices of a server, as operators describe them.
#[must_use]
pub fn described(at: usize) -> NodePower {
    let device = |number: usize| Device {
        level: if number == BOARD { 2 } else { 1 },
        program: PROGRAM.to_owned(),
        options: BTreeMap::from([
            ("ip".to_owned(), at.to_string()),
            ("plug".to_owned(), number.to_string()),
        ]),
    };
    NodePower {
        devices: (0..DEVICES).map(device).collect(),
        after_s: None,
    }
}

/// The server and the device of it.
fn plug(device: &Device) -> Option<(usize, usize)> {
    let number = |name: &str| device.options.get(name)?.parse().ok();
    Some((number("ip")?, number("plug")?))
}

/// Does a task for a server's agent in one of its lives.
///
/// # Errors
/// The agent ended.
pub async fn run(
    world: &World,
    (at, life): (usize, u64),
    devices: &[Device],
    task: &Task<Fences>,
) -> Result<Seen<Fences>, Failure> {
    let (probes, steps) = match task {
        Task::Facts { probes } => (probes, [].as_slice()),
        Task::Steps { plan, then } => (then, plan.steps()),
    };
    let of = |number: u32| devices.get(number as usize).and_then(plug);
    let mut done = Vec::new();
    for Step::Cut { device } in steps {
        sleep(world.rng.millis(100, 20_000)).await;
        {
            let servers = world.servers();
            if servers[at].off || servers[at].life != life {
                return Err(Failure::new(FailureKind::Lost, "the agent ended"));
            }
        }
        if let Some((server, device)) = of(*device) {
            world.cut_power(server, device);
        }
        done.push(StepDone {
            action: "cut".to_owned(),
            took_ms: 1,
        });
    }
    let fact = |Probe::Power(number): &Probe| {
        Fact::Power(PowerFact {
            device: *number,
            state: of(*number).map_or(PowerState::Unknown, |(server, device)| state(world, server, device)),
            said: String::new(),
        })
    };
    Ok(Seen {
        facts: probes.as_slice().iter().map(fact).collect(),
        done,
    })
}

/// What a device says.
fn state(world: &World, server: usize, device: usize) -> PowerState {
    if world.rng.happens(100) {
        return PowerState::Unknown;
    }
    if world.mutation == Mutation::BoardsLie && device == BOARD {
        return PowerState::Off;
    }
    let servers = world.servers();
    let is_off = servers[server].cuts[device] || (device == BOARD && servers[server].off);
    if is_off { PowerState::Off } else { PowerState::On }
}
