//! Backup and restore by the commands themselves: from one manager to another, killed in between, and with bad files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

fn command(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_symphony"));
    command
        .env_clear()
        .env("HOME", home)
        .env("PATH", std::env::var_os("PATH").unwrap());
    command.stdin(Stdio::null());
    command
}

/// A manager on a folder; killed when it is dropped.
struct Manager {
    child: Child,
    folder: PathBuf,
}

impl Manager {
    fn start(folder: &Path) -> Self {
        let mut child = command(folder)
            .args(["manager", "--listen", "127.0.0.1:0", "--config-dir"])
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(line.starts_with("ready http://"), "{line:?}");
        Self {
            child,
            folder: folder.to_owned(),
        }
    }

    fn run(&self, line: &str) -> Output {
        let mut command = command(&self.folder);
        command.env("SYMPHONY_CONFIG", self.folder.join("client.toml"));
        command
            .current_dir(&self.folder)
            .args(line.split(' '))
            .output()
            .unwrap()
    }

    #[track_caller]
    fn does(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn restore(file: &Path, folder: &Path, crash_at: Option<&str>) -> Output {
    let mut command = command(folder.parent().unwrap());
    if let Some(point) = crash_at {
        command.env("SYMPHONY_CRASH_AT", point);
    }
    command
        .arg("restore")
        .arg(file)
        .arg("--config-dir")
        .arg(folder)
        .output()
        .unwrap()
}

#[track_caller]
fn fails(output: &Output, code: i32, says: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for say in says {
        assert!(text.contains(say), "{say:?} is not in {text}");
    }
}

/// What people see of a cloud without nodes.
fn seen(manager: &Manager) -> Vec<String> {
    [
        "project list -o name",
        "token list -o name",
        "plugin list -o name",
        "network list --project web -o name",
        "volume list --project web -o name",
    ]
    .map(|line| manager.does(line))
    .into()
}

#[test]
fn a_cloud_goes_from_one_folder_to_another() {
    let home = tempfile::tempdir().unwrap();
    let (one, two) = (home.path().join("one"), home.path().join("two"));
    std::fs::create_dir(&one).unwrap();
    let manager = Manager::start(&one);
    manager.does("project create web");
    manager.does("network create lan --subnet 10.1.0.0/24 --project web");
    manager.does("volume create data --size 1GiB --project web --no-wait");
    let token = manager.does("token create --role admin --name keeper -o json");
    let token: serde_json::Value = serde_json::from_str(&token).unwrap();
    let said = manager.run("backup cloud.backup");
    assert!(said.status.success(), "{said:?}");
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(said.contains("authority") && said.contains("cloud.backup"), "{said}");
    let file = one.join("cloud.backup");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let streamed = manager.does("backup -");
    assert!(
        streamed.starts_with("{\"format\":\"symphony-backup/1\""),
        "{streamed:.80}"
    );
    let before = seen(&manager);
    manager.does("project create late");

    // Its folder is in use, and its store is not empty.
    fails(&restore(&file, &one, None), 1, &["another manager"]);
    manager.stop();
    fails(
        &restore(&file, &one, None),
        4,
        &["not empty", "cluster", "1 volumes", "nothing was changed"],
    );

    let whole = std::fs::read(&file).unwrap();
    let bad = home.path().join("bad");
    std::fs::write(&bad, &whole[..whole.len() - 10]).unwrap();
    fails(&restore(&bad, &two, None), 1, &["bad"]);
    let mut altered = whole.clone();
    let middle = altered.len() / 2;
    altered[middle] = if altered[middle] == b'A' { b'B' } else { b'A' };
    std::fs::write(&bad, altered).unwrap();
    fails(&restore(&bad, &two, None), 1, &["bad"]);
    assert!(!two.exists(), "nothing is made of a file that is not whole");

    for point in [
        "symphony.restore.after_marker",
        "symphony.restore.after_batch",
        "symphony.restore.before_end",
    ] {
        let killed = restore(&file, &two, Some(point));
        assert_eq!(killed.status.code(), None, "{point}: {killed:?}");
        let refused = command(home.path())
            .args(["manager", "--listen", "127.0.0.1:0", "--config-dir"])
            .arg(&two)
            .output()
            .unwrap();
        fails(
            &refused,
            1,
            &["could not start the manager", "run `symphony restore` again"],
        );
    }
    let restored = restore(&file, &two, None);
    assert!(restored.status.success(), "{restored:?}");

    let again = Manager::start(&two);
    let after = seen(&again);
    assert_eq!(after[0], before[0], "projects, without the late one");
    // The new manager has a token of its own.
    for line in before[1].lines() {
        assert!(after[1].contains(line), "{after:?}");
    }
    assert_eq!(after[2..], before[2..]);
    assert!(again.does("events -o json").contains("\"restored\""));
    let by_token = format!("--token {} project list -o name", token["text"].as_str().unwrap());
    assert_eq!(again.does(&by_token), before[0], "a token of before still opens");
    again.does("backup again.backup");
    again.stop();

    // The folder of before: what its manager was is forgotten with the store.
    std::fs::remove_file(one.join("store.redb")).unwrap();
    let restored = restore(&two.join("again.backup"), &one, None);
    assert!(restored.status.success(), "{restored:?}");
    let back = Manager::start(&one);
    assert_eq!(seen(&back)[0], before[0]);
    back.stop();
}
