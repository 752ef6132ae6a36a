//! What every agent is, whatever its roles: configuration, its membership of a cluster, the session to the leader, the ledger, the loop that runs
//! calls, the data port, and the jail for programs that read what users upload.
//!
//! It never knows what a volume or an image is: that is for the executors, which it is given. It never acts on its own.
//!
//! ```text
//!   membership ◄── control socket ◄── operator
//!        │           ┌────────── session ◄────── manager
//!        ▼           ▼                                        executors: storage, image, compute, network, fence
//!   ledger ◄────── calls ──────► Executor::run ──────► folder, intake, jail
//!                                     │
//!                                 data port ◄────── managers, other nodes
//! ```

#![warn(missing_docs)]

pub mod agent;
pub mod calls;
pub mod config;
pub mod control;
pub mod daemon;
pub mod data;
pub mod executor;
pub mod folder;
pub mod intake;
pub mod jail;
pub mod ledger;
pub mod membership;
pub mod program;
pub mod session;
pub mod step;
pub mod task;

pub use agent::{Agent, AgentError, Ready, Roles};
pub use executor::{Executor, NoticeSink, Notices, ProgressSink, notices};
pub use jail::Jail;
pub use membership::Membership;
pub use step::{StepError, chain};
pub use task::{Place, Worker};
