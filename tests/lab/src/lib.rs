//! The lab: what the server under the tests can do, and the guests that tests and demonstrations boot on it. Makes disks
//! and looks; never starts a machine, and needs nothing of symphony itself.

mod abilities;
mod linux;
mod run;
mod tiny;

pub use abilities::Abilities;
pub use linux::linux;
pub use run::Error;
pub use tiny::{TINY_BYTES, tiny};

use std::path::PathBuf;

/// The top of the repository.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or(here.clone(), PathBuf::from)
}

/// Where cargo puts what it builds, and where guests are kept: `guests/` in there.
fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
