//! Networks on a real kernel: every test is its own node, in namespaces that end with it.

#![expect(clippy::unwrap_used, reason = "a test fails where it is")]

#[path = "network/across.rs"]
mod across;
#[path = "network/crash.rs"]
mod crash;
#[path = "network/filter.rs"]
mod filter;
#[path = "network/life.rs"]
mod life;
#[path = "network/machine.rs"]
mod machine;
#[path = "network/net.rs"]
mod net;
#[path = "network/node.rs"]
mod node;
#[path = "network/outside.rs"]
mod outside;
#[path = "network/serving.rs"]
mod serving;
