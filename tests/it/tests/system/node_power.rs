//! A node whose power is cut, as an operator has it done: with a program that really ends the node's processes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use symphony_tests::process::{Said, pid, signal};
use symphony_tests::{ByHand, until};

/// A board of one server, which is a process: its number is in the file that `plug` names.
const BOARD: &str = r#"#!/bin/sh
while read -r line; do case "$line" in
    action=*) action="${line#*=}";; plug=*) plug="${line#*=}";; pin=*) pin="${line#*=}";; password=*) password="${line#*=}";;
esac; done
test "$password" = swordfish || { echo "Failed: $password is not the password" >&2; exit 1; }
pid=$(cat "$plug")
case "$action" in
    off) kill -9 "$pid"; echo "Success: Powered OFF";;
    status) case "$(cut -d ' ' -f 3 "/proc/$pid/stat" 2>/dev/null)" in
        ""|Z) echo "Status: OFF"; exit 2;;
        *) echo "Status: ON";;
    esac;;
    *) exit 1;;
esac
"#;

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Each manager does it, whoever leads.
fn power(cluster: &ByHand, words: &[&str]) -> Said {
    cluster.by("m2", &[&["node", "power"][..], words].concat())
}

async fn phase_is(cluster: &ByHand, node: &str, phase: &str) {
    until(&format!("node {node} to be {phase}"), async || {
        let shown = cluster.by("m1", &["node", "show", node, "-o", "json"]);
        let node: serde_json::Value = serde_json::from_str(&shown.out).ok()?;
        (node["status"]["phase"] == phase).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_answer_has_its_power_cut_and_is_fenced() {
    let mut cluster = ByHand::start().await;
    cluster.members(&["m1", "m2"]).await;
    let program = cluster.folder("board");
    write(&program, BOARD, 0o755);
    cluster.agent("b1");
    cluster.agent_with(
        "b2",
        &format!("[fence_programs]\nfence_board = \"{}\"\n", program.display()),
    );
    for node in ["b1", "b2"] {
        cluster.waits(node).await;
        let token = cluster.token("m1", "block", &[]);
        let _ = cluster.init(node, "block", &cluster.address("m1"), &token).good();
        phase_is(&cluster, node, "Ready").await;
    }
    let number = cluster.folder("number");
    let process = pid(&cluster.folder("b1")).expect("its agent runs");
    write(&number, &process.to_string(), 0o644);

    let none = cluster.by("m2", &["node", "fence", "b1"]).err;
    assert!(none.contains("symphony node power set"), "{none}");
    assert!(
        power(&cluster, &["show", "b1"])
            .err
            .contains("has no devices that cut its power")
    );
    let device = format!("fence_board,plug={}", number.display());
    let open = power(
        &cluster,
        &["set", "b1", "--device", &format!("{device},password=swordfish")],
    )
    .err;
    assert!(open.contains("password=@NAME") && !open.contains("swordfish"), "{open}");
    let device = format!("{device},password=@board");
    let _ = power(&cluster, &["set", "b1", "--device", &device]).good();

    let unknown = power(&cluster, &["show", "b1"]);
    assert!(unknown.err.contains("will not cut the power"), "{unknown:?}");
    assert!(unknown.good().contains("fence/board) is missing"));
    let secret = cluster.folder("b2").join("fence/board");
    write(&secret, "wrong\n", 0o600);
    let wrong = power(&cluster, &["show", "b1"]).good();
    assert!(
        wrong.contains("*** is not the password") && !wrong.contains("wrong is"),
        "{wrong}"
    );
    write(&secret, "swordfish\n", 0o600);
    let on = power(&cluster, &["show", "b1"]);
    assert!(on.err.is_empty(), "{on:?}");
    let on = on.good();
    assert!(
        on.contains("fence_board  on") && on.contains("asked by node b2"),
        "{on}"
    );

    let connected = cluster.by("m2", &["node", "fence", "b1"]);
    assert!(
        connected.code == 4 && connected.err.contains("is connected"),
        "{connected:?}"
    );

    // It lives, and does not answer: whatever it has may be written to.
    assert!(signal(process, "STOP"));
    phase_is(&cluster, "b1", "Unknown").await;
    let _ = cluster.by("m2", &["node", "fence", "b1", "--timeout", "2m"]).good();
    phase_is(&cluster, "b1", "Fenced").await;
    assert!(pid(&cluster.folder("b1")).is_none(), "it has no power");
    let events = cluster.by("m1", &["events", "-o", "json"]).good();
    for told in ["power-cut-wanted", "say that it is off, as node b2 saw"] {
        assert!(events.contains(told), "{told}: {events}");
    }

    cluster.kill("b1");
    cluster.agent("b1");
    phase_is(&cluster, "b1", "Ready").await;
    let _ = power(&cluster, &["clear", "b1"]).good();
    assert!(power(&cluster, &["show", "b1"]).err.contains("has no devices"));
}
