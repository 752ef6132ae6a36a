//! The nodes' management boards: they answer on a network of their own making, outside of the nodes, and take a node's power
//! whatever it does. Agents ask them with a program that follows the convention of the fence agents.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use symphony_api::v1::{NodePower, PatchNode, PatchNodeSpec, PowerDevice};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::parts::NODES;
use super::space::Space;
use super::story::Story;
use crate::process::below;

/// Where the boards are.
const ADDRESS: &str = "10.77.0.254";
/// Their port.
const PORT: u16 = 6230;
/// The program's name in agents' lists.
pub(super) const PROGRAM: &str = "fence_board";
/// The secret's name, and the secret.
const SECRET: (&str, &str) = ("board", "swordfish");

/// The program. Its answers are those of the convention.
const SCRIPT: &str = r#"#!/bin/bash
while read -r line; do case "$line" in
    action=*) action="${line#*=}";; ip=*) ip="${line#*=}";; plug=*) plug="${line#*=}";; password=*) password="${line#*=}";;
esac; done
exec 3<>"/dev/tcp/$ip/6230" || { echo "Failed: the board can't be reached" >&2; exit 1; }
echo "$action $plug $password" >&3
read -r said <&3
case "$action $said" in
    "status on") echo "Status: ON";;
    "status off") echo "Status: OFF"; exit 2;;
    "off off") echo "Success: Powered OFF";;
    *) echo "Failed: $said" >&2; exit 1;;
esac
"#;

/// How often it is looked whether all of a node is gone, and for how long.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const GONE_MAX: Duration = Duration::from_secs(60);

/// What the boards hold: the nodes that have power.
#[derive(Clone)]
pub(super) struct Boards {
    running: Arc<Mutex<BTreeMap<Space, Child>>>,
    nodes: PathBuf,
    story: Story,
}

impl Boards {
    pub(super) fn new(running: &Arc<Mutex<BTreeMap<Space, Child>>>, nodes: &Path, story: &Story) -> Self {
        Self {
            running: Arc::clone(running),
            nodes: nodes.to_owned(),
            story: story.clone(),
        }
    }

    /// Answers for as long as the test runs.
    pub(super) async fn serve(self) {
        let listener = TcpListener::bind((ADDRESS, PORT))
            .await
            .expect("the bridge has its address");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(self.clone().answer(stream));
            }
        });
    }

    async fn answer(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        if stream.read_line(&mut line).await.is_err() {
            return;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let said = match words[..] {
            [_, _, password] if password != SECRET.1 => "wrong password",
            [action, plug, _] => match (action, NODES.into_iter().find(|node| node.0 == plug)) {
                (_, None) => "no such plug",
                ("status", Some(node)) => self.state(node),
                ("off", Some(node)) => {
                    self.cut(node, "its board").await;
                    self.state(node)
                }
                _ => "no such action",
            },
            _ => "what?",
        };
        // Whoever asked may be without power by now.
        let _ = stream.write_all(format!("{said}\n").as_bytes()).await;
    }

    fn state(&self, node: Space) -> &'static str {
        let has_power = self.running().contains_key(&node);
        match has_power || !below(&self.nodes.join(node.0)).is_empty() {
            true => "on",
            false => "off",
        }
    }

    /// Takes a node's power: everything that runs there is gone at once, with its network. What it has on disk stays. Whether
    /// it had any.
    pub(super) async fn cut(&self, node: Space, by: &str) -> bool {
        let child = self.running().remove(&node);
        let Some(mut child) = child else { return false };
        child.kill().expect("it can be killed");
        let _ = child.wait();
        self.story.note(format!("{by} cut the power of {}", node.0));
        let folder = self.nodes.join(node.0);
        let gone = async {
            while !below(&folder).is_empty() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let gone = tokio::time::timeout(GONE_MAX, gone).await;
        gone.expect("nothing outlives its power");
        node.remove();
        true
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<Space, Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the program; gives its path.
pub(super) fn program(dir: &Path) -> PathBuf {
    let path = dir.join(PROGRAM);
    private(&path, SCRIPT, 0o755);
    path
}

/// Writes the secret to an agent's folder.
pub(super) fn secret(agent: &Path) {
    let folder = agent.join("fence");
    std::fs::create_dir_all(&folder).expect("the folder is ours");
    private(&folder.join(SECRET.0), SECRET.1, 0o600);
}

fn private(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).expect("the folder is ours");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("the file is ours");
}

/// That a node's power is cut by its board.
pub(super) fn described(node: Space) -> PatchNode {
    let options = [
        ("ip", ADDRESS.to_owned()),
        ("plug", node.0.to_owned()),
        ("password", format!("@{}", SECRET.0)),
    ];
    let device = PowerDevice {
        level: 1,
        program: PROGRAM.to_owned(),
        options: options.map(|(name, value)| (name.to_owned(), value)).into(),
    };
    PatchNode {
        labels: None,
        spec: Some(PatchNodeSpec {
            power: Some(NodePower {
                devices: vec![device],
                after_s: None,
            }),
            ..PatchNodeSpec::default()
        }),
    }
}
