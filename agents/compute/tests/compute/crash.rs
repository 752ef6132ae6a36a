//! kill -9 of the agent at every crash point: the facts say what is left to do, and it is done, or all is removed.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use symphony_compute::Machines;
use symphony_core::plan::machine::{Description, Hypervisor, RunState, Step};

use super::lab::{
    MACHINE, Ours, bootable, define, description, domain, empty, fact, left, machines, seed, shutdown, start, undefine,
};

const WORK: &str = "SYMPHONY_COMPUTE_STEPS";

/// Not a test: the agent that does the steps of [`agent`] and may die.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker() {
    let Some(work) = std::env::var_os(WORK) else {
        return;
    };
    let (top, uri, steps): (std::path::PathBuf, String, Vec<Step>) =
        serde_json::from_str(work.to_str().unwrap()).unwrap();
    let machines = machines(&top, &uri, Hypervisor::Qemu);
    for step in steps {
        machines.run(&step).await.unwrap();
    }
}

/// An agent that does these steps and ends, or dies at a crash point.
fn agent(top: &Path, uri: &str, steps: &[Step], setting: (&str, &str)) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "compute::crash::worker", "--nocapture"]);
    command
        .env(WORK, serde_json::to_string(&(top, uri, steps)).unwrap())
        .env(setting.0, setting.1);
    // Why it failed, when it does, is nowhere else.
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.status().unwrap()
}

/// What a driver would do until the machine runs with this count, by facts alone.
async fn make_run(machines: &Machines, wanted: &Description, boots: u64) {
    for _ in 0..8 {
        let next = match fact(machines, MACHINE).await.found {
            None => define(wanted),
            Some(found) if found.seed_digest.is_empty() => seed(),
            Some(found) => match found.state {
                RunState::Off(_) => start(boots),
                RunState::Paused => Step::Resume {
                    object: MACHINE.to_owned(),
                },
                RunState::Running if found.boots < boots => Step::Reboot {
                    object: MACHINE.to_owned(),
                    boots,
                    timeout_ms: 60_000,
                },
                RunState::Running => return,
            },
        };
        machines.run(&next).await.unwrap();
    }
    panic!("it does not come to run: {:?}", fact(machines, MACHINE).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_survives_kill_9_at_any_point() {
    if !symphony_lab::Abilities::here().machines() {
        return;
    }
    let top = tempfile::tempdir().unwrap();
    let ours = Ours::start(top.path());
    let uri = ours.uri();
    let mut wanted = description(MACHINE, Hypervisor::Qemu, vec![bootable(top.path(), "root")]);
    wanted.seed = true;
    let more = empty(top.path(), "more");
    let life = [
        seed(),
        define(&wanted),
        start(1),
        Step::AttachDisk {
            object: MACHINE.to_owned(),
            device: more,
        },
        Step::Reboot {
            object: MACHINE.to_owned(),
            boots: 2,
            timeout_ms: 60_000,
        },
        shutdown(),
        start(3),
        Step::Destroy {
            object: MACHINE.to_owned(),
        },
        undefine(),
    ];
    let log = top.path().join("log");
    assert!(agent(top.path(), &uri, &life, ("SYMPHONY_CRASH_LOG", log.to_str().unwrap())).success());
    assert_eq!(left(top.path()), 0);
    let passed = std::fs::read_to_string(&log).unwrap();
    let points: BTreeSet<&str> = passed.lines().map(str::trim).collect();
    assert!(points.len() >= 13, "{points:?}");
    let machines = machines(top.path(), &uri, Hypervisor::Qemu);
    for point in points {
        let died = agent(top.path(), &uri, &life, ("SYMPHONY_CRASH_AT", point));
        assert_eq!(died.signal(), Some(9), "{point} is passed");
        make_run(&machines, &wanted, 4).await;
        let running = domain(&machines, MACHINE).await;
        assert_eq!((running.state, running.boots), (RunState::Running, 4), "after {point}");
        machines
            .run(&Step::Destroy {
                object: MACHINE.to_owned(),
            })
            .await
            .unwrap();
        machines.run(&undefine()).await.unwrap();
        assert_eq!(left(top.path()), 0, "after {point}");
    }
}
