//! A cluster that is simulated: the loops of real managers, one store, and agents of nodes in memory, with faults by seed.

pub mod agent;
pub mod check;
pub mod deeds;
pub mod entropy;
pub mod node;
pub mod rng;
pub mod run;
pub mod script;
pub mod store;
pub mod world;
