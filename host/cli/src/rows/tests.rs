//! The tables, compared as text.

use symphony_api::v1::{Machine, Network, Volume};

use super::samples::{machine, meta, object, with};
use super::*;
use crate::table::{details, render};

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn narrow<T: Listed>(items: &[T]) -> String {
    let rows: Vec<_> = items
        .iter()
        .map(|item| item.cells(now())[..T::NARROW].to_vec())
        .collect();
    render(&T::HEADERS[..T::NARROW], &rows)
}

fn volume() -> Volume {
    object(with(
        meta("data"),
        serde_json::json!({
            "kind": "volume",
            "spec": {"size": 10_737_418_240_u64, "image": {
                "name": "tiny", "digest": format!("sha256:{}", "cd".repeat(32)), "format": "raw", "virtual_bytes": 512}},
            "status": {"phase": "Creating", "observed_generation": 0, "size_bytes": 0,
                "placement": {"node": "node-1", "pool": "default", "claimed_bytes": 1, "score": 0.5,
                    "decided_by": {"name": "spread", "version": "0.1.0"}, "decided_at": "2026-11-23T11:55:01Z", "revision": 6},
                "conditions": [{"type": "ready", "status": "False", "reason": "creating", "message": "45 % written",
                    "since": "2026-11-23T11:59:00Z"}]},
        }),
    ))
}

#[test]
fn volumes() {
    assert_eq!(
        narrow(&[volume()]),
        "NAME  SIZE   PHASE     NODE    POOL     IMAGE  MACHINE  AGE\n\
         data  10GiB  Creating  node-1  default  tiny   -        5m\n"
    );
}

#[test]
fn a_volume_says_which_machine_has_it() {
    let mut volume = volume();
    volume.status.machine = Some("web1".into());
    assert!(narrow(std::slice::from_ref(&volume)).contains("tiny   web1     5m"));
    assert!(details(&volume.details(now())).contains("\nmachine:      web1\n"));
}

#[test]
fn machines() {
    let mut waiting = machine();
    waiting.status.placement = None;
    waiting.status.phase = symphony_api::v1::MachinePhase::Unplaceable;
    waiting.spec.ports.clear();
    assert_eq!(
        narrow(&[machine(), waiting]),
        "NAME  PHASE        CPUS  MEMORY  NODE    ADDRESSES  AGE\n\
         web1  Running      2     1GiB    node-1  10.0.0.2   5m\n\
         web1  Unplaceable  2     1GiB    -       -          5m\n"
    );
    let wide = machine().cells(now())[Machine::NARROW..].join(" ");
    assert_eq!(
        wide,
        "web1-root,data net1 4m 0 spread@0.1.0 zone=a 0192f0c1-2345-7abc-8def-0123456789ab"
    );
    assert_eq!(Machine::HEADERS.len(), machine().cells(now()).len());
}

#[test]
fn a_machine_in_full() {
    let mut machine = machine();
    machine.spec.ports[0].allow = vec!["tcp:22".into(), "icmp".into()];
    machine.spec.ports[0].rate_bits = Some(100_000_000);
    machine.spec.user_data_bytes = 2048;
    machine.spec.ssh_keys = vec!["ssh-ed25519 AAAA".into()];
    machine.spec.wishes.prefer.insert("zone".into(), "a".into());
    machine.spec.wishes.apart_from.push("web2".into());
    machine.status.exit = Some(symphony_api::v1::Exit::Crashed);
    assert_eq!(
        details(&machine.details(now())),
        "name:        web1\n\
         id:          0192f0c1-2345-7abc-8def-0123456789ab\n\
         project:     default\n\
         labels:      zone=a\n\
         created:     2026-11-23T11:55:00Z (5m ago)\n\
         generation:  1 (revision 7)\n\
         phase:       Running\n\
         up:          since 2026-11-23T11:56:00Z (4m)\n\
         off because: it crashed\n\
         size:        2 cpus, 1GiB\n\
         power:       on, ordered to boot 1 time; restart always, 0 since\n\
         node:        node-1\n\
         decided by:  spread@0.1.0, score 0.5\n\
         volumes:     web1-root: deleted with the machine, boots from it\n             data: kept\n\
         ports:       net1: 10.0.0.2 52:54:00:01:02:03, allows tcp:22 icmp, at most 100Mbit\n\
         first boot:  2KiB of user-data, 1 public key\n\
         asks for:    prefer zone=a, apart from web2\n\
         conditions:  -\n"
    );
}

#[test]
fn ports_on_one_network_are_told_apart() {
    let mut machine = machine();
    let mut other = machine.spec.ports[0].clone();
    other.id = "0192f0c1-2345-7abc-8def-0123456789ad".parse().unwrap();
    other.address = "10.0.0.3".into();
    machine.spec.ports.push(other);
    let text = details(&machine.details(now()));
    for id in [
        "10.0.0.2 52:54:00:01:02:03, id 0192f0c1-2345-7abc-8def-0123456789ac",
        "id 0192f0c1-2345-7abc-8def-0123456789ad",
    ] {
        assert!(text.contains(id), "{text}");
    }
}

#[test]
fn networks() {
    let network: Network = object(with(
        meta("net1"),
        serde_json::json!({
            "kind": "network", "spec": {"subnet": "10.0.0.0/24", "nat": true},
            "status": {"gateway": "10.0.0.1", "addresses_max": 253},
        }),
    ));
    assert_eq!(
        narrow(std::slice::from_ref(&network)),
        "NAME  SUBNET       GATEWAY   NAT  AGE\n\
         net1  10.0.0.0/24  10.0.0.1  yes  5m\n"
    );
    let text = details(&network.details(now()));
    assert!(
        text.contains("10.0.0.0/24, room for 253 machines") && text.contains("NAT"),
        "{text}"
    );
    assert_eq!(Network::HEADERS.len(), network.cells(now()).len());
}

#[test]
fn events_say_how_long_it_took() {
    let event: Event = object(serde_json::json!({
        "kind": "event", "id": "0192f0c1-2345-7abc-8def-0123456789ab", "at": "2026-11-23T11:59:00Z", "severity": "Normal",
        "reason": "ready", "subject": {"kind": "volume", "name": "data"}, "message": "1GiB on node-1", "revision": 3,
        "details": {"took_ms": "320"},
    }));
    assert_eq!(
        narrow(&[event]),
        "AGE  SEVERITY  REASON  SUBJECT      TOOK   MESSAGE\n\
         60s  Normal    ready   volume/data  320ms  1GiB on node-1\n"
    );
}

#[test]
fn a_volume_in_full() {
    assert_eq!(
        details(&volume().details(now())),
        "name:         data\n\
         id:           0192f0c1-2345-7abc-8def-0123456789ab\n\
         project:      default\n\
         labels:       zone=a\n\
         created:      2026-11-23T11:55:00Z (5m ago)\n\
         generation:   1 (revision 7)\n\
         phase:        Creating\n\
         size:         10GiB\n\
         size on node: 0B\n\
         image:        tiny sha256:cdcdcdcdcdcd\n\
         node:         node-1 (pool default)\n\
         decided by:   spread@0.1.0, score 0.5\n\
         conditions:   ready no (creating, 60s ago): 45 % written\n"
    );
}

#[test]
fn nodes() {
    let node = |name: &str, ready: &str, cordoned: bool| -> Node {
        object(with(
            meta(name),
            serde_json::json!({
                "kind": "node", "spec": {"cordoned": cordoned},
                "status": {"schedulable": true, "version": "0.1.0", "data_url": "http://127.0.0.1:1",
                    "services": [{"id": "0192f0c1-2345-7abc-8def-0123456789ab", "role": "block"},
                        {"id": "0192f0c1-2345-7abc-8def-0123456789ac", "role": "image"}],
                    "conditions": [{"type": "ready", "status": ready, "reason": "r", "message": "", "since": "2026-11-23T11:59:00Z"}],
                    "pools": [{"name": "default", "capacity_bytes": 21_474_836_480_u64, "claimed_bytes": 1_073_741_824,
                        "free_bytes": 20_401_094_656_u64, "reflink": false}]},
            }),
        ))
    };
    let mut first = node("node-1", "True", false);
    first.status.compute = Some(object(serde_json::json!({
        "hypervisor": "kvm", "cpus": 4, "cpus_claimable": 16, "cpus_claimed": 3, "memory_bytes": 8_589_934_592_u64,
        "memory_claimed_bytes": 1_610_612_736, "machines": 2,
    })));
    let shown = details(&first.details(now()));
    assert!(
        shown.contains("cpus: 3 claimed of 16 (4 processors)") && shown.contains("memory: 1.5GiB claimed of 8GiB"),
        "{shown}"
    );
    let mut going = node("node-3", "Unknown", false);
    going.status.fencing = Some(object(serde_json::json!({
        "since": "2026-11-23T11:59:00Z", "why": "an operator asked for it", "held_by": "device 0 is on",
    })));
    going.spec.power = Some(object(serde_json::json!({
        "devices": [{"level": 1, "program": "fence_x", "options": {"ip": "10.9.0.3", "password": "@ipmi"}}], "after_s": 120,
    })));
    let shown = details(&going.details(now()));
    for part in [
        "Unknown,Fencing",
        "for 60s: an operator asked for it",
        "held up: device 0 is on",
        "level 1: fence_x ip=10.9.0.3 password=@ipmi",
        "for 120 s",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert_eq!(
        narrow(&[first, node("node-2", "Unknown", true)]),
        "NAME    STATUS            ROLES        CPUS  MEMORY       CAPACITY  CLAIMED  FREE   LABELS  AGE\n\
         node-1  Ready             block,image  3/16  1.5GiB/8GiB  20GiB     1GiB     19GiB  zone=a  5m\n\
         node-2  Unknown,Cordoned  block,image  -     -            20GiB     1GiB     19GiB  zone=a  5m\n"
    );
}

#[test]
fn plugins() {
    let plugin: Plugin = object(serde_json::json!({
        "kind": "plugin", "id": "0192f0c1-2345-7abc-8def-0123456789ab", "name": "spread", "version": "0.1.0",
        "description": "most free space first", "digest": format!("sha256:{}", "ab".repeat(32)), "slot": "scheduler/volume",
        "active_in": ["scheduler/volume"], "interface": "0.1.0", "size_bytes": 65536, "first_party": true,
        "uploaded_at": "2026-11-23T08:00:00Z", "revision": 3,
    }));
    assert_eq!(
        narrow(std::slice::from_ref(&plugin)),
        "NAME    VERSION  SLOT              ACTIVE            DIGEST               AGE\n\
         spread  0.1.0    scheduler/volume  scheduler/volume  sha256:abababababab  4h\n"
    );
    assert_eq!(plugin.name(), "spread@0.1.0");
}

#[test]
fn images_and_services_and_slots() {
    let image: Image = object(with(
        meta("tiny"),
        serde_json::json!({
            "kind": "image", "status": {"phase": "Ready", "observed_generation": 1},
            "spec": {"digest": format!("sha256:{}", "ab".repeat(32)), "format": "qcow2", "stored_bytes": 1_048_576,
                "virtual_bytes": 10_737_418_240_u64, "node": "node-1"},
        }),
    ));
    assert_eq!(
        narrow(&[image]),
        "NAME  PHASE  FORMAT  DISK   STORED  AGE\n\
         tiny  Ready  qcow2   10GiB  1MiB    5m\n"
    );
    let service: Service = object(serde_json::json!({
        "kind": "service", "id": "0192f0c1-2345-7abc-8def-0123456789ab", "role": "block", "node": "node-1", "status": "Up",
        "version": "0.1.0", "address": "", "since": "2026-11-20T12:00:00Z",
    }));
    assert_eq!(
        narrow(&[service]),
        "ID                                    ROLE   NODE    STATUS  AGE\n\
         0192f0c1-2345-7abc-8def-0123456789ab  block  node-1  Up      3d\n"
    );
    let slot: Slot = object(serde_json::json!({
        "kind": "slot", "name": "scheduler/volume", "config": {}, "previous": [], "reason": "start", "revision": 0,
    }));
    assert_eq!(
        narrow(&[slot]),
        "SLOT              PLUGIN    DIGEST  AGE\nscheduler/volume  built-in  -       -\n"
    );
}
