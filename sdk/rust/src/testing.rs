//! Tries a scheduler out natively, through the very engine that runs in the sandbox.
//!
//! [`Cluster`] and [`Want`] say what is there and what is asked for; [`Session`] is the host's end of the protocol;
//! [`Check`] looks for broken promises with random clusters. Nothing here is random by itself: the seed is given.

mod check;
mod cluster;
mod random;
mod session;

pub use check::Check;
pub use cluster::{Cluster, Row, Want};
pub use random::Random;
pub use session::{Placed, Session};
