//! Real programs that follow the convention, and some that do not.

mod ipmi;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use symphony_core::counter::{Admission, Epoch, Generation, Tenure};
use symphony_protocol::config::AgentConfig;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;

/// A node with programs.
struct Node {
    folder: TempDir,
    executor: FenceExecutor,
}

/// A supply whose state is the file `plug`: what a well-behaved program does.
const GOOD: &str = r#"
while read -r line; do case "$line" in action=*) action="${line#action=}";; plug=*) plug="${line#plug=}";;
  password=*) test "$line" = "password=hunter2" || { echo "wrong password ${line#password=}" >&2; exit 1; };; esac; done
case "$action" in
  off) echo off > "$plug"; echo "Success: Powered OFF";;
  status) if test "$(cat "$plug")" = off; then echo "Status: OFF"; exit 2; fi; echo "Status: ON";;
  *) exit 1;;
esac
"#;

/// Programs that are not to be believed, or that can't do anything.
const BAD: [(&str, &str, &str); 6] = [
    ("usage", "echo 'unknown option' >&2; exit 2", "unknown option"),
    ("silent", "exit 2", "said nothing"),
    ("liar", "echo 'Status: OFF'; exit 0", "Status: OFF"),
    ("both", "echo 'Status: OFF'; echo 'Status: ON'; exit 2", "Status: OFF"),
    ("talker", "echo 'the word is Status: OFF'; exit 2", "the word is"),
    ("broken", "kill -9 $$", "said nothing"),
];

fn node() -> Node {
    node_with(BTreeMap::new())
}

fn node_with(others: BTreeMap<String, PathBuf>) -> Node {
    let folder = tempfile::tempdir().unwrap();
    let mut programs = BTreeMap::new();
    let mut put = |name: &str, script: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        programs.insert(name.to_owned(), path);
    };
    put("fence_good", GOOD);
    put("fence_stuck", "cat > /dev/null; echo 'Status: ON'");
    for (name, script, _) in BAD {
        put(name, &format!("cat > /dev/null; {script}"));
    }
    programs.extend(others);
    let config = Config {
        agent: AgentConfig {
            fence_programs: programs,
            ..AgentConfig::default()
        },
        folder: folder.path().to_owned(),
    };
    let executor = FenceExecutor::open(&config).unwrap();
    Node { folder, executor }
}

fn device(program: &str, options: &[(&str, &str)]) -> Device {
    Device {
        level: 1,
        program: program.to_owned(),
        options: options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

impl Node {
    fn plug(&self, name: &str, state: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, state).unwrap();
        path.display().to_string()
    }

    fn secret(&self, name: &str, text: &str) {
        let folder = self.folder.path().join("fence");
        std::fs::create_dir_all(&folder).unwrap();
        private(&folder.join(name), text);
    }

    /// Cuts these devices, then looks at all.
    async fn call(&self, devices: Vec<Device>, cut: &[u32]) -> Result<Vec<PowerFact>, Failure> {
        let probes: Vec<_> = (0..devices.len())
            .map(|number| serde_json::json!({"power": number}))
            .collect();
        let steps: Vec<_> = cut
            .iter()
            .map(|device| serde_json::json!({"cut": {"device": device}}))
            .collect();
        let task = match cut {
            [] => serde_json::json!({"facts": {"probes": probes}}),
            _ => serde_json::json!({"steps": {"plan": steps, "then": probes}}),
        };
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let call = Call {
            id: id.parse().unwrap(),
            epoch: Epoch(1),
            object: format!("fence/{id}"),
            generation: Generation(1),
            tenure: Tenure(0),
            admission: Admission(1),
            work: Work::Fence {
                devices,
                task: serde_json::from_value(task).unwrap(),
            },
        };
        let sink = ProgressSink::new(call.id, mpsc::channel(8).0);
        match self.executor.run(call, sink).await? {
            Outcome::Fence(seen) => Ok(seen.facts.into_iter().map(|Fact::Power(fact)| fact).collect()),
            other => panic!("{other:?}"),
        }
    }
}

fn states(facts: &[PowerFact]) -> Vec<PowerState> {
    facts.iter().map(|fact| fact.state).collect()
}

#[tokio::test]
async fn a_device_is_asked_cut_and_asked_again() {
    let node = node();
    let (a, b) = (node.plug("a", "on"), node.plug("b", "on"));
    let devices = vec![
        device("fence_good", &[("plug", &a)]),
        device("fence_good", &[("plug", &b)]),
    ];
    let seen = node.call(devices.clone(), &[]).await.unwrap();
    assert_eq!(states(&seen), [PowerState::On, PowerState::On]);
    let seen = node.call(devices.clone(), &[1]).await.unwrap();
    assert_eq!(states(&seen), [PowerState::On, PowerState::Off]);
    // Again: nothing is different.
    let seen = node.call(devices, &[0, 1]).await.unwrap();
    assert_eq!(states(&seen), [PowerState::Off, PowerState::Off]);
    assert!(seen.iter().all(|fact| fact.said.is_empty()));
}

#[tokio::test]
async fn only_the_status_and_the_words_together_are_off() {
    let node = node();
    for (program, _, said) in BAD {
        let seen = node.call(vec![device(program, &[])], &[]).await.unwrap();
        assert_eq!(states(&seen), [PowerState::Unknown], "{program}");
        assert!(
            seen[0].said.contains(said) && seen[0].said.contains(program),
            "{seen:?}"
        );
    }
}

#[tokio::test]
async fn what_can_not_be_cut_is_a_fact_and_the_others_are_cut() {
    let node = node();
    let plug = node.plug("a", "on");
    let devices = vec![
        device("usage", &[]),
        device("fence_stuck", &[]),
        device("fence_missing", &[]),
        device("fence_good", &[("plug", &plug)]),
    ];
    let seen = node.call(devices, &[0, 1, 2, 3]).await.unwrap();
    use PowerState::{Off, On, Unknown};
    assert_eq!(states(&seen), [Unknown, On, Unknown, Off]);
    assert!(seen[0].said.contains("unknown option"), "{seen:?}");
    assert!(
        seen[2].said.contains("[fence_programs] has no fence_missing"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn secrets_come_from_the_nodes_own_files_and_are_not_shown() {
    let node = node();
    let plug = node.plug("a", "on");
    let devices = vec![device("fence_good", &[("plug", &plug), ("password", "@ipmi")])];
    let seen = node.call(devices.clone(), &[]).await.unwrap();
    assert_eq!(states(&seen), [PowerState::Unknown]);
    assert!(seen[0].said.contains("fence/ipmi) is missing"), "{seen:?}");
    let secret = |text: &str| node.secret("ipmi", text);
    secret("swordfish\n");
    let seen = node.call(devices.clone(), &[]).await.unwrap();
    assert!(seen[0].said.contains("wrong password ***"), "{seen:?}");
    secret("hunter2\n");
    let seen = node.call(devices, &[]).await.unwrap();
    assert_eq!(states(&seen), [PowerState::On], "{seen:?}");
}

#[tokio::test]
async fn a_secret_like_the_words_of_the_convention_hides_no_answer() {
    let node = node();
    node.secret("short", "O");
    let off = "cat > /dev/null; echo 'Status: OFF'; exit 2";
    let path = node.folder.path().join("fence_stuck");
    std::fs::write(&path, format!("#!/bin/sh\n{off}\n")).unwrap();
    let seen = node
        .call(vec![device("fence_stuck", &[("password", "@short")])], &[])
        .await;
    assert_eq!(states(&seen.unwrap()), [PowerState::Off]);
}

fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn what_operators_may_not_say_is_not_run_here_either() {
    let node = node();
    let wrong = device("fence_good", &[("ipmitool_path", "/bin/sh")]);
    let failure = node.call(vec![wrong], &[0]).await.unwrap_err();
    assert!(failure.message.contains("ipmitool_path"), "{failure}");
    let many = vec![device("fence_good", &[]); DEVICES_MAX + 1];
    assert!(node.call(many, &[]).await.is_err());
    let seen = node.call(vec![device("fence_stuck", &[])], &[7]).await.unwrap();
    assert_eq!(
        states(&seen),
        [PowerState::On],
        "a device that is not there is no failure of the others"
    );
}

#[test]
fn without_programs_there_is_no_executor() {
    let config = Config {
        agent: AgentConfig::default(),
        folder: "/nonexistent".into(),
    };
    assert!(FenceExecutor::open(&config).is_none());
}
