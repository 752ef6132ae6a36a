//! The nouns of symphony and the rules that bind them.
//!
//! Pure: values in, values out. Time, ids and randomness come in as arguments. Nothing here knows of tokio, wasmtime,
//! HTTP, files, sockets or clocks; everything else may know of this.
//!
//! - [`name`], [`id`], [`quantity`], [`digest`], [`counter`], [`labels`]: values that cannot be wrong once they exist.
//! - [`meta`], [`condition`]: what every resource has. [`volume`], [`image`], [`machine`],
//!   [`network`], [`node`], [`power`], [`plugin`], [`event`], [`export`]: the resources.
//! - [`project`]: tenants and their quotas. [`token`]: who is let in, and as what.
//! - [`place`]: requests, candidates, decisions, claims, and the checks on what a scheduler answers.
//! - [`plan`]: intents, facts and steps, and the checks on what a driver answers.
//! - [`member`]: who belongs to the cluster, and what lets each of them in.
//! - [`record`], [`keys`]: how resources are written down.

#![warn(missing_docs)]

pub mod condition;
pub mod counter;
pub mod digest;
pub mod event;
pub mod export;
pub mod id;
pub mod image;
pub mod keys;
pub mod labels;
pub mod machine;
pub mod member;
pub mod meta;
pub mod name;
pub mod network;
pub mod node;
pub mod place;
pub mod plan;
pub mod plugin;
pub mod power;
pub mod project;
pub mod quantity;
pub mod record;
pub mod token;
pub mod volume;

/// A moment, for display and order of events. No decision is ever made on it.
pub type Timestamp = jiff::Timestamp;
