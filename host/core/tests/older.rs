//! Records as the release before clusters wrote them, byte for byte: they are read with the meaning that they had, and
//! written in the present form at their next change.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use symphony_core::counter::{Admission, Tenure};
use symphony_core::event::Event;
use symphony_core::image::{Image, ImagePhase};
use symphony_core::machine::{Machine, MachinePhase};
use symphony_core::network::{MTU_DEFAULT, Network};
use symphony_core::node::{Fence, Node, NodePhase};
use symphony_core::place::Ledger;
use symphony_core::plugin::{Activation, Plugin, Slot};
use symphony_core::record::{self, RECORD_VERSION};
use symphony_core::volume::Volume;

/// Reads an old record; and looks that writing it changes nothing but to add, and that what was written is read as the same.
fn read<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(old: &str) -> T {
    let value: T = record::decode(old.as_bytes()).unwrap();
    let new = record::encode(&value).unwrap();
    let (old, written): (Value, Value) = (
        serde_json::from_str(old).unwrap(),
        serde_json::from_slice(&new).unwrap(),
    );
    assert_eq!(old["v"], 1);
    assert_eq!(written["v"], RECORD_VERSION);
    keeps(&old, &written, "");
    assert_eq!(record::decode::<T>(&new).unwrap(), value);
    value
}

/// Whether all that the old one says is in the new one.
fn keeps(old: &Value, new: &Value, at: &str) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in old.iter().filter(|(name, _)| !at.is_empty() || *name != "v") {
                let kept = new.get(name).unwrap_or_else(|| panic!("{at}/{name} is gone"));
                keeps(value, kept, &format!("{at}/{name}"));
            }
        }
        (old, new) => assert_eq!(old, new, "{at}"),
    }
}

#[test]
fn a_volume_keeps_its_place_and_its_machine() {
    let volume: Volume = read(include_str!("older/volume.json"));
    assert!(volume.is_settled() && !volume.wants_placement());
    assert_eq!(volume.placement.unwrap().claimed_bytes, volume.spec.size.bytes());
    assert_eq!(volume.machine.unwrap().name.as_str(), "web1");
}

#[test]
fn a_machine_runs_on_where_it_was_placed_first() {
    let machine: Machine = read(include_str!("older/machine.json"));
    assert_eq!(machine.status.phase, MachinePhase::Running);
    assert_eq!(machine.status.tenure, Tenure(0), "no placement of it was ever counted");
    assert!(!machine.status.moving && !machine.is_leaving());
    assert!(!machine.spec.wishes.remote_volumes, "it stays with its volumes");
    assert_eq!(machine.placement.as_ref().unwrap().node.as_str(), "node-1");
    // Its next change: the counter is on record from then on.
    let mut changed = machine;
    changed.status.phase = MachinePhase::Stopped;
    let written: Value = serde_json::from_slice(&record::encode(&changed).unwrap()).unwrap();
    assert_eq!(written["status"]["tenure"], 0);
    assert_eq!(written["status"]["phase"], "stopped");
    let again: Machine = record::decode(&record::encode(&changed).unwrap()).unwrap();
    assert_eq!(again, changed);
}

#[test]
fn a_network_has_no_number_yet_and_packets_of_the_usual_length() {
    let network: Network = read(include_str!("older/network.json"));
    assert_eq!(network.status.vni, None);
    assert_eq!(network.spec.mtu(), MTU_DEFAULT);
    assert!(network.spec.nat);
}

#[test]
fn a_node_is_in_and_nobody_reaches_its_networks() {
    let node: Node = read(include_str!("older/node.json"));
    assert_eq!((node.status.admission, node.status.fence), (Admission(0), Fence::None));
    assert_eq!(node.phase(), NodePhase::Ready);
    assert!(node.status.underlay.is_none());
    assert_eq!(node.status.compute.unwrap().cpus_claimable(), 16);
}

#[test]
fn an_image_a_ledger_and_what_happened_are_as_they_were() {
    let image: Image = read(include_str!("older/image.json"));
    assert_eq!(image.status.phase, ImagePhase::Ready);
    let ledger: Ledger = read(include_str!("older/ledger.json"));
    assert_eq!(ledger.machines().cpus, 2);
    assert_eq!(ledger.claimed_bytes(&"fast".parse().unwrap()), 2 << 30);
    let event: Event = read(include_str!("older/event.json"));
    assert_eq!(event.reason, "placed");
}

#[test]
fn what_serves_in_a_slot_goes_on_serving() {
    let activation: Activation = read(include_str!("older/activation.json"));
    let plugin: Plugin = read(include_str!("older/plugin.json"));
    assert_eq!(
        (activation.slot, activation.active),
        (Slot::NetworkDriver, Some(plugin.digest))
    );
    assert_eq!(activation.previous.len(), 1);
}

#[test]
fn a_record_of_a_later_release_is_refused_and_never_half_read() {
    for old in [
        include_str!("older/volume.json"),
        include_str!("older/machine.json"),
        include_str!("older/node.json"),
    ] {
        let later = old.replacen("\"v\":1", &format!("\"v\":{}", RECORD_VERSION + 1), 1);
        assert!(matches!(
            record::decode::<Value>(later.as_bytes()),
            Err(record::RecordError::TooNew { .. })
        ));
    }
}
