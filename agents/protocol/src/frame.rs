//! The frames of a session.

use serde::{Deserialize, Serialize};
use symphony_core::counter::{Admission, Epoch, Tenure};
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
    /// The node is as a [`Readmit`] said, and the agent has written that down.
    Readmitted(Readmitted),
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
    /// Who belongs to the cluster has changed. Never sent to an agent below protocol 4.
    Members(Members),
    /// What the node may keep; there are no calls before the answer. Never sent to an agent that says no admission.
    Readmit(Box<Readmit>),
}

/// What a node may keep, before it gets work (again). Objects that the agent has and that are not kept end, if that was
/// confirmed: absence alone is not an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readmit {
    /// The node's admission from now on; that of the session's welcome.
    pub admission: Admission,
    /// Objects with their tenures, at most [`crate::KEEP_MAX`]: what is placed there.
    pub keep: Vec<(String, Tenure)>,
    /// Whether all else ends: somebody fenced the node, and said so.
    #[serde(default)]
    pub confirmed: bool,
}

/// What came of a [`Readmit`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readmitted {
    /// The agent's admission now.
    pub admission: Admission,
    /// What it ended; the first of it when that is much.
    pub destroyed: Vec<String>,
}

/// What an agent must know of the cluster's members: as a part of [`Welcome`], and whenever it changes. Each is the whole
/// of it; what was said before counts no more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// Where managers are: `ADDRESS:PORT` each, at most [`crate::enrol::MANAGERS_MAX`]. Empty: nothing is known, and the
    /// agent keeps what it has.
    #[serde(default)]
    pub managers: Vec<String>,
    /// Serial numbers of certificates that are in time and worth nothing, in hexadecimal; at most [`REVOKED_MAX`].
    #[serde(default)]
    pub revoked: Vec<String>,
    /// Whom to trust, when that has changed: two authorities while one takes over from the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roots_pem: Option<String>,
    /// The agent is to renew its certificate now: it is by an authority that goes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub renew: bool,
    /// The newest revision of the store when this was said. An agent remembers the highest, and shows it in its next hello.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// Most serial numbers in [`Members::revoked`]: certificates live for a day, and those of before are nobody's.
pub const REVOKED_MAX: usize = 4_096;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks like that")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Who the agent is and what its node has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// [`crate::PROTOCOL_VERSION`] of the agent; the manager refuses what is not in [`crate::PROTOCOL_VERSION_MIN`] to its own,
    /// and says which side is the older.
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
    /// Where its data port listens: `https://ADDRESS:PORT`.
    pub data_url: String,
    /// Where other nodes reach it with the packets of networks: `10.0.0.5` or `10.0.0.5:4790`. Nothing: nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub underlay: Option<String>,
    /// Programs that it may run to cut the power of other nodes; by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fence_programs: Vec<String>,
    /// The highest epoch that it has seen. A manager below it is deposed and must not go on.
    pub epoch_seen: Epoch,
    /// The newest revision of the store that it was told of; 0 when of none. A store below it was put back to an older state.
    #[serde(default)]
    pub revision_seen: u64,
    /// What it was last admitted with; 0 before the first time. Nothing for an agent that knows nothing of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admission: Option<Admission>,
}

impl Hello {
    /// Leaves only some of its roles, and what belongs to them.
    pub fn retain_roles(&mut self, keep: impl Fn(Role) -> bool) {
        self.roles.retain(|role| keep(*role));
        if !self.roles.contains(&Role::Block) {
            self.pools.clear();
        }
        if !self.roles.contains(&Role::Compute) {
            self.compute = None;
        }
    }
}

/// What the manager answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The leader's epoch.
    pub epoch: Epoch,
    /// How often to send a heartbeat, in milliseconds.
    pub heartbeat_ms: u64,
    /// The node's admission. An agent that has another one does nothing before it was told what it may keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admission: Option<Admission>,
    /// Who belongs to the cluster.
    #[serde(flatten)]
    pub members: Members,
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
