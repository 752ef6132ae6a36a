//! Fencing: intents, facts and steps, and the trait that turns the first two into the third.

use crate::bindings::fencing::exports::symphony::plugin::fence_driver::Guest;

pub use crate::bindings::fencing::exports::symphony::plugin::fence_driver::{
    Device, Fact, Intent, PowerFact, PowerState, Probe, Step,
};

driver! {
    /// Plans which devices cut a node's power, and in which order.
    ///
    /// A device that could not cut the power is a fact like others, and is marked as tried. Only the host decides that a node
    /// is off: each device of one level was seen to say so.
    FenceDriver
}
