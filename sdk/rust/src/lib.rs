//! Write placement policies and drivers for symphony.
//!
//! A plugin is a sandboxed component: it gets values and gives values, sees no clock, no randomness, no file and no
//! socket, and may do nothing but write a line of [`log`]. So it can be tested natively, recorded and replayed.
//!
//! A scheduler in the simple way is a [`Policy`]:
//!
//! ```
//! use symphony_sdk::{Candidate, Policy, Request, Score};
//!
//! /// The emptiest pool first.
//! #[derive(Default)]
//! struct Emptiest;
//!
//! impl Policy for Emptiest {
//!     const NAME: &'static str = "emptiest";
//!
//!     fn score(&self, _request: &Request<'_>, node: &Candidate<'_>) -> Score {
//!         Score::part("free", node.disk_free() as f32)
//!     }
//! }
//!
//! symphony_sdk::export_scheduler!(Emptiest);
//!
//! # use symphony_sdk::testing::{Cluster, Want};
//! let cluster = Cluster::new().pool("node-1", "default", 100, 40).pool("node-2", "default", 100, 60);
//! let placed = cluster.place(Emptiest, &[Want::bytes(30), Want::bytes(30)]);
//! assert_eq!(placed[0].node(), Some("node-2"));
//! assert_eq!(placed[1].node(), Some("node-1"));
//! ```
//!
//! - [`Policy`]: a filter and a score; the SDK does everything else. [`RawScheduler`]: the interface itself.
//! - [`VolumeDriver`], [`ImageDriver`], [`MachineDriver`], [`NetworkDriver`], [`ExportDriver`], [`FenceDriver`]: plan the steps from what was seen to what is wanted.
//! - [`testing`]: clusters, requests and the checks that a policy keeps its contract.
//!
//! The crate knows nothing of the manager or its agents: only the contracts in `wit/`.

// The generated export macros name this crate by its name, within it as well.
extern crate self as symphony_sdk;

#[doc(hidden)]
pub mod bindings;
mod config;
pub mod driver;
#[doc(hidden)]
pub mod export;
pub mod log;
mod policy;
pub mod scheduler;
pub mod testing;

pub use driver::export::ExportDriver;
pub use driver::fence::FenceDriver;
pub use driver::image::ImageDriver;
pub use driver::machine::MachineDriver;
pub use driver::network::NetworkDriver;
pub use driver::volume::VolumeDriver;
pub use policy::{Candidate, Columns, PARTS_MAX, Policy, Reason, Request, Score, StandardFilters};
pub use scheduler::{RawScheduler, Symbol};
#[doc(hidden)]
pub use wit_bindgen::rt;
