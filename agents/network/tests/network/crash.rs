//! kill -9 at every crash point: the steps are repeated and the network stands, or is gone.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use symphony_core::plan::network::Step;
use symphony_network::Networks;

use crate::net::Net;
use crate::node::{all, node};

const STEPS: &str = "SYMPHONY_NETWORK_STEPS";

/// Not a test: the process that does the steps of [`agent`] and may die.
#[test]
fn worker() {
    let Some(work) = std::env::var_os(STEPS) else { return };
    let (dir, steps): (String, Vec<Step>) = serde_json::from_str(work.to_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let networks = Networks::open(dir).unwrap();
        for step in steps {
            networks.run(&step).await.unwrap();
        }
    });
}

/// An agent that does these steps and ends, or dies at a crash point.
fn agent(dir: &Path, steps: &[Step], setting: (&str, &str)) -> ExitStatus {
    let work = serde_json::to_string(&(dir, steps)).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "crash::worker", "--nocapture"])
        .env(STEPS, work);
    command
        .env(setting.0, setting.1)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().unwrap()
}

#[test]
fn every_step_survives_kill_9_at_any_point() {
    node("crash::every_step_survives_kill_9_at_any_point", async || {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let home = dir.path().join("networks");
        let networks = Networks::open(&home).unwrap();
        let mut net = Net::new(1, &[2]);
        net.nat = true;
        net.local = Some("127.0.0.1:15001".to_owned());
        net.peers = vec![(12, "127.0.0.1:15002".to_owned())];
        let mut life = net.steps();
        // Another set of hosts, a closed way out and a removal are steps of a life too.
        let mut later = net.clone();
        later.nat = false;
        later.ports = vec![2, 3];
        later.peers = vec![(13, "127.0.0.1:15003".to_owned())];
        later.local = Some("127.0.0.1:15002".to_owned());
        life.extend(later.steps());
        life.push(later.drop_tunnel());
        life.push(net.remove());
        let before = all();
        assert!(agent(&home, &life, ("SYMPHONY_CRASH_LOG", log.to_str().unwrap())).success());
        assert_eq!(all(), before);
        let passed = std::fs::read_to_string(&log).unwrap();
        let points: BTreeSet<&str> = passed.lines().map(str::trim).collect();
        assert!(points.len() >= 24, "{points:?}");
        for point in &points {
            let times = passed.lines().filter(|line| line.trim() == *point).count();
            for time in 1..=times {
                let died = agent(&home, &life, ("SYMPHONY_CRASH_AT", &format!("{point}:{time}")));
                assert_eq!(died.signal(), Some(9), "{point}:{time} is passed");
                if time % 2 == 1 {
                    net.build(&networks).await;
                    net.assert_stands(&networks).await;
                }
                networks.run(&net.remove()).await.unwrap();
                assert_eq!(all(), before, "after {point}:{time}");
                assert_eq!(net.found(&networks).await, None);
            }
        }
    });
}
