//! What manager and agent say to each other.
//!
//! An agent connects out to the leader and holds one HTTP/2 request open: `POST /agent/v1/session`. Up its body go
//! [`ToManager`] frames, down the answer's body come [`ToAgent`] frames, one JSON value a line. Image bytes don't travel
//! here: they go through the agents' data port ([`data`]). All of it is mutual TLS between members of the cluster; how a
//! node becomes one is in [`enrol`]. A manager that does not lead answers the session's request with 421 and a problem
//! whose `leader` names where the leader is ([`enrol::Refusal`]).
//!
//! ```text
//!   agent                         manager
//!     │ Hello ─────────────────────► │  registers the node
//!     │ ◄──────────────────── Welcome│  epoch, heartbeat interval, the node's admission
//!     │ ◄──────────────────── Readmit│  only when the agent's admission is another: what the node may keep
//!     │ Readmitted ────────────────► │
//!     │ ◄─────────────────────── Call│  facts wanted, or a checked plan
//!     │ Progress … Answer ─────────► │
//!     │ Heartbeat ─────────────────► │
//! ```

#![warn(missing_docs)]

pub mod config;
pub mod control;
pub mod data;
pub mod enrol;
pub mod frame;
pub mod work;

pub use frame::{
    Answer, Heartbeat, Hello, Members, Notice, Progress, REVOKED_MAX, Readmit, Readmitted, ToAgent, ToManager, Welcome,
};
pub use work::{Call, ExportAccess, Failure, FailureKind, ImageLocation, Outcome, Seen, StepDone, Task, Work};

/// The version of this protocol. An agent says its own in [`Hello`]; a manager serves that and the one before
/// ([`PROTOCOL_VERSION_MIN`]), so that managers are upgraded first and agents one by one after them.
pub const PROTOCOL_VERSION: u32 = 4;
/// The oldest version that a manager of this one serves.
pub const PROTOCOL_VERSION_MIN: u32 = PROTOCOL_VERSION - 1;
/// The path of the session.
pub const SESSION_PATH: &str = "/agent/v1/session";
/// Longest frame, in bytes with its line end.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Most calls that an agent has under way at once; more are answered with [`FailureKind::Busy`].
pub const CALLS_MAX: usize = 256;
/// Most objects in [`Readmit::keep`] and in [`Readmitted::destroyed`]: they fit a frame.
pub const KEEP_MAX: usize = 8_192;
/// How often an agent is heard of, in milliseconds.
pub const HEARTBEAT_MS: u64 = 2_000;
/// After how many milliseconds without a frame a session counts as lost.
pub const SILENCE_MS_MAX: u64 = 10_000;

/// Why a manager does not serve an agent of this protocol version, for [`ToAgent::Refused`]; nothing when it does.
#[must_use]
pub fn version_refusal(agent: u32) -> Option<String> {
    if agent > PROTOCOL_VERSION {
        return Some(format!(
            "the agent is newer than the manager (protocol {agent}, the manager serves {PROTOCOL_VERSION_MIN} to \
             {PROTOCOL_VERSION}): upgrade the managers first"
        ));
    }
    (agent < PROTOCOL_VERSION_MIN).then(|| {
        format!(
            "the agent is too old for the manager (protocol {agent}, the manager serves {PROTOCOL_VERSION_MIN} to \
             {PROTOCOL_VERSION}): upgrade the agent"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_versions_are_served_and_the_others_are_told_who_is_old() {
        assert!(version_refusal(PROTOCOL_VERSION).is_none() && version_refusal(PROTOCOL_VERSION_MIN).is_none());
        assert_eq!(
            version_refusal(5).unwrap(),
            "the agent is newer than the manager (protocol 5, the manager serves 3 to 4): upgrade the managers first"
        );
        assert!(version_refusal(2).unwrap().ends_with("upgrade the agent"));
    }

    #[test]
    fn the_longest_readmission_fits_a_frame() {
        use symphony_core::counter::{Admission, Tenure};
        let object = "machine/01890a5d-ac96-774b-bcce-b302099a8057".to_owned();
        let readmit = Readmit {
            admission: Admission(u64::MAX),
            keep: vec![(object.clone(), Tenure(u64::MAX)); KEEP_MAX],
            confirmed: true,
        };
        let frame = serde_json::to_vec(&ToAgent::Readmit(Box::new(readmit))).unwrap();
        assert!(frame.len() < FRAME_BYTES_MAX, "{}", frame.len());
        let destroyed = vec![object; KEEP_MAX];
        let admission = Admission(u64::MAX);
        let frame = serde_json::to_vec(&ToManager::Readmitted(Readmitted { admission, destroyed })).unwrap();
        assert!(frame.len() < FRAME_BYTES_MAX, "{}", frame.len());
    }

    #[test]
    fn a_welcome_of_the_version_before_is_understood() {
        let frame: ToAgent = serde_json::from_str(r#"{"welcome":{"epoch":3,"heartbeat_ms":2000}}"#).unwrap();
        let ToAgent::Welcome(welcome) = frame else {
            panic!("{frame:?}")
        };
        assert_eq!(welcome.members, Members::default());
        let text = serde_json::to_string(&ToAgent::Welcome(welcome)).unwrap();
        assert!(!text.contains("renew") && !text.contains("members"), "{text}");
    }
}
