//! What an agent is asked to do. Everything here was checked by the manager; the agent checks its own part again: the
//! epoch, the generation, and that every name stays in its folder.

use serde::{Deserialize, Serialize};
use symphony_core::counter::{Epoch, Generation};
use symphony_core::digest::Digest;
use symphony_core::id::CallId;
use symphony_core::name::Name;
use symphony_core::plan::{image, volume};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Names it in answers and progress.
    pub id: CallId,
    /// The leader's; an agent refuses a smaller one than it has seen.
    pub epoch: Epoch,
    /// What it is about: `volume/ID` or `image/ID`. Calls on the same object never run at the same time.
    pub object: String,
    /// The spec's generation; an agent refuses a smaller one than it has acted on.
    pub generation: Generation,
    /// The work.
    pub work: Work,
}

/// Reading facts, or running a checked plan and reading facts after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Facts for a volume.
    VolumeFacts {
        /// The pool that it is in.
        pool: Name,
        /// What to read.
        probes: volume::Probes,
    },
    /// Steps for a volume.
    VolumeSteps {
        /// The pool that it is in.
        pool: Name,
        /// The steps, in order; the first that fails ends the call.
        plan: volume::Plan,
        /// Where images can be fetched from.
        images: Vec<ImageLocation>,
        /// What to read afterwards.
        then: volume::Probes,
    },
    /// Facts for an image.
    ImageFacts {
        /// What to read.
        probes: image::Probes,
    },
    /// Steps for an image.
    ImageSteps {
        /// The steps, in order; the first that fails ends the call.
        plan: image::Plan,
        /// What to read afterwards.
        then: image::Probes,
    },
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

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As asked for in the probes.
    Volume(Vec<volume::Fact>),
    /// As asked for in the probes.
    Image(Vec<image::Fact>),
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
