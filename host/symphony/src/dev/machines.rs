//! Machines of `dev`: whether this server can run them, which its agent knows; and their end with the cloud's. Runs no
//! machine itself.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use symphony_cli::Failure;
use symphony_core::name::Name;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::nodes::Node;

/// How long an agent may take to find out what it can.
const CHECK: Duration = Duration::from_secs(60);
/// How long the end of one node's machines may take: their own patience, and a libvirtd that does not answer.
const DOWN: Duration = Duration::from_secs(120);
/// How much of what an agent says is read, in bytes.
const SAID_MAX: u64 = 64 << 10;

/// What this server lacks for machines and networks, in one line, as the agent of a node says it; nothing when it lacks
/// nothing, or when that can't be found out: the agents say so themselves then.
pub(crate) async fn lacking(program: &Path, node: &Node) -> Option<String> {
    let mut check = Command::new(program);
    check.arg("check").arg("--config-dir").arg(&node.folder);
    check.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(CHECK, check.output()).await.ok()?.ok()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().next()?.trim();
    (!output.status.success() && !line.is_empty()).then(|| line.to_owned())
}

/// Ends what the agents have left running: machines, libvirtd, networks. They must have ended. Disks stay, and so does what
/// is wanted.
///
/// # Errors
/// When something is left running on a node; the others are ended all the same.
pub(crate) async fn down(program: &Path, nodes: &[Node], quiet: bool) -> Result<(), Failure> {
    let (count, mut counts) = mpsc::channel::<u64>(nodes.len().max(1));
    let mut ends = JoinSet::new();
    for node in nodes {
        let (count, node, mut command) = (count.clone(), node.clone(), Command::new(program));
        command.arg("down").arg("--config-dir").arg(&node.folder);
        ends.spawn(async move {
            let ended = tokio::time::timeout(DOWN, end(command, count)).await;
            let ended = ended.unwrap_or_else(|_| Err(format!("it did not end within {} s", DOWN.as_secs())));
            (node.name, ended)
        });
    }
    drop(count);
    // Each says how many it has, or ends.
    let mut machines = 0;
    while let Some(more) = counts.recv().await {
        machines += more;
    }
    if machines > 0 && !quiet {
        let word = if machines == 1 { "machine" } else { "machines" };
        _ = writeln!(std::io::stderr(), "stopping {machines} {word}");
    }
    let mut failed: Vec<(Name, String)> = Vec::new();
    while let Some(ended) = ends.join_next().await {
        match ended {
            Ok((_, Ok(()))) => {}
            Ok((name, Err(said))) => failed.push((name, said)),
            Err(error) => return Err(Failure::caused("the end of a node's machines was cut", &error)),
        }
    }
    failed.sort();
    let Some((name, said)) = failed.into_iter().next() else {
        return Ok(());
    };
    Err(Failure::new(format!("not all that node {name} ran could be ended"))
        .detail(said)
        .hint("start it again on the same folder, and end it: what is left is found again"))
}

async fn end(mut command: Command, count: mpsc::Sender<u64>) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // Ctrl-C in a terminal is for this process alone.
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(text)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let said = tokio::spawn(async move {
        let mut said = String::new();
        if let Some(stderr) = stderr {
            _ = stderr.take(SAID_MAX).read_to_string(&mut said).await;
        }
        said
    });
    if let Some(stdout) = stdout {
        let mut lines = BufReader::new(stdout.take(SAID_MAX)).lines();
        if let Ok(Some(line)) = lines.next_line().await {
            let number = line.strip_prefix("stopping ").and_then(|rest| rest.split(' ').next());
            // There is room for one of each.
            _ = count.try_send(number.and_then(|number| number.parse().ok()).unwrap_or(0));
        }
        drop(count);
        // To its end, so that it never writes to nobody.
        while let Ok(Some(_)) = lines.next_line().await {}
    }
    let status = child.wait().await.map_err(text)?;
    let said = said.await.unwrap_or_default();
    if status.success() {
        return Ok(());
    }
    Err(said.lines().last().unwrap_or("it did not say why").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    fn program(home: &Path, script: &str) -> PathBuf {
        let path = home.join("agent");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn nodes(home: &Path) -> Vec<Node> {
        (1..=2)
            .map(|number| Node {
                name: format!("node-{number}").parse().unwrap(),
                folder: home.join(format!("node-{number}")),
                roles: Vec::new(),
            })
            .collect()
    }

    #[tokio::test]
    async fn what_is_lacking_is_one_line_and_nothing_lacking_is_none() {
        let home = tempfile::tempdir().unwrap();
        let nodes = nodes(home.path());
        let lacks = program(home.path(), "echo \"$1 $2: no qemu\"; echo more; exit 1");
        assert_eq!(
            lacking(&lacks, &nodes[0]).await.as_deref(),
            Some("check --config-dir: no qemu")
        );
        let fine = program(home.path(), "exit 0");
        assert_eq!(lacking(&fine, &nodes[0]).await, None);
        assert_eq!(lacking(&home.path().join("nope"), &nodes[0]).await, None);
    }

    #[tokio::test]
    async fn every_node_is_ended_and_the_first_failure_is_told() {
        let home = tempfile::tempdir().unwrap();
        let nodes = nodes(home.path());
        let script = "echo 'stopping 2 machines'; echo 'down'; touch \"$3.down\"";
        down(&program(home.path(), script), &nodes, true).await.unwrap();
        let ended = |number: u32| home.path().join(format!("node-{number}.down"));
        assert!(ended(1).exists() && ended(2).exists());
        std::fs::remove_file(ended(2)).unwrap();
        let script = "touch \"$3.down\"; case $3 in *1) echo 'it lives' >&2; exit 1;; esac";
        let failure = down(&program(home.path(), script), &nodes, true).await.unwrap_err();
        assert!(failure.hint.is_some() && ended(2).exists());
    }
}
