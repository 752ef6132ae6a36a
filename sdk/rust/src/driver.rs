//! Drivers: how a resource is made on a node. A function of what is wanted and what was seen, nothing else.
//!
//! A driver is asked with fresh facts again and again until its plan is empty. So it need not know how far an earlier
//! plan came: whatever the facts say is where it goes on from.

pub mod image;
pub mod volume;

pub use crate::bindings::volume::symphony::plugin::driving::{Command, Descriptor, Goal, Refusal};
