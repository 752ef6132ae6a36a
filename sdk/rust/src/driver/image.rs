//! Images: intents, facts and steps, and the trait that turns the first two into the third.

use crate::bindings::image::exports::symphony::plugin::image_driver::Guest;

pub use crate::bindings::image::exports::symphony::plugin::image_driver::{
    BlobFact, DetectedFormat, Fact, FoundUpload, Header, Integrity, Intent, Probe, Publish, Step, UploadFact,
};

driver! {
    /// Plans how an image service takes in and gives up an image.
    ImageDriver
}
