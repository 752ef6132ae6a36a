//! Volumes: intents, facts and steps, and the trait that turns the first two into the third.

use crate::bindings::volume::exports::symphony::plugin::volume_driver::Guest;

pub use crate::bindings::volume::exports::symphony::plugin::volume_driver::{
    Allocate, CloneImage, Fact, ImageFact, ImageFormat, ImageSource, ImageState, Intent, ObjectFact, ObjectState,
    PartialObject, PoolFact, Probe, Resize, Step, UnpackImage, WriteImage,
};

driver! {
    /// Plans how a volume is made, changed and removed on a node.
    VolumeDriver
}
