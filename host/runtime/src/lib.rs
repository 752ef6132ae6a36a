//! The sandbox: uploaded components are checked, compiled, limited and called here.
//!
//! Core types go in and come out; whoever calls never sees wasmtime. A plugin that misbehaves costs its own call: the
//! answer is a [`PluginFault`] that names plugin, call and reason, and the next call starts on a fresh instance.
//!
//! ```text
//!   bytes ─► inspect ─► compile (child process, cache) ─► Compiled ─┬► SchedulerPlugin     resident, own thread
//!                                                                   └► DriverPlugin<K>     fresh instance per call
//! ```
//!
//! - [`inspect`]: what may be said of a component without compiling it, and why it is refused.
//! - [`compile`]: machine code, made in a limited child process, kept under a MAC.
//! - [`limits`]: every bound on a guest. [`fault`]: what went wrong, in one word and in a sentence.
//! - [`log`], [`stats`]: what guests say and what they cost.
//! - [`smoke`](smoke::smoke): the first run of a new component.
//!
//! Nothing here decides which plugin serves, and nothing here is stored but compiled code.

#![warn(missing_docs)]

mod bindings;
pub mod blocking;
pub mod compile;
mod driver;
pub mod engine;
pub mod fault;
mod guest;
pub mod inspect;
pub mod limits;
pub mod log;
mod runtime;
mod scheduler;
pub mod smoke;
pub mod stats;

pub use compile::Compiler;
pub use driver::{DriverPlugin, Hosted};
pub use fault::{FaultKind, PluginFault};
pub use inspect::{Manifest, Rejected};
pub use limits::Limits;
pub use runtime::{Compiled, Options, PrepareError, Runtime, RuntimeError};
pub use scheduler::{BATCH_MAX, SchedulerPlugin};
pub use smoke::Descriptor;
