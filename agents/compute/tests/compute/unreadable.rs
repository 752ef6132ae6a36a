//! What libvirt keeps of a machine in words of another agent: it is not taken for nothing.

use std::process::Command;

use symphony_compute::Error;
use symphony_core::plan::machine::{Hypervisor, Probe};

use super::lab::{MACHINE, OTHER, Ours, bootable, define, description, empty, machines, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_can_not_be_read_is_left_alone() {
    if !symphony_lab::Abilities::here().machines() {
        return;
    }
    let top = tempfile::tempdir().unwrap();
    let ours = Ours::start(top.path());
    let machines = machines(top.path(), &ours.uri(), Hypervisor::Qemu);
    let wanted = description(MACHINE, Hypervisor::Qemu, vec![bootable(top.path(), "root")]);
    for step in [define(&wanted), start(1)] {
        machines.run(&step).await.unwrap();
    }
    let later = ["--set", "<machine boots='1' ordered='false'>of a later day</machine>"];
    let noted = Command::new("virsh")
        .args(["--connect", &ours.uri(), "metadata", MACHINE])
        .args(["urn:symphony:machine:1", "--key", "symphony", "--config"])
        .args(later)
        .output()
        .unwrap();
    assert!(noted.status.success(), "{noted:?}");

    let is_unreadable = |error: &Error| matches!(error, Error::Unreadable { machine } if machine == MACHINE);
    let facts = machines.facts(&[Probe::Domain(MACHINE.to_owned())]).await.unwrap_err();
    assert!(is_unreadable(&facts), "not as if it were not there: {facts}");
    let again = machines.run(&define(&wanted)).await.unwrap_err();
    assert!(is_unreadable(&again), "not made anew: {again}");
    // Nobody knows which disks it has: so no other machine gets any that might be among them.
    let other = description(OTHER, Hypervisor::Qemu, vec![empty(top.path(), "own")]);
    let refused = machines.run(&define(&other)).await.unwrap_err();
    assert!(is_unreadable(&refused), "{refused}");

    // Whatever is noted, it can be ended with the node.
    let ended = machines
        .end_all(std::time::Duration::ZERO, |count| assert_eq!(count, 1))
        .await;
    assert!(ended.is_ok() || is_unreadable(ended.as_ref().unwrap_err()));
    let state = Command::new("virsh")
        .args(["--connect", &ours.uri(), "domstate", MACHINE])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&state.stdout).contains("shut off"), "{state:?}");
}
