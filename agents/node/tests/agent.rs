//! The real agent, with real files and real qemu-img, against a manager that is a test.

#![expect(clippy::unwrap_used, reason = "a test fails where it is")]

#[path = "agent/cluster.rs"]
mod cluster;
#[path = "agent/crash.rs"]
mod crash;
#[path = "agent/desk.rs"]
mod desk;
#[path = "agent/down.rs"]
mod down;
#[path = "agent/images.rs"]
mod images;
#[path = "agent/join.rs"]
mod join;
#[path = "agent/life.rs"]
mod life;
#[path = "agent/machines.rs"]
mod machines;
#[path = "agent/manager.rs"]
mod manager;
#[path = "agent/members.rs"]
mod members;
#[path = "agent/process.rs"]
mod process;
#[path = "agent/service.rs"]
mod service;
#[path = "agent/transfer.rs"]
mod transfer;
#[path = "agent/volumes.rs"]
mod volumes;
#[path = "agent/work.rs"]
mod work;
