//! kill -9 of the agent at every crash point: the steps are repeated, and the volume is served once, or not at all; and what
//! was over before stays over.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use symphony_core::plan::export::Step;

use super::lab::{Node, can, client, exports, key, said, serve, settings, stop};

const STEPS: &str = "SYMPHONY_EXPORT_STEPS";

/// Not a test: the process that does the steps of [`agent`] and may die.
#[test]
fn worker() {
    let Some(work) = std::env::var_os(STEPS) else { return };
    let (top, steps): (std::path::PathBuf, Vec<Step>) = serde_json::from_str(work.to_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let exports = exports(&top);
        for step in steps {
            exports.run(&step, &key(generation(&step))).await.unwrap();
        }
    });
}

fn generation(step: &Step) -> u64 {
    match step {
        Step::Serve { settings, .. } => settings.generation,
        Step::Stop { generation, .. } => *generation,
    }
}

/// An agent that does these steps and ends, or dies at a crash point.
fn agent(top: &Path, steps: &[Step], setting: (&str, &str)) -> ExitStatus {
    let work = serde_json::to_string(&(top, steps)).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "crash::worker", "--nocapture"])
        .env(STEPS, work)
        .env(setting.0, setting.1)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().unwrap()
}

#[tokio::test]
async fn every_step_survives_kill_9_at_any_point() {
    if !can() {
        return;
    }
    let points: BTreeSet<String> = {
        let node = Node::new();
        let log = node.top.path().join("log");
        let life = [serve(1), serve(2), stop(2), serve(3)];
        assert!(agent(node.top.path(), &life, ("SYMPHONY_CRASH_LOG", log.to_str().unwrap())).success());
        let passed = std::fs::read_to_string(&log).unwrap();
        let points = passed.lines().map(|line| line.trim().to_owned());
        points.filter(|point| point.starts_with("export.")).collect()
    };
    assert!(points.len() >= 8, "{points:?}");
    for point in &points {
        let node = Node::new();
        node.exports.run(&serve(1), &key(1)).await.unwrap();
        for life in [vec![serve(2)], vec![stop(2), serve(3)]] {
            let last = generation(life.last().unwrap());
            let died = !agent(node.top.path(), &life, ("SYMPHONY_CRASH_AT", point)).success();
            let floor = node.fact().floor;
            // Wherever it died: what is served is served once, and nothing below what was said to be over.
            if let Some(served) = node.fact().served {
                assert!(served.settings.generation >= floor, "{point}");
            }
            for step in &life {
                node.exports.run(step, &key(generation(step))).await.unwrap();
                assert!(node.fact().floor >= floor, "{point}: the floor fell");
            }
            assert_eq!(node.servers().len(), 1, "{point}, died: {died}");
            assert_eq!(node.served().settings, settings(last), "{point}");
            let port = node.served().port;
            let read = client(port, last, &key(last), &["read 0 4k"]);
            assert!(read.status.success(), "{point}: {}", said(&read));
            assert!(
                node.exports.run(&serve(last - 1), &key(last - 1)).await.is_err(),
                "{point}"
            );
        }
    }
}
