use std::process::Command;

use symphony_core::plan::machine::{Disk, DiskSource, Port};

use super::*;

const MACHINE: &str = "01936e2a-7c3b-7def-8123-456789abcdef";
const VOLUME: &str = "01936e2a-7c3b-7def-8123-00000000000";

fn disk(at: usize, model: DeviceModel) -> DiskDevice {
    let disk = Disk {
        volume: format!("{VOLUME}{at:x}"),
        source: DiskSource::Local {
            pool: "fast".to_owned(),
        },
        boot: at == 0,
    };
    DiskDevice { disk, model }
}

fn port(rate_bits: u64, model: DeviceModel) -> PortDevice {
    let port = Port {
        id: "p1".to_owned(),
        link: "sy-p1".to_owned(),
        bridge: "sy-b1".to_owned(),
        mac: "52:54:00:12:34:56".to_owned(),
        address: "10.0.0.5".to_owned(),
        prefix: 24,
        gateway: "10.0.0.1".to_owned(),
        rate_bits,
    };
    PortDevice { port, model }
}

fn description(hypervisor: Hypervisor) -> Description {
    Description {
        object: MACHINE.to_owned(),
        title: "a <machine> & \"more\"\n".to_owned(),
        hypervisor,
        chipset: Chipset::Q35,
        cpus: 2,
        memory_bytes: 256 << 20,
        cpu_mode: CpuMode::Automatic,
        hugepages: false,
        disks: vec![disk(0, DeviceModel::Virtio)],
        ports: vec![port(0, DeviceModel::Virtio)],
        seed: false,
        console: true,
        screen: false,
    }
}

fn xml(description: &Description) -> String {
    let files = Files {
        seed: "/m/seed.img".into(),
        console: "/m/serial.sock".into(),
        screen: "/m/vnc.sock".into(),
    };
    let noted = Noted {
        description: description.clone(),
        boots: 3,
        ordered: false,
    };
    let backing = Backing::File {
        path: "/pool/a & b.raw".into(),
        direct: true,
    };
    define(description, &noted, &files, &vec![backing; description.disks.len()]).unwrap()
}

#[test]
fn a_plain_machine_is_told_exactly() {
    let mut plain = description(Hypervisor::Qemu);
    plain.ports.clear();
    plain.chipset = Chipset::Pc;
    let noted = serde_json::to_string(&plain)
        .unwrap()
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let expected = [
        "<domain type=\"qemu\"><name>01936e2a-7c3b-7def-8123-456789abcdef</name>",
        "<uuid>01936e2a-7c3b-7def-8123-456789abcdef</uuid><title>a &lt;machine&gt; &amp; \"more\"</title>",
        "<metadata><symphony:machine xmlns:symphony=\"urn:symphony:machine:1\" boots=\"3\" ordered=\"false\">",
        &noted,
        "</symphony:machine></metadata><memory unit=\"KiB\">262144</memory><vcpu>2</vcpu>",
        "<os><type arch=\"x86_64\" machine=\"pc\">hvm</type></os><features><acpi/><apic/></features>",
        "<cpu mode=\"maximum\"/><clock offset=\"utc\"/>",
        "<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash><devices>",
        "<disk type=\"file\" device=\"disk\"><driver name=\"qemu\" type=\"raw\" cache=\"none\" discard=\"unmap\"/>",
        "<source file=\"/pool/a &amp; b.raw\"/><target dev=\"vda\" bus=\"virtio\"/><serial>01936e2a-7c3b-7def-8</serial>",
        "<boot order=\"1\"/><alias name=\"ua-disk-01936e2a-7c3b-7def-8123-000000000000\"/></disk>",
        "<controller type=\"usb\" model=\"none\"/>",
        "<serial type=\"unix\"><source mode=\"bind\" path=\"/m/serial.sock\"/><target port=\"0\"/></serial>",
        "<video><model type=\"none\"/></video><memballoon model=\"none\"/>",
        "<rng model=\"virtio\"><backend model=\"random\">/dev/urandom</backend></rng></devices></domain>",
    ];
    assert_eq!(xml(&plain), expected.concat());
}

#[test]
fn a_port_has_its_link_and_leaves_its_rate_to_the_network() {
    let told = super::port(&port(8_192_000, DeviceModel::Emulated), Chipset::Q35).unwrap();
    let expected = [
        "<interface type=\"bridge\"><mac address=\"52:54:00:12:34:56\"/><source bridge=\"sy-b1\"/>",
        "<target dev=\"sy-p1\"/><model type=\"e1000e\"/><alias name=\"ua-port-p1\"/></interface>",
    ];
    assert_eq!(told, expected.concat());
}

#[test]
fn a_device_that_is_plugged_in_later_finds_a_port() {
    let ports = |description: &Description| xml(description).matches("pcie-root-port").count();
    let mut one = description(Hypervisor::Qemu);
    assert_eq!(ports(&one), 1 + 1 + 1 + SPARE_PORTS);
    one.disks = (0..16).map(|at| disk(at, DeviceModel::Virtio)).collect();
    one.ports = vec![port(0, DeviceModel::Virtio); 8];
    assert_eq!(ports(&one), PORTS_AT_MOST);
}

#[test]
fn what_is_noted_is_read_back() {
    let noted = Noted {
        description: description(Hypervisor::Kvm),
        boots: 7,
        ordered: true,
    };
    assert_eq!(Noted::read(&element(&noted).unwrap()), Some(noted));
    assert_eq!(
        Noted::read("<machine boots=\"1\" ordered=\"true\">not JSON</machine>"),
        None
    );
}

#[test]
fn what_is_attached_is_read_back() {
    let mut both = description(Hypervisor::Qemu);
    both.seed = true;
    both.disks.push(disk(1, DeviceModel::Emulated));
    let live = Live::read(&xml(&both)).unwrap();
    assert_eq!(live.volumes, [format!("{VOLUME}0"), format!("{VOLUME}1")]);
    assert_eq!(live.ports, ["p1"]);
    assert_eq!(live.targets, ["vda", "sdb", "vdz"]);
    assert_eq!(live.free_target("vd").as_deref(), Some("vdb"));
    assert!(
        live.detaching(&disk_alias(&format!("{VOLUME}1")))
            .unwrap()
            .contains("dev='sdb' bus='sata'")
    );
    assert!(live.detaching("ua-port-p1").unwrap().contains("52:54:00:12:34:56"));
}

/// libvirt's own schema says whether it is well said.
#[test]
fn libvirts_schema_accepts_every_kind() {
    if Command::new("virt-xml-validate").arg("--version").output().is_err() {
        eprintln!("SKIPPED: virt-xml-validate is not installed (libvirt-clients)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for hypervisor in [Hypervisor::Kvm, Hypervisor::Qemu, Hypervisor::Test] {
        for (chipset, model) in [
            (Chipset::Q35, DeviceModel::Virtio),
            (Chipset::Pc, DeviceModel::Emulated),
        ] {
            for cpu_mode in [CpuMode::Automatic, CpuMode::Host, CpuMode::Portable] {
                let mut full = description(hypervisor);
                full.title = "a <machine> & more".to_owned();
                (full.chipset, full.cpu_mode) = (chipset, cpu_mode);
                (full.seed, full.screen, full.hugepages) = (true, true, true);
                full.disks = (0..16).map(|at| disk(at, model)).collect();
                full.ports = vec![port(1 << 20, model); 2];
                let path = folder.path().join("domain.xml");
                std::fs::write(&path, xml(&full)).unwrap();
                let output = Command::new("virt-xml-validate")
                    .arg(&path)
                    .arg("domain")
                    .output()
                    .unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
        }
    }
}
