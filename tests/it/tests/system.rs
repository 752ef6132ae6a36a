//! The whole system, from the outside: real processes, real bytes. One binary, because linking is slow.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod system {
    mod arrows;
    mod chaos;
    mod cluster_by_hand;
    mod cluster_ca;
    mod cluster_failover;
    mod cluster_machines;
    mod cluster_members;
    mod cluster_requests;
    mod contracts;
    mod crash;
    mod faults;
    mod licences;
    mod machine_crash;
    mod machines;
    mod machines_apart;
    mod machines_backend;
    mod machines_life;
    mod machines_refused;
    mod machines_remote;
    mod machines_story;
    mod node_power;
    mod story;
    mod swap;
    mod waiting;
}
