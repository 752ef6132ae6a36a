//! Every protocol searched as a whole, and every rule of it missed.

#[path = "protocols/tenure.rs"]
mod tenure;
