//! The manager's door: HTTP API v1, watches, uploads, the agents' sessions, and the control socket.
//!
//! ```text
//!   client ─► net (accept, limits) ─► gate (who, what right) ─► routes: parse ─► check ─► store.txn ─► answer
//!   agent  ─► net ─► gate (agent's token) ─► routes::sessions ⇄ Decisions::connect
//! ```
//!
//! A write is one transaction of the store that compares what it was decided on, and that writes the event which tells
//! of it. Everything that needs a policy, a plugin or an agent is asked of [`Decisions`]; nothing is decided here.
//!
//! - [`net`]: sockets, connections, how many and how long, and the end of them.
//! - [`routes`]: one file per kind of object; every route is in the OpenAPI document ([`openapi`]).
//! - [`decisions`]: what the server asks of the loops; [`control`](symphony_control) answers it.

#![warn(missing_docs)]

mod app;
mod audit;
pub mod config;
pub mod decisions;
mod event;
mod failure;
mod finish;
mod forward;
mod gate;
mod input;
mod linger;
mod metrics;
mod net;
mod nodes_data;
mod peer;
mod principal;
mod quota;
mod reading;
mod rights;
mod routes;
mod token_book;
pub mod waiting;

pub use config::{Limits, ServerConfig, Tokens};
pub use decisions::{AgentSession, Always, Decisions, Office, Standing};
pub use net::{ServeError, Server, serve, serve_on};
pub use rights::table as rights;
pub use routes::openapi;
