//! With a real Linux as guest, on a node with bridges: it lets go of disks and ports. The test runs itself
//! again in namespaces, so that nothing of its links is seen from outside.

use std::process::{Command, Stdio};

use symphony_core::plan::machine::{DeviceModel, Hypervisor, Port, PortDevice, RunState, Step};

use super::lab::{MACHINE, Ours, define, description, device, domain, empty, hear, machines, shutdown, start, twice};

const MARK: &str = "SYMPHONY_COMPUTE_NODE";
const NAME: &str = "compute::linux::devices_come_and_go";

fn port(at: u8) -> PortDevice {
    let port = Port {
        id: format!("p{at}"),
        link: format!("try-p{at}"),
        bridge: "try-bridge".to_owned(),
        mac: format!("52:54:00:00:00:0{at}"),
        address: format!("10.0.0.{at}"),
        prefix: 24,
        gateway: "10.0.0.1".to_owned(),
        rate_bits: 0,
    };
    PortDevice {
        port,
        model: DeviceModel::Virtio,
    }
}

#[test]
fn devices_come_and_go() {
    if std::env::var_os(MARK).is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(come_and_go());
        return;
    }
    if !symphony_lab::Abilities::here().networks() {
        return;
    }
    let script = "ip link add name try-bridge type bridge && ip link set try-bridge up && exec \"$@\"";
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    unshare
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"]);
    let output = unshare.env(MARK, "1").stdin(Stdio::null()).output().unwrap();
    let (said, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success() && said.contains("1 passed"), "{said}{errors}");
}

async fn come_and_go() {
    let top = tempfile::tempdir().unwrap();
    let more = empty(top.path(), "more");
    std::fs::copy(symphony_lab::linux().unwrap(), top.path().join("fast/root")).unwrap();
    let ours = Ours::start(top.path());
    let machines = machines(top.path(), &ours.uri(), Hypervisor::Qemu);
    let mut wanted = description(MACHINE, Hypervisor::Qemu, vec![device("root", true)]);
    wanted.memory_bytes = 192 << 20;
    wanted.ports = vec![port(2)];
    machines.run(&define(&wanted)).await.unwrap();
    let mut view = machines.console(MACHINE).unwrap().view().unwrap();
    machines.run(&start(1)).await.unwrap();
    hear(&mut view, "symphony-linux up boots=1").await;
    assert_eq!(domain(&machines, MACHINE).await.live_ports, ["p2"]);

    let object = || MACHINE.to_owned();
    twice(
        &machines,
        &Step::AttachDisk {
            object: object(),
            device: more,
        },
    )
    .await;
    twice(
        &machines,
        &Step::AttachPort {
            object: object(),
            device: Box::new(port(3)),
        },
    )
    .await;
    let both = domain(&machines, MACHINE).await;
    assert_eq!(
        (both.live_volumes, both.live_ports),
        (vec!["root".into(), "more".into()], vec!["p2".into(), "p3".into()])
    );
    twice(
        &machines,
        &Step::DetachDisk {
            object: object(),
            volume: "more".to_owned(),
        },
    )
    .await;
    twice(
        &machines,
        &Step::DetachPort {
            object: object(),
            port: "p3".to_owned(),
        },
    )
    .await;
    let one = domain(&machines, MACHINE).await;
    assert_eq!(
        (one.live_volumes, one.live_ports),
        (vec!["root".to_owned()], vec!["p2".to_owned()])
    );
    twice(&machines, &shutdown()).await;
    assert!(matches!(domain(&machines, MACHINE).await.state, RunState::Off(_)));
}
