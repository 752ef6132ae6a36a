//! Plans: what a driver wants done, and what the host takes of it.
//!
//! ```text
//!   intent ─► driver: probes ─► agent: facts ─► driver: plan ─► check ─► agent: steps ─► facts ─► … until nothing is left
//! ```
//!
//! Each [`Kind`] of resource has steps of its own, so that a driver of volumes can't even express a step on an image
//! service. A checked plan is a type of its own: what an agent is sent went through [`check`], there is no other way to
//! make one.

pub mod export;
pub mod fence;
pub mod image;
mod kind;
pub mod machine;
pub mod network;
pub mod volume;

pub use kind::{Kind, Plan, Probes, check, check_probes};

use serde::{Deserialize, Serialize};

/// Most steps in one plan.
pub const STEPS_MAX: usize = 256;
/// Most probes for one plan.
pub const PROBES_MAX: usize = 64;

/// What a resource should become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// It exists as the intent says.
    Present,
    /// Nothing is left of it.
    Absent,
}

/// Why a driver gives no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Can never be met as asked; a person must change it.
    #[error("{0}")]
    Invalid(String),
    /// The node lacks something now.
    #[error("{0}")]
    Unavailable(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Why a plan is not taken. The driver is at fault, never the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanFault {
    /// Over [`STEPS_MAX`].
    #[error("the plan has {0} steps, over the limit of {STEPS_MAX}")]
    TooManySteps(usize),
    /// Over [`PROBES_MAX`].
    #[error("{0} facts were asked for, over the limit of {PROBES_MAX}")]
    TooManyProbes(usize),
    /// A step or probe on something that does not belong to the resource.
    #[error("step {step} is on {object:?}, which does not belong to this resource")]
    ForeignObject {
        /// Its position in the plan.
        step: usize,
        /// What it is on.
        object: String,
    },
    /// A step that could destroy what the intent wants kept, or make what it wants gone.
    #[error("step {step} ({action}) goes against the intent")]
    AgainstIntent {
        /// Its position in the plan.
        step: usize,
        /// What it does.
        action: &'static str,
    },
    /// A size that the intent does not have.
    #[error("step {step} has {bytes} bytes, which is not what the intent asks for")]
    WrongSize {
        /// Its position in the plan.
        step: usize,
        /// What it says.
        bytes: u64,
    },
    /// An empty plan although the facts don't show that the intent is met.
    #[error("the plan is empty, and the intent is not met")]
    NothingDone,
    /// The plan never became empty.
    #[error("the plan was not empty after {0} rounds")]
    NoEnd(u32),
    /// A volume that starts from an image would be published without its content (or an empty one with some).
    #[error("step {step} publishes the volume without the content that it starts with")]
    WithoutContent {
        /// Its position in the plan.
        step: usize,
    },
    /// A command that is too large or not by a plain name.
    #[error("step {step} is a command that is not allowed")]
    Command {
        /// Its position in the plan.
        step: usize,
    },
}

impl PlanFault {
    /// One word for events and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooManySteps(_) => "too-many-steps",
            Self::TooManyProbes(_) => "too-many-probes",
            Self::ForeignObject { .. } => "foreign-object",
            Self::AgainstIntent { .. } => "against-intent",
            Self::WrongSize { .. } => "wrong-size",
            Self::NothingDone => "nothing-done",
            Self::NoEnd(_) => "no-end",
            Self::WithoutContent { .. } => "without-content",
            Self::Command { .. } => "command",
        }
    }
}

/// A program of the node's own allow-list; no shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// A name in the agent's list, not a path.
    pub program: String,
    /// At most 64, each at most 4 KiB.
    pub arguments: Vec<String>,
    /// At most 64 KiB.
    pub stdin: String,
    /// In milliseconds; at most an hour.
    pub timeout_ms: u32,
}

impl Command {
    /// Whether it keeps to the limits.
    #[must_use]
    pub fn is_acceptable(&self) -> bool {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !self.program.is_empty()
            && self.program.len() <= 63
            && !self.program.starts_with('.')
            && self.program.chars().all(plain)
            && self.arguments.len() <= 64
            && self.arguments.iter().all(|argument| argument.len() <= 4096)
            && self.stdin.len() <= 64 << 10
            && self.timeout_ms <= 3_600_000
    }
}
