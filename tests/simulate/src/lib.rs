//! A cluster that is simulated: the loops of real managers, one store, and agents of nodes in memory, with faults by seed.

pub mod entropy;
pub mod rng;
pub mod store;
pub mod agent;
pub mod check;
pub mod node;
pub mod run;
pub mod script;
pub mod world;
