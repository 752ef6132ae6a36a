//! The agent's part in fencing: asks devices for the power of *another* node, and has them cut it.
//!
//! ```text
//!   device (program, options) ─► secrets of this node ─► program: options and action on stdin ─► status and what it printed
//! ```
//!
//! Programs follow the convention of the fence agents: options as `name=value` lines on standard input, with `action=off` or
//! `action=status`; for the latter they end with 0 and print `Status: ON`, or with 2 and `Status: OFF`. Both together are
//! needed here: shells, interpreters and wrong options end with 2 as well.

#![warn(missing_docs)]

mod device;
mod executor;
mod secrets;

pub use executor::FenceExecutor;
