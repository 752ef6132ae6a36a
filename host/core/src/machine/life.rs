//! The life of a machine: what is wanted of its domain now, and which phase that is.
//!
//! ```text
//!   Pending ─► Preparing ─► Starting ─► Running ─► Stopping ─► Stopped
//!      ▲ │                     ▲  ▲        │           (start)   │
//!      │ ▼                     │  └────────┼────────────────────┘
//!   Unplaceable                └── BackOff ◄┘ it died; after a pause       Deleting: from every phase
//! ```
//!
//! [`decide`] is a function of what is wanted, what was seen, what is remembered, and the time; [`MOVES`] is the table of
//! the phases that may follow one another, and a test holds `decide` to it.

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::plan::machine::{Exit, Power, RunState};

use super::{MachinePhase, RestartPolicy};

/// The first pause before a machine that died is started again; it doubles up to [`PAUSE_SECONDS_MAX`].
pub const PAUSE_SECONDS: i64 = 1;
/// The longest pause.
pub const PAUSE_SECONDS_MAX: i64 = 300;
/// A machine that ran this long has earned short pauses again.
pub const STEADY_SECONDS: i64 = 600;

/// What is remembered of a machine's starts and ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// How often it was started again since it last ran steadily or was ordered to boot.
    #[serde(default)]
    pub restarts: u32,
    /// The boot order that the count is about.
    #[serde(default)]
    pub boots: u64,
    /// When it was last seen to begin to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_since: Option<Timestamp>,
    /// It ended by itself, and its restart policy leaves it off: also after its hypervisor forgot how it ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rests: bool,
    /// It died; not to be started before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
}

/// What is wanted of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Whether it should run.
    pub power: Power,
    /// How often it was ordered to boot.
    pub boots: u64,
    /// What happens when it dies on its own.
    pub restart: RestartPolicy,
}

/// What was seen of its domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// What it does.
    pub state: RunState,
    /// The boot order of its last start; 0 before the first.
    pub boots: u64,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// What the driver is asked for.
    pub power: Power,
    /// What the machine is going through.
    pub phase: MachinePhase,
    /// What to remember.
    pub history: History,
    /// When to look again, if nothing else happens.
    pub look_again: Option<Timestamp>,
}

/// Decides what is wanted of the domain now. `seen` is nothing while the hypervisor does not know the machine.
#[must_use]
pub fn decide(wanted: Wanted, seen: Option<Seen>, history: History, now: Timestamp) -> Decision {
    // An order to boot is a new beginning: what the machine did before does not count.
    let mut history = if wanted.boots == history.boots {
        history
    } else {
        History {
            boots: wanted.boots,
            ..History::default()
        }
    };
    if wanted.power == Power::Off {
        history.not_before = None;
        history.running_since = None;
        let is_off = seen.is_none_or(|seen| matches!(seen.state, RunState::Off(_)));
        let phase = if is_off {
            MachinePhase::Stopped
        } else {
            MachinePhase::Stopping
        };
        return decision(Power::Off, phase, history, None);
    }
    match seen {
        Some(Seen {
            state: RunState::Off(Exit::NeverRan),
            boots,
        }) if boots >= wanted.boots && history.rests && wanted.restart != RestartPolicy::Always => {
            decision(Power::Off, MachinePhase::Stopped, history, None)
        }
        Some(Seen {
            state: RunState::Off(exit),
            boots,
        }) if boots >= wanted.boots && exit != Exit::NeverRan => died(wanted.restart, exit, history, now),
        Some(Seen {
            state: RunState::Running,
            boots,
        }) if boots >= wanted.boots => {
            history.not_before = None;
            history.rests = false;
            let since = *history.running_since.get_or_insert(now);
            if seconds(since, now) >= STEADY_SECONDS {
                history.restarts = 0;
            }
            decision(Power::On, MachinePhase::Running, history, None)
        }
        _ => {
            // It went off with its node.
            if seen.is_none_or(|seen| matches!(seen.state, RunState::Off(_))) {
                history.running_since = None;
            }
            decision(Power::On, MachinePhase::Starting, history, None)
        }
    }
}

/// It ran, and does not run any more, and nobody ordered that.
fn died(policy: RestartPolicy, exit: Exit, mut history: History, now: Timestamp) -> Decision {
    let comes_back = match policy {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => exit != Exit::Guest,
        RestartPolicy::Never => false,
    };
    history.rests = !comes_back;
    if !comes_back {
        history.running_since = None;
        history.not_before = None;
        return decision(Power::Off, MachinePhase::Stopped, history, None);
    }
    let not_before = match history.not_before {
        Some(not_before) => not_before,
        None => {
            if history
                .running_since
                .is_some_and(|since| seconds(since, now) >= STEADY_SECONDS)
            {
                history.restarts = 0;
            }
            let not_before = later(now, pause(history.restarts));
            history.restarts = history.restarts.saturating_add(1);
            history.running_since = None;
            not_before
        }
    };
    history.not_before = Some(not_before);
    if now < not_before {
        return decision(Power::Off, MachinePhase::BackOff, history, Some(not_before));
    }
    decision(Power::On, MachinePhase::Starting, history, None)
}

/// The pause before the next start, in seconds, after this many.
#[must_use]
pub fn pause(restarts: u32) -> i64 {
    PAUSE_SECONDS
        .saturating_mul(1_i64.checked_shl(restarts.min(32)).unwrap_or(i64::MAX))
        .min(PAUSE_SECONDS_MAX)
}

fn decision(power: Power, phase: MachinePhase, history: History, look_again: Option<Timestamp>) -> Decision {
    Decision {
        power,
        phase,
        history,
        look_again,
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> i64 {
    to.as_second().saturating_sub(from.as_second())
}

fn later(now: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_second(now.as_second().saturating_add(seconds)).unwrap_or(now)
}

/// What may follow what, and what moves it.
pub const MOVES: &[(MachinePhase, MachinePhase, &str)] = {
    use MachinePhase::{
        BackOff, Deleting, Failed, Pending, Preparing, Running, Starting, Stopped, Stopping, Unplaceable,
    };
    &[
        (Pending, Unplaceable, "no node takes it"),
        (Pending, Preparing, "placed"),
        (Unplaceable, Preparing, "placed"),
        (Preparing, Starting, "its volumes and networks are there"),
        (
            Preparing,
            Stopped,
            "its volumes and networks are there, and it should be off",
        ),
        (Preparing, Failed, "the driver refuses"),
        (Preparing, Running, "it was started before the manager was"),
        (Preparing, Stopping, "stop, and it was started before the manager knew"),
        (Preparing, BackOff, "it had died before the manager knew"),
        (Starting, Preparing, "its node came again before it was seen to run"),
        (Starting, Running, "it runs"),
        (Starting, Stopping, "stop"),
        (
            Starting,
            Stopped,
            "stop before it ran, or it ended at once and stays off",
        ),
        (Starting, BackOff, "it died at once"),
        (Starting, Failed, "the driver refuses"),
        (Running, Stopping, "stop"),
        (Running, Starting, "reboot, or its node came up again"),
        (Running, BackOff, "it died"),
        (Running, Stopped, "it ended and stays off, or was stopped"),
        (Stopping, Stopped, "it is off"),
        (Stopping, Starting, "start"),
        (Stopping, Running, "start before it went"),
        (Stopping, BackOff, "start, and it had died"),
        (Stopped, Starting, "start"),
        (Stopped, Running, "start"),
        (Stopped, Stopping, "somebody else started it"),
        (Stopped, BackOff, "its restart policy was changed"),
        (BackOff, Starting, "the pause is over"),
        (BackOff, Running, "somebody else started it"),
        (BackOff, Stopping, "stop, and somebody else had started it"),
        (BackOff, Stopped, "stop"),
        (Running, Failed, "the driver refuses what was changed"),
        (Stopping, Failed, "the driver refuses what was changed"),
        (Stopped, Failed, "the driver refuses what was changed"),
        (BackOff, Failed, "the driver refuses what was changed"),
        (Failed, Preparing, "the spec was changed"),
        (Failed, Starting, "the spec was changed"),
        (Failed, Running, "the spec was changed, and it had gone on"),
        (Failed, Stopping, "the spec was changed"),
        (Failed, Stopped, "the spec was changed"),
        (Failed, BackOff, "the spec was changed, and it had died"),
        (Pending, Deleting, "delete"),
        (Unplaceable, Deleting, "delete"),
        (Preparing, Deleting, "delete"),
        (Starting, Deleting, "delete"),
        (Running, Deleting, "delete"),
        (Stopping, Deleting, "delete"),
        (Stopped, Deleting, "delete"),
        (BackOff, Deleting, "delete"),
        (Failed, Deleting, "delete"),
        (Preparing, Pending, "it leaves its node"),
        (Starting, Pending, "it leaves its node"),
        (Running, Pending, "its node was fenced"),
        (Stopping, Pending, "it leaves its node"),
        (Stopped, Pending, "it leaves its node"),
        (BackOff, Pending, "it leaves its node"),
        (Failed, Pending, "it leaves its node"),
    ]
};

/// Whether a phase may follow another.
#[must_use]
pub fn may_follow(before: MachinePhase, after: MachinePhase) -> bool {
    before == after || MOVES.iter().any(|(from, to, _)| (*from, *to) == (before, after))
}

#[cfg(test)]
mod tests;
