//! Real etcd members for tests: processes in a folder of their own, ended by their ids.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use symphony_store::member::{Member, PROGRAM};
use symphony_store::{Etcd, EtcdOptions};
use tempfile::TempDir;

/// Far more than a start takes, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running member; dropping it kills it.
pub(crate) struct Running {
    pub(crate) member: Member,
    child: Child,
    log: std::path::PathBuf,
}

impl Running {
    pub(crate) fn start(member: Member) -> Self {
        Self::start_by(&[], member)
    }

    /// Starts it through another program, which becomes it.
    pub(crate) fn start_by(before: &[String], member: Member) -> Self {
        let log = member.data_dir.with_extension("log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut line = before.to_vec();
        line.push(PROGRAM.to_owned());
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).args(member.arguments());
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { member, child, log }
    }

    pub(crate) async fn healthy(&self) {
        let healthy = self.member.healthy(PATIENCE).await;
        if let Err(error) = healthy {
            let log = std::fs::read_to_string(&self.log).unwrap();
            let tail: Vec<_> = log.lines().rev().take(20).collect();
            panic!("{error}\n{}", tail.join("\n"));
        }
    }

    /// Kill -9.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.kill();
        *self = Self::start(self.member.clone());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `HOST:PORT` that is free now.
pub(crate) fn free() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// A cluster on loopback.
pub(crate) struct Lab {
    pub(crate) members: Vec<Running>,
    pub(crate) folder: TempDir,
}

impl Lab {
    pub(crate) async fn start(count: usize) -> Self {
        Self::start_with(count, |_| {}).await
    }

    pub(crate) async fn start_with(count: usize, change: impl Fn(&mut Member)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let addresses: Vec<_> = (0..count).map(|_| (free(), free())).collect();
        let addresses = addresses.iter().map(|(client, peer)| (&client[..], &peer[..]));
        let mut members = Member::all(folder.path(), addresses);
        members.iter_mut().for_each(change);
        let members: Vec<_> = members.into_iter().map(Running::start).collect();
        for member in &members {
            member.healthy().await;
        }
        Self { members, folder }
    }

    pub(crate) fn options(&self) -> EtcdOptions {
        EtcdOptions::new(self.members.iter().map(|running| running.member.endpoint()))
    }

    pub(crate) async fn connect(&self) -> Etcd {
        Etcd::connect(self.options()).await.unwrap()
    }
}
