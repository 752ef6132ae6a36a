//! Images: intents, facts and steps, and the trait that turns the first two into the third.

use std::marker::PhantomData;

use crate::bindings::image::exports::symphony::plugin::image_driver::Guest;
use crate::driver::{Descriptor, Refusal};
use crate::export::Home;

pub use crate::bindings::image::exports::symphony::plugin::image_driver::{
    BlobFact, DetectedFormat, Fact, FoundUpload, Header, Integrity, Intent, Probe, Publish, Step, UploadFact,
};

/// Plans how an image service takes in and gives up an image.
pub trait ImageDriver: 'static {
    /// Lower case, digits and `-`; at most 63 bytes. The same as in `[package.metadata.symphony]`.
    const NAME: &'static str;

    /// JSON Schema of the configuration; empty when there is none to give.
    const CONFIG_SCHEMA: &'static str = "";

    /// Takes the configuration. Unless overridden, anything but an empty object is refused.
    ///
    /// # Errors
    /// What is wrong and where, for a person.
    fn configure(&mut self, json: &str) -> Result<(), Refusal> {
        crate::config::expect_empty(json).map_err(Refusal::Invalid)
    }

    /// Which facts `plan` needs. At most 64.
    fn probes(&self, intent: &Intent) -> Vec<Probe>;

    /// The steps that are left, in order; at most 256. Empty: the intent is met.
    ///
    /// # Errors
    /// Why there is no plan.
    fn plan(&self, intent: &Intent, facts: &[Fact]) -> Result<Vec<Step>, Refusal>;
}

/// The driver that lives in a component.
#[doc(hidden)]
pub struct Exported<H>(PhantomData<H>);

impl<H> Guest for Exported<H>
where
    H: Home,
    H::Plugin: ImageDriver,
{
    fn describe() -> Descriptor {
        H::arrive();
        Descriptor {
            name: <H::Plugin as ImageDriver>::NAME.to_owned(),
            version: H::VERSION.to_owned(),
            config_schema: <H::Plugin as ImageDriver>::CONFIG_SCHEMA.to_owned(),
        }
    }

    fn configure(json: String) -> Result<(), Refusal> {
        H::with(|driver| driver.configure(&json))
    }

    fn probes(intent: Intent) -> Vec<Probe> {
        H::with(|driver| driver.probes(&intent))
    }

    fn plan(intent: Intent, facts: Vec<Fact>) -> Result<Vec<Step>, Refusal> {
        H::with(|driver| driver.plan(&intent, &facts))
    }
}
