//! The program that most servers need, `fence_ipmilan`, against a management board: the protocol is IPMI 2.0 over UDP, the board
//! is simulated by OpenIPMI.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::*;

const PROGRAM: &str = "/usr/sbin/fence_ipmilan";
const SIMULATOR: &str = "/usr/bin/ipmi_sim";
const PASSWORD: &str = "swordfish";

/// What the board does with the power: the file `power` has `1` while it is on.
const CHASSIS: &str = r#"#!/bin/sh
cd "$(dirname "$0")"; shift; what=$1; shift
case "$what" in
    get) for name; do test "$name" = power && echo "power:$(cat power)" || echo "$name:0"; done;;
    set) while test $# -gt 0; do test "$1" = power && echo "$2" > power; shift 2; done;;
esac
"#;

/// A board with one management controller.
const CONTROLLER: &str = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n\
                          sel_enable 0x20 1000 0x0a\nmc_enable 0x20\n";

/// A board.
struct Board {
    folder: TempDir,
    port: u16,
    _process: Child,
}

impl Board {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let allowed: String = ["callback", "user", "operator", "admin"]
            .map(|role| format!("    allowed_auths_{role} none md2 md5 straight\n"))
            .concat();
        let lan = format!(
            "name \"board\"\nset_working_mc 0x20\n  startlan 1\n    addr 127.0.0.1 {port}\n    priv_limit admin\n{allowed}    \
             guid a123456789abcdefa123456789abcdef\n  endlan\n  chassis_control \"{} 0x20\"\n  \
             user 2 true \"fence\" \"{PASSWORD}\" admin 10 none md2 md5 straight\n",
            at("chassis").display()
        );
        for (name, text) in [
            ("lan.conf", lan.as_str()),
            ("board.emu", CONTROLLER),
            ("power", "1\n"),
            ("chassis", CHASSIS),
        ] {
            std::fs::write(at(name), text).unwrap();
        }
        std::fs::set_permissions(at("chassis"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(SIMULATOR);
        command
            .arg("-n")
            .arg("-c")
            .arg(at("lan.conf"))
            .arg("-f")
            .arg(at("board.emu"));
        command.arg("-s").arg(at("state"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let process = command.spawn().unwrap();
        Self {
            folder,
            port,
            _process: process,
        }
    }

    fn power(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("power")).unwrap()
    }
}

/// Whether this server has the programs; says so when not.
fn can() -> bool {
    let can = [PROGRAM, SIMULATOR, "/usr/bin/ipmitool"]
        .iter()
        .all(|path| Path::new(path).exists());
    if !can {
        eprintln!("!!! NOT TESTED HERE: fence_ipmilan against a board; `cargo xtask setup` installs what is missing");
    }
    can
}

#[tokio::test]
async fn a_board_is_asked_and_cuts_the_power() {
    if !can() {
        return;
    }
    let board = Board::start();
    let programs = BTreeMap::from([("fence_ipmilan".to_owned(), PathBuf::from(PROGRAM))]);
    let node = node_with(programs);
    node.secret("ipmi", PASSWORD);
    let port = board.port.to_string();
    let options = [
        ("ip", "127.0.0.1"),
        ("ipport", &port),
        ("username", "fence"),
        ("password", "@ipmi"),
        ("lanplus", "1"),
        // The simulator can't be asked which it has, and is asked for long.
        ("cipher", "3"),
    ];
    let devices = vec![device("fence_ipmilan", &options)];
    let mut seen = node.call(devices.clone(), &[]).await.unwrap();
    for _ in 0..100 {
        // It takes a moment to come up.
        if seen[0].state != PowerState::Unknown {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        seen = node.call(devices.clone(), &[]).await.unwrap();
    }
    assert_eq!(states(&seen), [PowerState::On], "{seen:?}");
    node.secret("ipmi", "wrong");
    let refused = node.call(devices.clone(), &[0]).await.unwrap();
    assert_eq!(states(&refused), [PowerState::Unknown]);
    assert!(
        refused[0]
            .said
            .contains("fence_ipmilan ended with exit status: 1: Failed: "),
        "{refused:?}"
    );
    assert_eq!(board.power(), "1\n");
    node.secret("ipmi", PASSWORD);
    let seen = node.call(devices.clone(), &[0]).await.unwrap();
    assert_eq!((states(&seen), board.power().as_str()), (vec![PowerState::Off], "0\n"));
    // Off already: the same again.
    assert_eq!(states(&node.call(devices, &[0]).await.unwrap()), [PowerState::Off]);
    let nowhere = vec![device("fence_ipmilan", &[])];
    let said = node.call(nowhere, &[]).await.unwrap();
    assert_eq!(
        (said[0].state, said[0].said.contains("fence address")),
        (PowerState::Unknown, true)
    );
}
