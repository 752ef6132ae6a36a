//! Drivers: how a resource is made on a node. A function of what is wanted and what was seen, nothing else.
//!
//! A driver is asked with fresh facts again and again until its plan is empty. So it need not know how far an earlier
//! plan came: whatever the facts say is where it goes on from.

/// The trait of a kind's drivers, and what a component exports for it. In a module that has the kind's `Guest`, `Intent`,
/// `Probe`, `Fact` and `Step`.
macro_rules! driver {
    ($(#[$docs:meta])* $driver:ident) => {
        $(#[$docs])*
        pub trait $driver: 'static {
            /// Lower case, digits and `-`; at most 63 bytes. The same as in `[package.metadata.symphony]`.
            const NAME: &'static str;

            /// JSON Schema of the configuration; empty when there is none to give.
            const CONFIG_SCHEMA: &'static str = "";

            /// Takes the configuration. Unless overridden, anything but an empty object is refused.
            ///
            /// # Errors
            /// What is wrong and where, for a person.
            fn configure(&mut self, json: &str) -> Result<(), $crate::driver::Refusal> {
                $crate::config::expect_empty(json).map_err($crate::driver::Refusal::Invalid)
            }

            /// Which facts `plan` needs. At most 64.
            fn probes(&self, intent: &Intent) -> Vec<Probe>;

            /// The steps that are left, in order; at most 256. Empty: the intent is met.
            ///
            /// # Errors
            /// Why there is no plan.
            fn plan(&self, intent: &Intent, facts: &[Fact]) -> Result<Vec<Step>, $crate::driver::Refusal>;
        }

        /// The driver that lives in a component.
        #[doc(hidden)]
        pub struct Exported<H>(std::marker::PhantomData<H>);

        impl<H> Guest for Exported<H>
        where
            H: $crate::export::Home,
            H::Plugin: $driver,
        {
            fn describe() -> $crate::driver::Descriptor {
                H::arrive();
                $crate::driver::Descriptor {
                    name: <H::Plugin as $driver>::NAME.to_owned(),
                    version: H::VERSION.to_owned(),
                    config_schema: <H::Plugin as $driver>::CONFIG_SCHEMA.to_owned(),
                }
            }

            fn configure(json: String) -> Result<(), $crate::driver::Refusal> {
                H::with(|driver| driver.configure(&json))
            }

            fn probes(intent: Intent) -> Vec<Probe> {
                H::with(|driver| driver.probes(&intent))
            }

            fn plan(intent: Intent, facts: Vec<Fact>) -> Result<Vec<Step>, $crate::driver::Refusal> {
                H::with(|driver| driver.plan(&intent, &facts))
            }
        }
    };
}

pub mod export;
pub mod fence;
pub mod image;
pub mod machine;
pub mod network;
pub mod volume;

pub use crate::bindings::volume::symphony::plugin::driving::{Command, Descriptor, Goal, Refusal};
