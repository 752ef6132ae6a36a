//! Every protocol searched as a whole, and every rule of it missed.

#[path = "protocols/export.rs"]
mod export;
#[path = "protocols/join.rs"]
mod join;
#[path = "protocols/leader.rs"]
mod leader;
#[path = "protocols/proof.rs"]
mod proof;
#[path = "protocols/tenure.rs"]
mod tenure;
