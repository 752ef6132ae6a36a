//! The guests, booted for real by qemu alone: what they promise to tests holds.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use symphony_lab::{Abilities, linux, tiny};

/// How long before a test gives up; nothing passes by how long it took.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running guest; ends with this value.
struct Guest {
    qemu: Child,
    serial: UnixStream,
    monitor: UnixStream,
    /// What the guest has said and nobody has waited for yet.
    said: String,
}

impl Guest {
    fn boot(dir: &Path, disk: &Path, more: &[&str]) -> Self {
        let listen = |name: &str| {
            let path = dir.join(name);
            let _ = std::fs::remove_file(&path);
            UnixListener::bind(path).unwrap()
        };
        let (serial, monitor) = (listen("serial"), listen("monitor"));
        let disk = format!("file={},format=raw,if=virtio", disk.display());
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.current_dir(dir).stdin(Stdio::null());
        qemu.args([
            "-nodefaults",
            "-display",
            "none",
            "-machine",
            "q35",
            "-accel",
            "tcg",
            "-m",
            "192",
        ]);
        qemu.args(["-serial", "unix:serial", "-monitor", "unix:monitor", "-drive", &disk]);
        let mut qemu = qemu.args(more).spawn().unwrap();
        let mut accept = |listener: UnixListener| {
            listener.set_nonblocking(true).unwrap();
            let started = Instant::now();
            loop {
                match listener.accept() {
                    Ok((stream, _)) => break stream,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                let ended = qemu.try_wait().unwrap();
                assert!(ended.is_none() && started.elapsed() < PATIENCE, "qemu ended: {ended:?}");
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        let (serial, monitor) = (accept(serial), accept(monitor));
        serial.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            qemu,
            serial,
            monitor,
            said: String::new(),
        }
    }

    /// Waits for a whole line that contains this, and gives it.
    fn line(&mut self, with: &str) -> String {
        loop {
            while let Some((line, rest)) = self.said.split_once('\n') {
                let (line, rest) = (line.trim().to_owned(), rest.to_owned());
                self.said = rest;
                if line.contains(with) {
                    return line;
                }
            }
            let mut bytes = [0; 4096];
            let count = self.serial.read(&mut bytes).unwrap_or_else(|error| {
                panic!("{error}: waited in vain for {with:?}, the last was {:?}", self.said);
            });
            assert!(count > 0, "the guest ended before it said {with:?}");
            self.said.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    }

    fn shell(&mut self, line: &str) {
        self.serial.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn monitor(&mut self, line: &str) {
        self.monitor.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Presses the power button and waits for the machine to be off.
    fn power_off(mut self) {
        self.monitor("system_powerdown");
        let started = Instant::now();
        while self.qemu.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < PATIENCE, "the guest does not obey the power button");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(self.qemu.wait().unwrap().success());
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// A copy of the Linux disk that may be written to.
fn linux_copy(dir: &Path) -> std::path::PathBuf {
    let copy = dir.join("linux.raw");
    let mut cp = Command::new("cp");
    cp.arg("--sparse=always").arg(linux().unwrap()).arg(&copy);
    assert!(cp.status().unwrap().success());
    copy
}

#[test]
fn the_tiny_disk_counts_its_boots_and_obeys_the_power_button() {
    if !Abilities::here().guests() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("tiny.raw");
    tiny(&disk, "of a test").unwrap();
    for boots in 1..=2 {
        let mut guest = Guest::boot(dir.path(), &disk, &[]);
        guest.line(&format!("TINY of a test boots={boots}"));
        guest.serial.write_all(b"echo\n").unwrap();
        guest.line("echo");
        guest.power_off();
    }
}

#[test]
fn linux_gets_its_address_and_name_and_sees_what_is_plugged_in() {
    if !Abilities::here().guests() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = linux_copy(dir.path());
    std::fs::write(dir.path().join("more.raw"), vec![0; 1 << 20]).unwrap();
    let port = free_port();
    let net = format!("user,id=n0,hostname=by-dhcp,net=10.5.0.0/24,hostfwd=tcp:127.0.0.1:{port}-:80");
    let more = [
        ["-netdev", &net],
        ["-device", "virtio-net-pci,netdev=n0"],
        ["-netdev", "user,id=n1,net=10.6.0.0/24"],
        ["-device", "pcie-root-port,id=port1,chassis=1"],
        ["-device", "pcie-root-port,id=port2,chassis=2"],
        ["-drive", "file=more.raw,format=raw,if=none,id=more"],
    ];
    let mut guest = Guest::boot(dir.path(), &disk, more.as_flattened());
    assert_eq!(
        guest.line("symphony-linux up"),
        "symphony-linux up boots=1 address=10.5.0.15"
    );
    let mut web = TcpStream::connect(("127.0.0.1", port)).unwrap();
    web.set_read_timeout(Some(PATIENCE)).unwrap();
    web.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut page = String::new();
    web.read_to_string(&mut page).unwrap();
    assert!(page.ends_with("\r\n\r\nby-dhcp\n"), "{page:?}");

    guest.monitor("device_add virtio-blk-pci,id=disk,drive=more,serial=more-1,bus=port1");
    guest.shell("until [ -b /dev/vdb ]; do sleep 0.1; done; echo disk=$(cat /sys/block/vdb/serial)");
    guest.line("disk=more-1");
    guest.monitor("device_del disk");
    guest.shell("while [ -e /sys/block/vdb ]; do sleep 0.1; done; echo disk=$((40 + 2))");
    guest.line("disk=42");
    guest.monitor("device_add virtio-net-pci,netdev=n1,bus=port2");
    guest.line("symphony-linux eth1 address=10.6.0.15");
    guest.power_off();
}

#[test]
fn linux_reads_its_seed_and_counts_its_boots_through_a_power_cut() {
    if !Abilities::here().guests() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = linux_copy(dir.path());
    seed(dir.path(), "web-1", "#!/bin/sh\necho script on $(hostname)\n");
    let more = [
        ["-drive", "file=seed.img,format=raw,if=virtio,readonly=on"],
        ["-netdev", "user,id=n0,hostname=by-dhcp"],
        ["-device", "virtio-net-pci,netdev=n0"],
    ];
    let mut guest = Guest::boot(dir.path(), &disk, more.as_flattened());
    // The seed's name goes before the network's.
    guest.line("script on web-1");
    guest.line("symphony-linux up boots=1");
    drop(guest);
    let mut guest = Guest::boot(dir.path(), &disk, &more.as_flattened()[..2]);
    assert_eq!(guest.line("symphony-linux"), "symphony-linux up boots=2 address=none");
    guest.monitor("system_reset");
    // Once for an instance: no boot after the first runs the script.
    assert_eq!(guest.line("symphony-linux"), "symphony-linux up boots=3 address=none");
    guest.shell("cat /run/seed/user-data");
    guest.line("echo script");
    guest.power_off();
}

/// Makes a seed disk, as a compute agent does.
fn seed(dir: &Path, name: &str, user_data: &str) {
    let run = |program: &str, words: &[&str]| {
        let status = Command::new(program)
            .args(words)
            .current_dir(dir)
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "{program}");
    };
    std::fs::write(dir.join("seed.img"), vec![0; 1 << 20]).unwrap();
    std::fs::write(
        dir.join("meta-data"),
        format!("instance-id: i-1\nlocal-hostname: \"{name}\"\n"),
    )
    .unwrap();
    std::fs::write(dir.join("user-data"), user_data).unwrap();
    run("/usr/sbin/mkfs.fat", &["-n", "CIDATA", "seed.img"]);
    run("mcopy", &["-i", "seed.img", "meta-data", "user-data", "::/"]);
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
