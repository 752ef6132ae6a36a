//! The image service of a node: takes uploads in, looks at what they are, keeps them by digest, hands them out.
//!
//! An upload is never whole in memory, and never a blob before its header was read, its structure checked and its bytes
//! flushed. What to do with one is the driver's choice; what can't be taken is refused here too.
//!
//! ```text
//!   IMAGES/incoming/ID.partial   bytes coming in            IMAGES/blobs/HEX   a stored image, never written again
//!   IMAGES/incoming/ID           all of them, flushed
//!   IMAGES/incoming/ID.json      what is known of them
//! ```

#![warn(missing_docs)]

mod check;
mod executor;
pub mod header;
mod http;
mod store;

pub use executor::ImageExecutor;
pub use store::StoreError;
