use super::*;
use crate::plan::machine::DiskSource;
use crate::plan::machine::{Chipset, CpuMode, DeviceModel, DomainFact, Exit, Hypervisor, SeedFile};

const OBJECT: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn disk(volume: &str) -> Disk {
    Disk {
        volume: volume.to_owned(),
        source: DiskSource::Local {
            pool: "default".to_owned(),
        },
        boot: volume == "root",
    }
}

fn intent(goal: Goal, power: Power, boots: u64) -> Intent {
    Intent {
        object: OBJECT.to_owned(),
        name: "web1".to_owned(),
        goal,
        power,
        boots,
        cpus: 1,
        memory_bytes: 256 << 20,
        cpu_mode: CpuMode::Automatic,
        hugepages: false,
        disks: vec![disk("root")],
        ports: Vec::new(),
        first_boot: None,
        shutdown_ms: 1_000,
    }
}

fn description(disks: &[&str]) -> Description {
    Description {
        object: OBJECT.to_owned(),
        title: "web1".to_owned(),
        hypervisor: Hypervisor::Qemu,
        chipset: Chipset::Q35,
        cpus: 1,
        memory_bytes: 256 << 20,
        cpu_mode: CpuMode::Automatic,
        hugepages: false,
        disks: disks
            .iter()
            .map(|volume| DiskDevice {
                disk: disk(volume),
                model: DeviceModel::Virtio,
            })
            .collect(),
        ports: Vec::new(),
        seed: false,
        console: true,
        screen: false,
    }
}

fn fact(state: RunState, boots: u64) -> Vec<Fact> {
    let live_volumes = if state == RunState::Running {
        vec!["root".to_owned()]
    } else {
        Vec::new()
    };
    let found = Some(Domain {
        description: description(&["root"]),
        state,
        boots,
        live_volumes,
        live_ports: Vec::new(),
        seed_digest: String::new(),
    });
    vec![Fact::Domain(DomainFact {
        object: OBJECT.to_owned(),
        found,
        remains: false,
    })]
}

fn object() -> String {
    OBJECT.to_owned()
}

fn is_foreign(result: Result<(), PlanFault>) -> bool {
    matches!(result, Err(PlanFault::ForeignObject { step: 0, .. }))
}

fn against(result: Result<(), PlanFault>) -> bool {
    matches!(result, Err(PlanFault::AgainstIntent { step: 0, .. }))
}

#[test]
fn only_own_machines_volumes_and_ports() {
    let on = intent(Goal::Present, Power::On, 1);
    let other = Step::Start {
        object: "other".to_owned(),
        boots: 1,
    };
    assert!(is_foreign(steps(&on, &[], &[other])));
    assert!(is_foreign(steps(
        &on,
        &[],
        &[Step::Define(Box::new(description(&["root", "theirs"])))]
    )));
    let mut moved = description(&["root"]);
    moved.disks[0].disk.source = DiskSource::Local {
        pool: "elsewhere".to_owned(),
    };
    assert!(is_foreign(steps(&on, &[], &[Step::Define(Box::new(moved))])));
    // Nor over the network, where nobody said so; and of what is there, no other generation.
    let remote = |generation: u64| DiskSource::Remote {
        export: format!("root.{generation}"),
        node: "n2".to_owned(),
    };
    let mut served = description(&["root"]);
    served.disks[0].disk.source = remote(2);
    let define = Step::Define(Box::new(served.clone()));
    assert!(is_foreign(steps(&on, &[], std::slice::from_ref(&define))));
    let mut told = on.clone();
    told.disks[0].source = remote(2);
    assert!(steps(&told, &[], std::slice::from_ref(&define)).is_ok());
    told.disks[0].source = remote(3);
    assert!(is_foreign(steps(&told, &[], &[define])));
    let mut large = description(&["root"]);
    large.memory_bytes *= 2;
    assert!(matches!(
        steps(&on, &[], &[Step::Define(Box::new(large))]),
        Err(PlanFault::WrongSize { step: 0, .. })
    ));
    assert!(steps(&on, &[], &[Step::Define(Box::new(description(&["root"])))]).is_ok());
}

#[test]
fn a_running_machine_is_put_off_only_for_an_ordered_boot() {
    let shutdown = || Step::Shutdown {
        object: object(),
        timeout_ms: 1,
    };
    let running = fact(RunState::Running, 1);
    assert!(against(steps(
        &intent(Goal::Present, Power::On, 1),
        &running,
        &[shutdown()]
    )));
    assert!(steps(&intent(Goal::Present, Power::On, 2), &running, &[shutdown()]).is_ok());
    assert!(steps(&intent(Goal::Present, Power::Off, 1), &running, &[shutdown()]).is_ok());
    assert!(steps(&intent(Goal::Absent, Power::Off, 1), &running, &[shutdown()]).is_ok());
    let reboot = |boots| Step::Reboot {
        object: object(),
        boots,
        timeout_ms: 1,
    };
    assert!(against(steps(
        &intent(Goal::Present, Power::On, 1),
        &running,
        &[reboot(1)]
    )));
    assert!(against(steps(
        &intent(Goal::Present, Power::On, 2),
        &running,
        &[reboot(3)]
    )));
    assert!(steps(&intent(Goal::Present, Power::On, 2), &running, &[reboot(2)]).is_ok());
}

#[test]
fn what_should_go_is_not_made_and_what_should_stay_is_not_undone() {
    let start = Step::Start {
        object: object(),
        boots: 1,
    };
    assert!(against(steps(
        &intent(Goal::Absent, Power::On, 1),
        &[],
        std::slice::from_ref(&start)
    )));
    assert!(against(steps(&intent(Goal::Present, Power::Off, 1), &[], &[start])));
    let undefine = Step::Undefine { object: object() };
    assert!(against(steps(
        &intent(Goal::Present, Power::On, 1),
        &[],
        std::slice::from_ref(&undefine)
    )));
    assert!(steps(&intent(Goal::Absent, Power::On, 1), &[], &[undefine]).is_ok());
    let detach = Step::DetachDisk {
        object: object(),
        volume: "root".to_owned(),
    };
    assert!(against(steps(&intent(Goal::Present, Power::On, 1), &[], &[detach])));
}

#[test]
fn a_seed_has_few_small_files_with_known_names() {
    let seed = |name: &str, bytes: usize| Step::WriteSeed {
        object: object(),
        digest: "d".to_owned(),
        files: vec![SeedFile {
            name: name.to_owned(),
            content: "x".repeat(bytes),
        }],
    };
    let on = intent(Goal::Present, Power::On, 1);
    assert!(steps(&on, &[], &[seed("user-data", SEED_FILE_BYTES_MAX)]).is_ok());
    assert!(steps(&on, &[], &[seed("user-data", SEED_FILE_BYTES_MAX + 1)]).is_err());
    assert!(is_foreign(steps(&on, &[], &[seed("../passwd", 1)])));
}

#[test]
fn met_is_what_the_node_shows() {
    let on = intent(Goal::Present, Power::On, 2);
    assert!(met(&on, &[]).is_none(), "nothing seen is nothing known");
    assert!(
        met(&on, &fact(RunState::Running, 1)).is_none(),
        "the ordered boot is due"
    );
    assert!(met(&on, &fact(RunState::Running, 2)).is_some());
    assert!(met(&on, &fact(RunState::Off(Exit::Crashed), 2)).is_none());
    assert!(
        met(
            &intent(Goal::Present, Power::Off, 2),
            &fact(RunState::Off(Exit::Ordered), 1)
        )
        .is_some()
    );
    let mut more = on.clone();
    more.disks.push(disk("data"));
    assert!(met(&more, &fact(RunState::Running, 2)).is_none(), "a disk is missing");
    let gone = |remains| {
        vec![Fact::Domain(DomainFact {
            object: object(),
            found: None,
            remains,
        })]
    };
    assert_eq!(met(&intent(Goal::Absent, Power::Off, 1), &gone(false)), Some(None));
    assert_eq!(
        met(&intent(Goal::Absent, Power::Off, 1), &gone(true)),
        None,
        "files are left"
    );
}
