//! The tables, compared as text.

use super::*;
use crate::table::{details, render};

fn object<T: serde::de::DeserializeOwned>(json: serde_json::Value) -> T {
    serde_json::from_value(json).unwrap()
}

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

fn meta(name: &str) -> serde_json::Value {
    serde_json::json!({
        "id": "0192f0c1-2345-7abc-8def-0123456789ab", "name": name, "project": "default", "labels": {"zone": "a"},
        "generation": 1, "revision": 7, "created_at": "2026-11-23T11:55:00Z",
    })
}

fn with(mut base: serde_json::Value, more: serde_json::Value) -> serde_json::Value {
    let serde_json::Value::Object(more) = more else {
        panic!("no object")
    };
    base.as_object_mut().unwrap().extend(more);
    base
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
        "NAME  SIZE   PHASE     NODE    POOL     IMAGE  AGE\n\
         data  10GiB  Creating  node-1  default  tiny   5m\n"
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
    assert_eq!(
        narrow(&[node("node-1", "True", false), node("node-2", "Unknown", true)]),
        "NAME    STATUS            ROLES        CAPACITY  CLAIMED  FREE   LABELS  AGE\n\
         node-1  Ready             block,image  20GiB     1GiB     19GiB  zone=a  5m\n\
         node-2  Unknown,Cordoned  block,image  20GiB     1GiB     19GiB  zone=a  5m\n"
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
