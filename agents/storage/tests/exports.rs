//! Exports with real servers and real clients, over loopback.

#![expect(clippy::unwrap_used, reason = "a test fails where it is")]

#[path = "exports/crash.rs"]
mod crash;
#[path = "exports/lab.rs"]
mod lab;
#[path = "exports/serving.rs"]
mod serving;
