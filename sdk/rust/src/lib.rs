//! symphony-sdk
extern crate self as symphony_sdk;
pub mod bindings;
#[doc(hidden)]
pub use wit_bindgen::rt;
