//! `symphony dev`: a manager in this process and a few agents as children of it.
//!
//! ```text
//!   symphony dev ── manager (store, loops, API) ◄── session ── symphony-agent (node-1: block, image, …)
//!        │  stdin held open: closed means "end cleanly" ─────► symphony-agent (node-2: block, …) …
//!        └─ DIR/nodes/NAME/: agent.toml, agent.log, pools, machines, …
//! ```
//! Never decides anything about the cloud: it writes files, starts processes and ends them.

pub(crate) mod agent_log;
pub(crate) mod cluster;
pub(crate) mod fleet;
pub(crate) mod machines;
pub(crate) mod nodes;
