//! Volumes on a node: files in pools, the node's cache of images, and the steps that make the one from the other.
//!
//! Every step may be cut anywhere and done again. Policy is the driver's: nothing here chooses. All files are reached
//! through directory handles that were opened once, by names made from ids and digests.
//!
//! ```text
//!   EXPORTS/ID/           what is served of a volume to another node
//!   POOL/volumes/ID.raw        a volume, whole           POOL/cache/HEX.src          an image as stored, verified
//!   POOL/volumes/ID.partial    being made                POOL/cache/HEX.src.partial  being fetched
//!   POOL/volumes/ID.written    the image that .partial   POOL/cache/HEX.raw          its raw copy, to be cloned
//!                              holds whole and flushed   POOL/cache/HEX.raw.partial  being unpacked
//! ```

#![warn(missing_docs)]

mod command;
mod convert;
mod executor;
mod export;
mod fetch;
mod flush;
mod object;
mod pool;

pub use executor::StorageExecutor;
pub use export::{Exports, down, is_served};
pub use pool::{PoolError, volume_file};
