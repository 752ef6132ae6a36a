//! Exports with real servers and real clients, over loopback.

#[path = "exports/crash.rs"]
mod crash;
#[path = "exports/lab.rs"]
mod lab;
#[path = "exports/serving.rs"]
mod serving;
