//! With libvirt's simulated hypervisor: no daemon, no QEMU, nothing runs.

use symphony_compute::Error;
use symphony_core::plan::machine::{Exit, Fact, Hypervisor, Probe, RunState, Step};

use super::lab::{
    HANGS, MACHINE, OTHER, bootable, define, description, device, domain, empty, fact, left, machines, seed, shutdown,
    start, twice, undefine,
};

/// A simulated node of its own: what `test:///default` knows, all tests of a process share.
fn node(top: &std::path::Path) -> String {
    let path = top.join("node.xml");
    std::fs::write(
        &path,
        "<node><cpu><mhz>1000</mhz><model>i686</model><active>4</active></cpu><memory>8000000</memory></node>",
    )
    .unwrap();
    format!("test://{}", path.display())
}

#[tokio::test]
async fn a_machine_lives_and_leaves_nothing() {
    let top = tempfile::tempdir().unwrap();
    let machines = machines(top.path(), "test:///default", Hypervisor::Test);
    let mut wanted = description(MACHINE, Hypervisor::Test, vec![bootable(top.path(), "root")]);
    wanted.seed = true;
    let before = fact(&machines, MACHINE).await;
    assert!(before.found.is_none() && !before.remains);
    twice(&machines, &seed()).await;
    // A seed without a machine is something that is left.
    assert!(fact(&machines, MACHINE).await.remains);
    twice(&machines, &define(&wanted)).await;
    let defined = domain(&machines, MACHINE).await;
    assert_eq!(
        (&defined.description, defined.boots, defined.seed_digest.as_str()),
        (&wanted, 0, "d1")
    );
    assert!(matches!(defined.state, RunState::Off(_)));
    twice(&machines, &start(1)).await;
    let running = domain(&machines, MACHINE).await;
    assert_eq!((running.state, running.boots), (RunState::Running, 1));
    assert!(matches!(machines.run(&undefine()).await, Err(Error::Running)));
    // What is defined anew keeps the count.
    wanted.memory_bytes *= 2;
    twice(&machines, &define(&wanted)).await;
    let changed = domain(&machines, MACHINE).await;
    assert_eq!((changed.description, changed.boots), (wanted, 1));
    twice(
        &machines,
        &Step::Reboot {
            object: MACHINE.to_owned(),
            boots: 2,
            timeout_ms: 1000,
        },
    )
    .await;
    let rebooted = domain(&machines, MACHINE).await;
    assert_eq!((rebooted.state, rebooted.boots), (RunState::Running, 2));
    twice(&machines, &shutdown()).await;
    assert_eq!(domain(&machines, MACHINE).await.state, RunState::Off(Exit::Ordered));
    twice(&machines, &undefine()).await;
    assert!(fact(&machines, MACHINE).await.found.is_none());
    assert_eq!(left(top.path()), 0);
}

#[tokio::test]
async fn a_volume_is_one_machines() {
    let top = tempfile::tempdir().unwrap();
    let machines = machines(top.path(), &node(top.path()), Hypervisor::Test);
    let root = empty(top.path(), "root");
    let one = description(MACHINE, Hypervisor::Test, vec![root.clone()]);
    let other = description(OTHER, Hypervisor::Test, vec![root]);
    machines.run(&define(&one)).await.unwrap();
    let refused = machines.run(&define(&other)).await;
    assert!(
        matches!(&refused, Err(Error::Taken { machine, .. }) if machine == MACHINE),
        "{refused:?}"
    );
    assert!(fact(&machines, OTHER).await.found.is_none());
    machines.run(&undefine()).await.unwrap();
    machines.run(&define(&other)).await.unwrap();
}

#[tokio::test]
async fn what_can_not_be_is_refused() {
    let top = tempfile::tempdir().unwrap();
    let machines = machines(top.path(), &node(top.path()), Hypervisor::Test);
    let missing = description(MACHINE, Hypervisor::Test, vec![device("nowhere", true)]);
    assert!(matches!(machines.run(&define(&missing)).await, Err(Error::Disk { .. })));
    let root = empty(top.path(), "root");
    let many = description(MACHINE, Hypervisor::Test, vec![root.clone(); 17]);
    assert!(matches!(machines.run(&define(&many)).await, Err(Error::Unfit(_))));
    let mut none = description(MACHINE, Hypervisor::Test, vec![root]);
    none.memory_bytes = 1;
    assert!(matches!(machines.run(&define(&none)).await, Err(Error::Unfit(_))));
    assert!(matches!(machines.run(&start(1)).await, Err(Error::Unknown)));
    let outside = Step::Undefine {
        object: "../machines".to_owned(),
    };
    assert!(matches!(machines.run(&outside).await, Err(Error::Unfit(_))));
    let facts = machines.facts(&[Probe::Node]).await.unwrap();
    assert!(matches!(
        facts.as_slice(),
        [Fact::Node {
            hypervisor: Hypervisor::Test,
            ..
        }]
    ));
}

#[tokio::test]
async fn all_machines_of_a_folder_end_and_stay_known() {
    let top = tempfile::tempdir().unwrap();
    let machines = machines(top.path(), &node(top.path()), Hypervisor::Test);
    for (object, volume) in [(MACHINE, "one"), (OTHER, "other")] {
        let wanted = description(object, Hypervisor::Test, vec![bootable(top.path(), volume)]);
        machines.run(&define(&wanted)).await.unwrap();
        let begin = Step::Start {
            object: object.to_owned(),
            boots: 3,
        };
        machines.run(&begin).await.unwrap();
        assert_eq!(domain(&machines, object).await.boots, 3);
    }
    // What has no files here is another agent's.
    std::fs::rename(top.path().join("machines").join(OTHER), top.path().join("elsewhere")).unwrap();
    let mut told = None;
    let ended = machines.end_all(HANGS, |count| told = Some(count)).await.unwrap();
    assert_eq!((ended, told), (1, Some(1)));
    let off = domain(&machines, MACHINE).await;
    assert!(matches!(off.state, RunState::Off(_)) && off.boots == 0, "{off:?}");
    assert_eq!(domain(&machines, OTHER).await.state, RunState::Running);
    assert_eq!(machines.end_all(HANGS, drop).await.unwrap(), 0);
}
