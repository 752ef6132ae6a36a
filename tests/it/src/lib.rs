//! What the system tests stand on: a real cloud of real processes in a folder of its own, and ways to wait for what is
//! seen, never for the clock.

pub mod apart;
pub mod by_hand;
pub mod cloud;
pub mod cluster;
pub mod disk;
pub mod guest;
mod left;
pub mod process;
pub mod server;
pub mod steady;
pub mod wait;
pub mod writers;

pub use by_hand::ByHand;
pub use cloud::{Cloud, Options};
pub use cluster::Cluster;
pub use guest::Guest;
pub use steady::{NotYet, Steady};
pub use symphony_lab as lab;
pub use wait::{Patience, until};

use std::path::PathBuf;

/// The top of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or(here.clone(), PathBuf::from)
}

/// A program that was built beside this one.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let here = std::env::current_exe().expect("a program has a path");
    // Tests lie in target/PROFILE/deps, programs in target/PROFILE.
    let beside = here
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file());
    beside.unwrap_or_else(|| {
        panic!(
            "{name} is missing beside {}: run `cargo xtask test`, or `cargo build` first",
            here.display()
        )
    })
}

/// A component that `cargo xtask plugins --guests` built: `spread`, `guests/trap`, …
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn component(name: &str) -> Vec<u8> {
    let path = root().join("target/plugins").join(format!("{name}.wasm"));
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask plugins --guests`", path.display()))
}
