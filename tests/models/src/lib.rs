//! The protocols on which "no two writers" rests, as models that are searched completely. Each model has a value of
//! rules; with all of them it is safe in every state, and each rule that is taken away makes a state that must not be.
//! Both are tests (`tests/protocols.rs`), so that nobody leaves out a rule because it looks needless.
//!
//! Nothing of the product is in here: what the models say in a few lines, `host/control` and `agents/agent` do.

pub mod search;
pub mod tenure;
