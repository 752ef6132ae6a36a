//! A real server on loopback over the embedded store, asked as clients and agents ask it. The loops behind it are
//! simulated: what is placed, compiled and run is the affair of other tests.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod attachments;
mod audit;
mod backup;
mod consoles;
mod control_socket;
mod doors;
mod harness;
mod images;
mod lists;
mod machine_changes;
mod machine_refusals;
mod machines;
mod networks;
mod nodes;
mod openapi;
mod plugins;
mod projects;
mod rights;
mod sessions;
mod simulated;
mod tokens;
mod volumes;
mod watches;
