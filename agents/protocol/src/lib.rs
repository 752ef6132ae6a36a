//! What manager and agent say to each other.
//!
//! An agent connects out to the leader and holds one HTTP/2 request open: `POST /agent/v1/session`. Up its body go
//! [`ToManager`] frames, down the answer's body come [`ToAgent`] frames, one JSON value a line. Image bytes don't travel
//! here: they go through the agents' data port ([`data`]).
//!
//! ```text
//!   agent                         manager
//!     │ Hello ─────────────────────► │  registers the node
//!     │ ◄──────────────────── Welcome│  epoch, heartbeat interval
//!     │ ◄─────────────────────── Call│  facts wanted, or a checked plan
//!     │ Progress … Answer ─────────► │
//!     │ Heartbeat ─────────────────► │
//! ```

#![warn(missing_docs)]

pub mod config;
pub mod data;
pub mod frame;
pub mod work;

pub use frame::{Answer, Heartbeat, Hello, Notice, Progress, ToAgent, ToManager, Welcome};
pub use work::{Call, Failure, FailureKind, ImageLocation, Outcome, Seen, StepDone, Task, Work};

/// The version of this protocol. Manager and agent must have the same; the next one will serve two.
pub const PROTOCOL_VERSION: u32 = 3;
/// The path of the session.
pub const SESSION_PATH: &str = "/agent/v1/session";
/// Longest frame, in bytes with its line end.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Most calls that an agent has under way at once; more are answered with [`FailureKind::Busy`].
pub const CALLS_MAX: usize = 256;
/// How often an agent is heard of, in milliseconds.
pub const HEARTBEAT_MS: u64 = 2_000;
/// After how many milliseconds without a frame a session counts as lost.
pub const SILENCE_MS_MAX: u64 = 10_000;
