//! Exports: intents, facts and steps, and the trait that turns the first two into the third.

use crate::bindings::exporting::exports::symphony::plugin::export_driver::Guest;

pub use crate::bindings::exporting::exports::symphony::plugin::export_driver::{
    Fact, Intent, Probe, Serve, Served, ServingFact, Settings, Step, Stop,
};

driver! {
    /// Plans how a volume is served to a machine on another node.
    ///
    /// How it is served is given, unchanged: what a driver chooses is when. What opens an export it never sees.
    ExportDriver
}
