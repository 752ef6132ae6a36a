//! kill -9 of libvirtd at every step of a machine's life: before it, and while it is done. A step that fails is done again,
//! as the manager does; in the end it is done, and done once.

use rustix::process::{Pid, Signal, kill_process};
use symphony_compute::Machines;
use symphony_core::plan::machine::{Hypervisor, RunState, Step};

use super::lab::{
    MACHINE, Ours, bootable, define, description, domain, empty, fact, left, machines, seed, shutdown, start, undefine,
};

/// How often a step is tried.
const TRIES: usize = 20;

fn kill(ours: &Ours) {
    // It may be between two lives: then it is dead as wanted.
    if let Some(daemon) = ours.daemon() {
        let _ = kill_process(Pid::from_raw(daemon.cast_signed()).unwrap(), Signal::KILL);
    }
}

async fn until_done(machines: &Machines, step: &Step) {
    for _ in 0..TRIES {
        match machines.run(step).await {
            Ok(()) => return,
            Err(error) => eprintln!("  ({}: {error}; again)", step.action()),
        }
    }
    panic!("{} is never done", step.action());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_survives_the_death_of_libvirtd() {
    if !symphony_lab::Abilities::here().machines() {
        return;
    }
    let top = tempfile::tempdir().unwrap();
    let ours = Ours::start(top.path());
    let machines = machines(top.path(), &ours.uri(), Hypervisor::Qemu);
    let mut wanted = description(MACHINE, Hypervisor::Qemu, vec![bootable(top.path(), "root")]);
    wanted.seed = true;
    let attach = Step::AttachDisk {
        object: MACHINE.to_owned(),
        device: empty(top.path(), "more"),
    };
    let destroy = Step::Destroy {
        object: MACHINE.to_owned(),
    };
    let life = [
        seed(),
        define(&wanted),
        start(1),
        attach,
        shutdown(),
        start(2),
        destroy,
        undefine(),
    ];
    for during in [false, true] {
        for step in &life {
            if during {
                let (done, ()) = tokio::join!(machines.run(step), async { kill(&ours) });
                if done.is_err() {
                    until_done(&machines, step).await;
                }
            } else {
                kill(&ours);
                until_done(&machines, step).await;
            }
            // What was done is what is seen, by a libvirtd that was not there then.
            let seen = fact(&machines, MACHINE).await.found;
            match step {
                Step::Start { boots, .. } => {
                    let seen = domain(&machines, MACHINE).await;
                    assert_eq!((seen.state, seen.boots), (RunState::Running, *boots), "{during}");
                }
                Step::AttachDisk { .. } => assert_eq!(seen.unwrap().live_volumes, ["root", "more"]),
                Step::Shutdown { .. } | Step::Destroy { .. } => {
                    assert!(matches!(seen.unwrap().state, RunState::Off(_)), "{during}");
                }
                Step::Undefine { .. } => assert!(seen.is_none()),
                _ => {}
            }
        }
        assert_eq!(left(top.path()), 0, "{during}");
    }
}
