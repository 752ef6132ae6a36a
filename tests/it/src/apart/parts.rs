//! Which parts there are, and how each is started.

use std::path::Path;

use super::board::PROGRAM;
use super::space::Space;
use crate::program;

/// The members of etcd.
pub const MEMBERS: [Space; 3] = [Space("e1"), Space("e2"), Space("e3")];
/// The managers.
pub const MANAGERS: [Space; 3] = [Space("m1"), Space("m2"), Space("m3")];
/// The nodes.
pub const NODES: [Space; 5] = [Space("n1"), Space("n2"), Space("n3"), Space("n4"), Space("n5")];
/// The node that keeps the images.
pub const IMAGES: Space = NODES[0];

/// The roles of nodes; only one has that of images.
pub(super) const ROLES: [&str; 4] = ["block", "image", "compute", "network"];

/// What a part's process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// A member of etcd.
    Etcd,
    /// A manager.
    Manager,
    /// An agent.
    Agent,
}

impl Program {
    pub(super) fn of(space: Space) -> Self {
        match &space.0[..1] {
            "e" => Self::Etcd,
            "m" => Self::Manager,
            _ => Self::Agent,
        }
    }

    /// The folder of all parts of the kind, in that of the cluster.
    pub(super) const fn folder(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Manager => "managers",
            Self::Agent => "nodes",
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Manager => "symphony",
            Self::Agent => "symphony-agent",
        }
    }
}

/// The command of a part with this folder.
pub(super) fn command_of(space: Space, folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let address = space.address();
    match Program::of(space) {
        Program::Etcd => {
            let (client, peer) = (format!("http://{address}:2379"), format!("http://{address}:2380"));
            let all = MEMBERS.map(|member| format!("{}=http://{}:2380", member.0, member.address()));
            let flags = [
                ("--name", space.0.to_owned()),
                ("--data-dir", folder),
                ("--listen-client-urls", client.clone()),
                ("--advertise-client-urls", client),
                ("--listen-peer-urls", peer.clone()),
                ("--initial-advertise-peer-urls", peer),
                ("--initial-cluster", all.join(",")),
            ];
            let flags = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
            std::iter::once("etcd".to_owned()).chain(flags).collect()
        }
        Program::Manager => {
            let words = [
                "manager",
                "--listen",
                &format!("{address}:15760"),
                "--name",
                space.0,
                "--etcd",
            ];
            let more = [endpoints(), "--config-dir".to_owned(), folder];
            let program = program("symphony").display().to_string();
            std::iter::once(program)
                .chain(words.map(str::to_owned))
                .chain(more)
                .collect()
        }
        Program::Agent => {
            let program = program("symphony-agent").display().to_string();
            vec![program, "--config-dir".to_owned(), folder]
        }
    }
}

/// The `agent.toml` of a node; `tokens` has one for each of [`ROLES`], and `board` is the program that asks boards.
pub(super) fn agent_config(node: Space, tokens: &[String; 4], board: &Path) -> String {
    let mine = |(role, _): &(&&str, &String)| **role != "image" || node == IMAGES;
    let (roles, tokens): (Vec<String>, Vec<String>) = ROLES
        .iter()
        .zip(tokens)
        .filter(mine)
        .map(|(role, token)| (format!("{role:?}"), format!("{token:?}")))
        .unzip();
    let managers = MANAGERS.map(|manager| format!("\"{}:15760\"", manager.address()));
    format!(
        "name = \"{name}\"\nlisten = \"{address}:15761\"\nroles = [{roles}]\n[labels]\nzone = \"{name}\"\n\
         [[pool]]\nname = \"default\"\npath = \"pool\"\ncapacity = \"1GiB\"\n[compute]\nmemory = \"1GiB\"\n\
         [fence_programs]\n{PROGRAM} = \"{board}\"\n\
         [join]\nmanagers = [{managers}]\ntokens = [{tokens}]\n",
        board = board.display(),
        name = node.0,
        address = node.address(),
        roles = roles.join(", "),
        managers = managers.join(", "),
        tokens = tokens.join(", "),
    )
}

/// Where etcd serves, for managers.
pub(super) fn endpoints() -> String {
    MEMBERS
        .map(|member| format!("http://{}:2379", member.address()))
        .join(",")
}
