//! What users ask for and what goes wrong, made of a seed before the run: so parts of it can be left out.

use std::time::Duration;

use crate::rng::Rng;
use crate::world::{MANAGERS, SERVERS};

/// Names of machines and of volumes that are used.
const NAMES: u64 = 7;

/// One thing that happens; numbers name machines, volumes, servers and managers.
#[derive(Debug, Clone)]
pub enum What {
    /// A machine, with a new volume of its own (1), with one that is there, wherever (2), or away from one (3).
    Create(u64, u64),
    /// A volume.
    CreateVolume(u64),
    /// A machine is not wanted any more, or a volume.
    Delete(u64),
    /// The same of a volume that no machine has.
    DeleteVolume(u64),
    /// It is to run, or not.
    Power(u64, bool),
    /// A volume is to be larger.
    Grow(u64),
    /// No new work there, or work again.
    Cordon(usize, bool),
    /// What can leave a server leaves.
    Drain(usize),
    /// A machine is moved by hand: its node drained until it has left, then it is to run again, and the node has work again.
    Move(u64),
    /// See [`crate::world::World::crash_manager`].
    CrashManager(usize, u64),
    /// See [`crate::world::World::freeze_leader`].
    Freeze(u64),
    /// See [`crate::world::World::store_down`].
    StoreDown(u64),
    /// See [`crate::world::World::lose_answers`].
    LoseAnswers(u64),
    /// See [`crate::world::World::cut_watches`].
    CutWatches(bool),
    /// See [`crate::world::World::crash_agent`].
    CrashAgent(usize),
    /// See [`crate::world::World::cut`].
    Cut(usize, u64),
    /// See [`crate::world::World::power_loss`].
    PowerLoss(usize, bool, u64),
    /// See [`crate::world::World::mute`].
    Mute(usize, u64),
    /// See [`crate::world::World::lose_ledger`].
    LoseLedger(usize),
    /// A server is cut off and goes on, and has its power cut by its devices.
    Unheard(usize, u64),
}

/// Something, and how long to wait before it.
#[derive(Debug, Clone)]
pub struct Event {
    /// The time since the one before.
    pub after: Duration,
    /// What.
    pub what: What,
}

/// How restless a cluster is: how long it is from one request to the next, and from one fault to the next, in milliseconds.
/// In some runs faults fall into the handling of others; in most a cluster comes to rest between them, and goes further.
struct Pace {
    requests: (u64, u64),
    faults: (u64, u64),
}

impl Pace {
    fn of(seed: u64) -> Self {
        match seed % 4 {
            0 => Self {
                requests: (200, 12_000),
                faults: (200, 12_000),
            },
            1 => Self {
                requests: (1_000, 10_000),
                faults: (5_000, 60_000),
            },
            _ => Self {
                requests: (5_000, 40_000),
                faults: (20_000, 120_000),
            },
        }
    }
}

/// A script of about this long.
#[must_use]
pub fn script(seed: u64, length: Duration) -> Vec<Event> {
    let rng = Rng::new(seed ^ 0x5eed);
    let pace = Pace::of(seed);
    let mut times: Vec<(Duration, What)> = Vec::new();
    for (range, what) in [(pace.requests, request as fn(&Rng) -> What), (pace.faults, fault)] {
        let mut at = rng.millis(range.0, range.1);
        while at < length {
            times.push((at, what(&rng)));
            at += rng.millis(range.0, range.1);
        }
    }
    times.sort_by_key(|(at, _)| *at);
    let mut before = Duration::ZERO;
    let event = |(at, what)| Event {
        after: at - std::mem::replace(&mut before, at),
        what,
    };
    times.into_iter().map(event).collect()
}

/// What users and operators ask for.
fn request(rng: &Rng) -> What {
    match rng.below(100) {
        0..26 => What::Create(rng.below(NAMES), [1, 1, 1, 2, 2, 3, 3, 3, 3, 3][rng.index(10)]),
        26..42 => What::CreateVolume(rng.below(NAMES)),
        42..51 => What::Delete(rng.below(NAMES)),
        51..55 => What::DeleteVolume(rng.below(NAMES)),
        55..70 => What::Power(rng.below(NAMES), rng.happens(600)),
        70..75 => What::Grow(rng.below(NAMES)),
        75..85 => What::Cordon(rng.index(SERVERS), rng.happens(400)),
        85..90 => What::Drain(rng.index(SERVERS)),
        _ => What::Move(rng.below(NAMES)),
    }
}

/// What goes wrong.
fn fault(rng: &Rng) -> What {
    let millis = |low, high| rng.below(high - low) + low;
    match rng.below(100) {
        0..9 => What::CrashManager(rng.index(MANAGERS), millis(500, 20_000)),
        9..18 => What::Freeze(millis(500, 20_000)),
        18..28 => What::StoreDown(millis(200, 9_000)),
        28..43 => What::LoseAnswers(millis(1_000, 15_000)),
        43..55 => What::CutWatches(rng.happens(500)),
        55..65 => What::CrashAgent(rng.index(SERVERS)),
        65..67 => What::LoseLedger(rng.index(SERVERS)),
        67..77 => What::Cut(rng.index(SERVERS), millis(500, 40_000)),
        77..82 => What::Mute(rng.index(SERVERS), millis(500, 20_000)),
        82..88 => What::Unheard(rng.index(SERVERS), millis(1_000, 40_000)),
        _ => What::PowerLoss(rng.index(SERVERS), rng.happens(600), millis(1_000, 40_000)),
    }
}
