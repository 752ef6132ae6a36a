//! A disk belongs to one machine: even a manager that says otherwise can't have two write to it.

use symphony_compute::Error;
use symphony_core::plan::machine::{Hypervisor, RunState, Step};

use super::lab::{MACHINE, OTHER, Ours, bootable, define, description, domain, empty, fact, machines, start};

fn start_other() -> Step {
    Step::Start {
        object: OTHER.to_owned(),
        boots: 1,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_machines_never_write_to_one_disk() {
    if !symphony_lab::Abilities::here().machines() {
        return;
    }
    let top = tempfile::tempdir().unwrap();
    let ours = Ours::start(top.path());
    let machines = machines(top.path(), &ours.uri(), Hypervisor::Qemu);
    let shared = bootable(top.path(), "root");
    let mine = description(MACHINE, Hypervisor::Qemu, vec![shared.clone()]);
    let theirs = description(OTHER, Hypervisor::Qemu, vec![shared.clone()]);
    for step in [define(&mine), start(1)] {
        machines.run(&step).await.unwrap();
    }
    // Told to be a part of another machine, and attached to one while it runs: both are refused.
    let refused = machines.run(&define(&theirs)).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Taken { machine, .. } if machine == MACHINE),
        "{refused}"
    );
    let own = description(OTHER, Hypervisor::Qemu, vec![empty(top.path(), "own")]);
    for step in [define(&own), start_other()] {
        machines.run(&step).await.unwrap();
    }
    let attach = Step::AttachDisk {
        object: OTHER.to_owned(),
        device: shared,
    };
    let refused = machines.run(&attach).await.unwrap_err();
    assert!(matches!(refused, Error::Taken { .. }), "{refused}");
    assert_eq!(domain(&machines, OTHER).await.live_volumes, ["own"]);
    assert_eq!(domain(&machines, MACHINE).await.state, RunState::Running);
    for object in [MACHINE, OTHER] {
        for step in [
            Step::Destroy {
                object: object.to_owned(),
            },
            Step::Undefine {
                object: object.to_owned(),
            },
        ] {
            machines.run(&step).await.unwrap();
        }
        assert!(fact(&machines, object).await.found.is_none());
    }
}
