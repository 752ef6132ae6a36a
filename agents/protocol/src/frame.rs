//! The frames of a session.

use serde::{Deserialize, Serialize};
use symphony_core::counter::Epoch;
use symphony_core::id::CallId;
use symphony_core::labels::Labels;
use symphony_core::name::Name;
use symphony_core::node::{Compute, Pool, Role};

use crate::work::{Call, Failure, Outcome};

/// From the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToManager {
    /// The first frame of a session.
    Hello(Hello),
    /// Nothing new; the agent lives.
    Heartbeat(Heartbeat),
    /// How far a call is; may be dropped on the way.
    Progress(Progress),
    /// The end of a call.
    Answer(Answer),
    /// Something happened to an object by itself: a machine ended. May be dropped on the way; the manager looks again.
    Noticed(Notice),
}

/// What something happened to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Kind and id, as in a call: `machine/ID`.
    pub object: String,
}

/// From the manager.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToAgent {
    /// The first frame of a session.
    Welcome(Welcome),
    /// The session ends here; the text says why and what to do.
    Refused(String),
    /// Something to do.
    Call(Box<Call>),
    /// Nothing new; the manager lives.
    Heartbeat,
}

/// Who the agent is and what its node has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// [`crate::PROTOCOL_VERSION`].
    pub protocol: u32,
    /// The node's name.
    pub node: Name,
    /// Version of the agent.
    pub version: String,
    /// What it can be asked to do.
    pub roles: Vec<Role>,
    /// Where it keeps volumes.
    pub pools: Vec<Pool>,
    /// What it has for machines; nothing when it runs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<Compute>,
    /// Labels from its own configuration.
    #[serde(default)]
    pub labels: Labels,
    /// Where its data port listens: `http://ADDRESS:PORT`.
    pub data_url: String,
    /// The highest epoch that it has seen. A manager below it is deposed and must not go on.
    pub epoch_seen: Epoch,
}

/// What the manager answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The leader's epoch.
    pub epoch: Epoch,
    /// How often to send a heartbeat, in milliseconds.
    pub heartbeat_ms: u64,
}

/// A sign of life.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Calls under way.
    pub calls: u32,
    /// Resident memory of the agent, in bytes.
    pub memory_bytes: u64,
}

/// How far a call is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Which call.
    pub call: CallId,
    /// The position of the step in its plan.
    pub step: u32,
    /// What the step does.
    pub action: String,
    /// Bytes done.
    pub done_bytes: u64,
    /// Bytes in all; 0 when nobody knows.
    pub total_bytes: u64,
}

/// The end of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Which call.
    pub call: CallId,
    /// What came of it.
    pub result: Result<Outcome, Failure>,
}
