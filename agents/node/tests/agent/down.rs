//! A node is taken out of service, and comes back; and a node that can't run machines.

use std::process::Command;

use symphony_core::node::Role;
use symphony_core::plan::Kind as _;
use symphony_core::plan::machine::{Machines, RunState};
use symphony_core::plan::network;
use symphony_lab::Abilities;

use crate::machines::{Guest, Libvirtd, boot, console_says, domain, machine, network, network_steps, start};
use crate::manager::Manager;
use crate::process::Folder;

/// The processes whose command lines name something.
fn named(what: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(what))
        .collect()
}

/// The kernel's parts of a network that are there.
fn parts(net: &network::Intent, link: &str) -> Vec<String> {
    let links = [net.bridge.as_str(), link].map(|name| format!("/sys/class/net/{name}"));
    let space = [format!("/run/netns/{}", net.namespace)];
    let there = |path: &String| std::path::Path::new(path).exists();
    let mut parts: Vec<String> = links.into_iter().chain(space).filter(there).collect();
    let rules = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    let rules = String::from_utf8(rules.stdout).unwrap();
    parts.extend(rules.lines().filter(|line| line.contains(link)).map(str::to_owned));
    parts
}

#[tokio::test]
async fn a_node_that_is_taken_down_keeps_nothing_running_and_all_that_is_wanted() {
    if !Abilities::here().machines() || !Abilities::here().networks() {
        return;
    }
    let manager = Manager::start().await;
    // Sockets are reached by a short way: their own paths would be too long.
    let folder = Folder::deep(&manager.address).with_machines();
    let _end = Libvirtd(&folder);
    let (agent, mut session) = start(&manager, &folder).await;
    let Guest { wanted, net, doing } = boot(&mut session, &folder, "of a deep folder").await;
    let link = wanted.ports[0].link.clone();
    assert!(parts(&net, &link).len() > 3 && !named(&wanted.object).is_empty());

    let refused = folder.run(&["down"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && said.contains("another agent runs"),
        "{said}"
    );

    // It stays when the agent ends, and is found without it.
    agent.kill();
    let down = folder.run(&["down", "--patience", "30"]);
    let said = String::from_utf8(down.stdout).unwrap();
    assert_eq!(
        said, "stopping 1 machines\ndown 1 machines 1 networks\n",
        "{:?}",
        down.stderr
    );
    assert!(down.status.success());
    assert_eq!(parts(&net, &link), Vec::<String>::new());
    assert_eq!(named(folder.path().to_str().unwrap()), Vec::<String>::new());
    let again = folder.run(&["down"]);
    assert!(
        again.status.success()
            && String::from_utf8(again.stdout)
                .unwrap()
                .starts_with("down 0 machines 0")
    );

    // The agent is back: the machine is known, was never started as far as anybody can tell, and starts.
    let (agent, mut session) = start(&manager, &folder).await;
    let facts = machine(&mut session, &wanted, 1, Vec::new(), &[]).await;
    let found = domain(&facts).unwrap();
    assert!(matches!(found.state, RunState::Off(_)) && found.boots == 0, "{found:?}");
    network(&mut session, &net, 1, network_steps(&net)).await;
    let facts = machine(&mut session, &wanted, 1, doing, &facts).await;
    assert!(Machines::met(&wanted, &facts).is_some(), "{facts:?}");
    console_says(&folder, &wanted.object, "TINY of a deep folder boots=2").await;
    // A guest that does not hear the button is cut off.
    agent.end();
    let down = folder.run(&["down", "--patience", "0"]);
    assert!(down.status.success(), "{down:?}");
    assert_eq!(named(folder.path().to_str().unwrap()), Vec::<String>::new());
    assert_eq!(parts(&net, &link), Vec::<String>::new());
}

#[tokio::test]
async fn a_node_without_qemu_says_so_once_and_does_the_rest() {
    let manager = Manager::start().await;
    let folder = Folder::new(&manager.address).with_machines();
    let _end = Libvirtd(&folder);
    let empty = tempfile::tempdir().unwrap();
    let agent = folder
        .try_start(&[("PATH", empty.path().to_str().unwrap())])
        .unwrap_or_else(|status| panic!("{status}: {}", folder.log()));
    let session = manager.session().await;
    assert_eq!(session.hello.compute, None);
    assert!(session.hello.roles.contains(&Role::Block) && session.hello.roles.contains(&Role::Image));
    assert!(!session.hello.roles.contains(&Role::Compute));
    let log = folder.log();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("no machines on this node"))
        .collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(
        lines[0].contains("no qemu-system-x86_64") && lines[0].contains("apt-get install"),
        "{log}"
    );
    agent.end();
}

#[test]
fn what_is_lacking_can_be_asked() {
    let folder = Folder::new("127.0.0.1:1");
    // It has no role that could lack anything.
    let asked = folder.run(&["check"]);
    assert!(asked.status.success() && asked.stdout.is_empty(), "{asked:?}");
    let folder = folder.with_machines();
    let asked = folder.run(&["check"]);
    let said = String::from_utf8(asked.stdout).unwrap();
    let can = Abilities::here().machines() && Abilities::here().networks();
    assert_eq!((asked.status.success(), said.is_empty()), (can, can), "{said}");
}
