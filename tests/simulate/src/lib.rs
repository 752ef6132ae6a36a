//! A cluster that is simulated: the loops of real managers, one store, and agents of nodes in memory, with faults by seed.

pub mod entropy;
pub mod rng;
pub mod store;
