//! Objects for tests.

use symphony_api::v1::Machine;

/// An object from its JSON.
pub(crate) fn object<T: serde::de::DeserializeOwned>(json: serde_json::Value) -> T {
    serde_json::from_value(json).unwrap()
}

/// What every object has.
pub(crate) fn meta(name: &str) -> serde_json::Value {
    serde_json::json!({
        "id": "0192f0c1-2345-7abc-8def-0123456789ab", "name": name, "project": "default", "labels": {"zone": "a"},
        "generation": 1, "revision": 7, "created_at": "2026-11-23T11:55:00Z",
    })
}

/// One object with the fields of another.
pub(crate) fn with(mut base: serde_json::Value, more: serde_json::Value) -> serde_json::Value {
    let serde_json::Value::Object(more) = more else {
        panic!("no object")
    };
    base.as_object_mut().unwrap().extend(more);
    base
}

/// A machine that runs, with two volumes and a port.
pub(crate) fn machine() -> Machine {
    let id = "0192f0c1-2345-7abc-8def-0123456789ac";
    object(with(
        meta("web1"),
        serde_json::json!({
            "kind": "machine",
            "spec": {
                "cpus": 2, "memory_bytes": 1_073_741_824, "cpu_mode": "automatic", "hugepages": false, "power": "on",
                "boots": 1, "restart": "always", "user_data_bytes": 0,
                "volumes": [{"id": id, "name": "web1-root", "delete_with_machine": true},
                    {"id": id, "name": "data", "delete_with_machine": false}],
                "ports": [{"id": id, "network": "net1", "network_id": id, "mac": "52:54:00:01:02:03", "address": "10.0.0.2"}],
            },
            "status": {
                "phase": "Running", "observed_generation": 1, "restarts": 0, "running_since": "2026-11-23T11:56:00Z",
                "placement": {"node": "node-1", "cpus": 2, "memory_bytes": 1_073_741_824, "score": 0.5,
                    "decided_by": {"name": "spread", "version": "0.1.0"}, "decided_at": "2026-11-23T11:55:01Z"},
                "conditions": [],
            },
        }),
    ))
}
