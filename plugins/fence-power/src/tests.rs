//! The driver against simulated devices: whatever they do, it ends, and it never takes less than a level for off.

use symphony_sdk::FenceDriver as _;
use symphony_sdk::driver::Refusal;
use symphony_sdk::driver::fence::{Device, Fact, Intent, PowerFact, PowerState, Step};

use crate::Levels;

/// What a device does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Does as it is told.
    Works,
    /// Says that it is on whatever it is told.
    Stuck,
    /// Can't be asked.
    Silent,
    /// Is off before anybody asks.
    Off,
}

const KINDS: [Kind; 4] = [Kind::Works, Kind::Stuck, Kind::Silent, Kind::Off];

/// Two supplies, and a board behind them.
const LEVELS: [u32; 3] = [1, 1, 2];

fn state(kind: Kind, tried: bool) -> PowerState {
    match kind {
        Kind::Works if !tried => PowerState::On,
        Kind::Works | Kind::Off => PowerState::Off,
        Kind::Stuck => PowerState::On,
        Kind::Silent => PowerState::Unknown,
    }
}

/// How a run ends, and what was told to cut the power, in order.
fn run(kinds: [Kind; 3]) -> (Result<(), Refusal>, Vec<u32>) {
    let mut tried = Vec::new();
    for _ in 0..16 {
        let device = |(number, level): (u32, &u32)| Device {
            number,
            level: *level,
            program: "fence_x".to_owned(),
            tried: tried.contains(&number),
        };
        let intent = Intent {
            node: "n1".to_owned(),
            devices: (0..).zip(&LEVELS).map(device).collect(),
        };
        let fact = |(number, kind): (u32, &Kind)| {
            Fact::Power(PowerFact {
                device: number,
                state: state(*kind, tried.contains(&number)),
                said: String::new(),
            })
        };
        let facts: Vec<Fact> = (0..).zip(&kinds).map(fact).collect();
        match Levels.plan(&intent, &facts) {
            Err(refusal) => return (Err(refusal), tried),
            Ok(steps) if steps.is_empty() => return (Ok(()), tried),
            Ok(steps) => tried.extend(steps.iter().map(|Step::Cut(number)| *number)),
        }
    }
    panic!("{kinds:?}: the plans have no end");
}

#[test]
fn it_ends_with_a_level_that_is_off_or_with_all_tried() {
    for a in KINDS {
        for b in KINDS {
            for c in KINDS {
                let (ended, tried) = run([a, b, c]);
                let can = |kind: Kind| matches!(kind, Kind::Works | Kind::Off);
                let is_off = (can(a) && can(b)) || can(c);
                assert_eq!(ended.is_ok(), is_off, "{:?}: {ended:?}", [a, b, c]);
                let mut once = tried.clone();
                once.sort_unstable();
                once.dedup();
                assert_eq!(once.len(), tried.len(), "a device is told once");
            }
        }
    }
}

#[test]
fn the_next_level_is_only_told_when_the_first_has_failed() {
    assert_eq!(run([Kind::Works, Kind::Works, Kind::Works]), (Ok(()), vec![0, 1]));
    assert_eq!(run([Kind::Works, Kind::Stuck, Kind::Works]), (Ok(()), vec![0, 1, 2]));
    assert_eq!(run([Kind::Off, Kind::Works, Kind::Works]), (Ok(()), vec![1]));
    assert_eq!(run([Kind::Works, Kind::Works, Kind::Off]), (Ok(()), vec![]));
}

#[test]
fn what_failed_is_said() {
    let (ended, tried) = run([Kind::Works, Kind::Stuck, Kind::Silent]);
    let Err(Refusal::Unavailable(said)) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(tried, [0, 1, 2]);
    assert_eq!(
        said,
        "device 0 (fence_x) is off; device 1 (fence_x) is on after it was told to cut the power; device 2 (fence_x) does \
         not say whether it is off"
    );
}

#[test]
fn a_fact_that_did_not_come_is_not_off_and_no_device_is_invalid() {
    let device = Device {
        number: 0,
        level: 1,
        program: "fence_x".to_owned(),
        tried: true,
    };
    let mut intent = Intent {
        node: "n1".to_owned(),
        devices: vec![device],
    };
    assert!(matches!(Levels.plan(&intent, &[]), Err(Refusal::Unavailable(_))));
    intent.devices.clear();
    assert!(matches!(Levels.plan(&intent, &[]), Err(Refusal::Invalid(_))));
}
