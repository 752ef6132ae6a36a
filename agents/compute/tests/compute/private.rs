//! With a libvirtd of our own and QEMU: guests that really boot.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use symphony_compute::{Error, Libvirtd, Machines, View};
use symphony_core::plan::machine::{Exit, Hypervisor, RunState, Step};
use tokio::time::timeout;

use super::lab::{
    HANGS, MACHINE, Ours, bootable, define, description, domain, empty, fact, hear, left, machines, seed, shutdown,
    start, twice, undefine,
};
use super::viewers::Port;

fn console(machines: &Machines) -> View {
    machines.console(MACHINE).unwrap().view().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_boots_and_survives_libvirtd() {
    if !symphony_lab::Abilities::here().machines() {
        return;
    }
    let top = tempfile::tempdir().unwrap();
    let ours = Ours::start(top.path());
    let machines = machines(top.path(), &ours.uri(), Hypervisor::Qemu);
    let mut wanted = description(MACHINE, Hypervisor::Qemu, vec![bootable(top.path(), "root")]);
    (wanted.seed, wanted.screen) = (true, true);
    machines.run(&seed()).await.unwrap();
    twice(&machines, &define(&wanted)).await;
    let mut view = console(&machines);
    twice(&machines, &start(1)).await;
    hear(&mut view, "TINY of compute boots=1").await;
    let running = domain(&machines, MACHINE).await;
    assert_eq!((running.state, running.boots), (RunState::Running, 1));
    assert_eq!(running.live_volumes, ["root"]);
    machines
        .console(MACHINE)
        .unwrap()
        .input(b"hello guest".to_vec())
        .unwrap();
    hear(&mut view, "hello guest").await;
    assert!(machines.screen(MACHINE).unwrap().exists());

    // A second disk, while it runs.
    let more = empty(top.path(), "more");
    twice(
        &machines,
        &Step::AttachDisk {
            object: MACHINE.to_owned(),
            device: more,
        },
    )
    .await;
    assert_eq!(domain(&machines, MACHINE).await.live_volumes, ["root", "more"]);

    // libvirtd dies and comes back; the machine goes on.
    let daemon = ours.daemon().unwrap();
    kill_process(Pid::from_raw(daemon.cast_signed()).unwrap(), Signal::KILL).unwrap();
    let after = domain(&machines, MACHINE).await;
    assert_eq!((after.state, after.boots), (RunState::Running, 1));
    assert_eq!(after.live_volumes, ["root", "more"]);
    assert_ne!(ours.daemon().unwrap(), daemon);
    machines
        .console(MACHINE)
        .unwrap()
        .input(b"still there".to_vec())
        .unwrap();
    hear(&mut view, "still there").await;

    twice(&machines, &shutdown()).await;
    let off = domain(&machines, MACHINE).await;
    assert_eq!((off.state, off.boots), (RunState::Off(Exit::Ordered), 1));
    assert!(off.live_volumes.is_empty());
    twice(&machines, &start(2)).await;
    hear(&mut view, "TINY of compute boots=2").await;
    let running = domain(&machines, MACHINE).await;
    assert_eq!((running.boots, running.live_volumes), (2, vec!["root".to_owned()]));
    twice(
        &machines,
        &Step::Reboot {
            object: MACHINE.to_owned(),
            boots: 3,
            timeout_ms: 60_000,
        },
    )
    .await;
    hear(&mut view, "TINY of compute boots=3").await;
    twice(
        &machines,
        &Step::Destroy {
            object: MACHINE.to_owned(),
        },
    )
    .await;
    twice(&machines, &undefine()).await;
    let gone = fact(&machines, MACHINE).await;
    assert!(gone.found.is_none() && !gone.remains);
    assert_eq!(left(top.path()), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_agent_finds_what_runs() {
    if !symphony_lab::Abilities::here().machines() {
        return;
    }
    let top = tempfile::tempdir().unwrap();
    let ours = Ours::start(top.path());
    let wanted = description(MACHINE, Hypervisor::Qemu, vec![bootable(top.path(), "root")]);
    // An agent of its own: all that it has ends with its runtime.
    let (folder, uri) = (top.path().to_owned(), ours.uri());
    let first = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let machines = machines(&folder, &uri, Hypervisor::Qemu);
            machines.run(&define(&wanted)).await.unwrap();
            let mut view = console(&machines);
            machines.run(&start(1)).await.unwrap();
            hear(&mut view, "boots=1").await;
        });
    });
    first.join().unwrap();
    let daemon = ours.daemon();
    let again = Libvirtd::start(&top.path().join("libvirt")).unwrap();
    assert_eq!(again.daemon(), daemon, "a second one was started");
    let machines = machines(top.path(), &again.uri(), Hypervisor::Qemu);
    assert_eq!(domain(&machines, MACHINE).await.state, RunState::Running);
    let mut view = console(&machines);
    assert!(String::from_utf8_lossy(&view.history).contains("boots=1"));
    machines
        .console(MACHINE)
        .unwrap()
        .input(b"who is there".to_vec())
        .unwrap();
    hear(&mut view, "who is there").await;
    // A guest that hears no button is cut off.
    let cut = Step::Shutdown {
        object: MACHINE.to_owned(),
        timeout_ms: 0,
    };
    twice(&machines, &cut).await;
    assert_eq!(domain(&machines, MACHINE).await.state, RunState::Off(Exit::Ordered));
}

/// Through the data port: two viewers of a machine that really boots, its screen, and the notice when QEMU is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_is_watched_until_it_dies() {
    if !symphony_lab::Abilities::here().machines() {
        return;
    }
    let top = tempfile::tempdir().unwrap();
    let ours = Ours::start(top.path());
    let (sink, mut notices) = symphony_agent::notices();
    let machines = Arc::new(machines(top.path(), &ours.uri(), Hypervisor::Qemu).telling(sink));
    let port = Port::serve(Arc::clone(&machines)).await;
    let mut wanted = description(MACHINE, Hypervisor::Qemu, vec![bootable(top.path(), "root")]);
    wanted.screen = true;
    machines.run(&define(&wanted)).await.unwrap();
    assert_eq!(port.refusal(MACHINE, "console").await, (409, "off".to_owned()));
    machines.run(&start(1)).await.unwrap();
    let (mut one, mut two) = (Vec::new(), Vec::new());
    let mut first = port.console(MACHINE).await;
    first.hear(&mut one, "boots=1").await;
    let mut second = port.console(MACHINE).await;
    second.hear(&mut two, "boots=1").await;
    // The tiny guest echoes.
    second.say(b"from the second").await;
    first.hear(&mut one, "from the second").await;
    second.hear(&mut two, "from the second").await;
    let (mut screen, mut shown) = (port.screen(MACHINE).await, Vec::new());
    screen.hear(&mut shown, "RFB 003.").await;
    kill_process(qemu(top.path()), Signal::KILL).unwrap();
    for (viewer, said) in [(&mut first, &mut one), (&mut second, &mut two)] {
        let (code, _, rest) = viewer.end().await;
        assert_eq!(u16::from(code), 1000);
        said.extend(rest);
    }
    assert_eq!(one, two);
    assert_eq!(port.log(MACHINE).await, one);
    let notice = timeout(HANGS, notices.next()).await.unwrap().unwrap();
    assert_eq!(notice.object, format!("machine/{MACHINE}"));
    // Who is told so asks at once, and nobody tells it again.
    let dead = domain(&machines, MACHINE).await;
    assert_eq!(dead.state, RunState::Off(Exit::Crashed));
    port.is_off(MACHINE).await;
}

/// QEMU is killed, as the kernel does when memory is out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_does_not_let_go_keeps_its_disk_and_one_that_dies_is_seen_to() {
    if !symphony_lab::Abilities::here().machines() {
        return;
    }
    let top = tempfile::tempdir().unwrap();
    let ours = Ours::start(top.path());
    let machines = machines(top.path(), &ours.uri(), Hypervisor::Qemu);
    let disks = vec![bootable(top.path(), "root"), empty(top.path(), "more")];
    let wanted = description(MACHINE, Hypervisor::Qemu, disks);
    machines.run(&define(&wanted)).await.unwrap();
    let mut view = console(&machines);
    machines.run(&start(1)).await.unwrap();
    hear(&mut view, "boots=1").await;
    // The tiny guest knows nothing of unplugging.
    let detach = Step::DetachDisk {
        object: MACHINE.to_owned(),
        volume: "more".to_owned(),
    };
    let held = machines.run(&detach).await;
    assert!(matches!(held, Err(Error::Held)), "{held:?}");
    assert_eq!(domain(&machines, MACHINE).await.live_volumes, ["root", "more"]);
    kill_process(qemu(top.path()), Signal::KILL).unwrap();
    let ended = async {
        loop {
            if let RunState::Off(exit) = domain(&machines, MACHINE).await.state {
                return exit;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(timeout(HANGS, ended).await.unwrap(), Exit::Crashed);
    // What is off lets go of all.
    twice(&machines, &detach).await;
    machines.run(&start(2)).await.unwrap();
    hear(&mut view, "boots=2").await;
}

/// The process of the machine in this folder.
fn qemu(top: &Path) -> Pid {
    let root = top.join("fast/root").display().to_string();
    let pids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let is_ours = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"/usr/bin/qemu-system") && String::from_utf8_lossy(&line).contains(&root)
    };
    Pid::from_raw(pids.into_iter().find(is_ours).expect("a qemu")).unwrap()
}
