//! What an agent is asked to do. Everything here was checked by the manager; the agent checks its own part again: the
//! epoch, the generation, and that every name stays in its folder.

use serde::{Deserialize, Serialize};
use symphony_core::counter::{Admission, Epoch, Generation, Tenure};
use symphony_core::digest::Digest;
use symphony_core::export::{Endpoint, ExportKey};
use symphony_core::id::CallId;
use symphony_core::id::VolumeId;
use symphony_core::name::Name;
use symphony_core::plan::export::Exports;
use symphony_core::plan::fence::Fences;
use symphony_core::plan::image::Images;
use symphony_core::plan::machine::Machines;
use symphony_core::plan::network::Networks;
use symphony_core::plan::volume::Volumes;
use symphony_core::plan::{Kind, Plan, Probes};
use symphony_core::power::Device;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Names it in answers and progress.
    pub id: CallId,
    /// The leader's; an agent refuses a smaller one than it has seen.
    pub epoch: Epoch,
    /// What it is about: [`Kind::NAME`], `/` and an id. Calls on the same object never run at the same time.
    pub object: String,
    /// The spec's generation; an agent refuses a smaller one than it has acted on.
    pub generation: Generation,
    /// The object's tenure; an agent refuses a smaller one than it has heard of. 0 for what does not move.
    #[serde(default)]
    pub tenure: Tenure,
    /// The node's admission as it was when this was decided on; an agent refuses any other than its own.
    #[serde(default)]
    pub admission: Admission,
    /// The work.
    pub work: Work,
}

/// What is to be done, by kind, with what only that kind's executor needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// For a volume.
    Volume {
        /// The pool that it is in.
        pool: Name,
        /// Where images can be fetched from.
        images: Vec<ImageLocation>,
        /// What to do.
        task: Task<Volumes>,
    },
    /// For an image.
    Image {
        /// What to do.
        task: Task<Images>,
    },
    /// For a machine.
    Machine {
        /// Where those of its volumes are reached that are on other nodes, and what opens them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        exports: Vec<ExportAccess>,
        /// What to do.
        task: Task<Machines>,
    },
    /// For a network's part on the node.
    Network {
        /// What to do.
        task: Task<Networks>,
    },
    /// For a volume's export.
    Export {
        /// What opens the generation that is to be served.
        key: ExportKey,
        /// What to do.
        task: Task<Exports>,
    },
    /// For another node's power. Never sent to an agent that names no programs for it.
    Fence {
        /// What can cut it; a device's number is its place here.
        devices: Vec<Device>,
        /// What to do.
        task: Task<Fences>,
    },
}

impl Work {
    /// Whether it changes anything on the node.
    #[must_use]
    pub const fn acts(&self) -> bool {
        match self {
            Self::Volume { task, .. } => task.acts(),
            Self::Image { task } => task.acts(),
            Self::Machine { task, .. } => task.acts(),
            Self::Network { task } => task.acts(),
            Self::Export { task, .. } => task.acts(),
            Self::Fence { task, .. } => task.acts(),
        }
    }
}

/// Reading facts, or running a checked plan and reading facts after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", bound = "")]
pub enum Task<K: Kind> {
    /// Facts.
    Facts {
        /// What to read.
        probes: Probes<K>,
    },
    /// Steps, then facts.
    Steps {
        /// The steps, in order; the first that fails ends the call.
        plan: Plan<K>,
        /// What to read afterwards.
        then: Probes<K>,
    },
}

impl<K: Kind> Task<K> {
    /// Whether it changes anything on the node.
    #[must_use]
    pub const fn acts(&self) -> bool {
        matches!(self, Self::Steps { .. })
    }
}

/// Where an image's stored bytes can be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageLocation {
    /// The image.
    pub digest: Digest,
    /// The data port of a node whose image service has it.
    pub data_url: String,
    /// How many bytes there are.
    pub stored_bytes: u64,
}

/// Where a volume of another node is reached, and what opens it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportAccess {
    /// The volume.
    pub volume: VolumeId,
    /// The export's name: which generation.
    pub export: String,
    /// Where.
    pub endpoint: Endpoint,
    /// As whom: the node of the machine.
    pub client: Name,
    /// The key.
    pub key: ExportKey,
}

/// What came of a call: as the work asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Of a volume.
    Volume(Seen<Volumes>),
    /// Of an image.
    Image(Seen<Images>),
    /// Of a machine.
    Machine(Seen<Machines>),
    /// Of a network's part on the node.
    Network(Seen<Networks>),
    /// Of a volume's export.
    Export(Seen<Exports>),
    /// Of another node's power.
    Fence(Seen<Fences>),
}

/// What an agent saw after it had done what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Seen<K: Kind> {
    /// As asked for in the probes, in their order.
    pub facts: Vec<K::Fact>,
    /// The steps, in their order; empty when there were none to run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<StepDone>,
}

/// A step that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepDone {
    /// What it did, in a word.
    pub action: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// Why a call failed. Nothing is undone: the next facts say what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}{message}", self.place())]
pub struct Failure {
    /// For a machine.
    pub kind: FailureKind,
    /// For a person.
    pub message: String,
    /// The step that failed: its position and what it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<(u32, String)>,
}

/// The kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The manager is not the leader any more.
    StaleEpoch,
    /// A later generation was acted on already.
    StaleGeneration,
    /// The object was placed anew since, or the node was let in again.
    StaleTenure,
    /// Too many calls under way, or one on the same object.
    Busy,
    /// There is no such pool, program or service on this node.
    Missing,
    /// The file system is full.
    NoSpace,
    /// Bytes are not what their digest says, or a file's structure is broken.
    Corrupt,
    /// Another node or service can't be reached.
    Unreachable,
    /// The work took longer than it may.
    Deadline,
    /// The session ended before the answer came. Made by the manager; the work may have been done.
    Lost,
    /// Anything else: the message says what.
    Other,
}

impl Failure {
    /// A failure of no particular step.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            step: None,
        }
    }

    fn place(&self) -> String {
        self.step.as_ref().map_or_else(String::new, |(position, action)| {
            format!("step {position} ({action}): ")
        })
    }
}
