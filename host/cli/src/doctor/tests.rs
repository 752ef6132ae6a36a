use serde_json::json;
use symphony_api::v1::StoreMember;

use super::*;
use crate::rows::samples::{meta, object, with};

fn member(name: &str) -> StoreMember {
    StoreMember {
        endpoint: name.to_owned(),
        version: "3.6.9".to_owned(),
        has_leader: true,
        size_bytes: 20 << 20,
        used_bytes: 20 << 20,
        ..StoreMember::default()
    }
}

fn away(name: &str) -> StoreMember {
    StoreMember {
        endpoint: name.to_owned(),
        trouble: Some("connection refused".to_owned()),
        ..StoreMember::default()
    }
}

fn store(members: Vec<StoreMember>) -> StoreHealth {
    StoreHealth {
        revision: Some(7),
        trouble: None,
        members,
    }
}

fn levels(found: &[Finding]) -> Vec<Level> {
    found.iter().map(|finding| finding.level).collect()
}

#[test]
fn nothing_is_said_of_what_is_well() {
    let members = ["a", "b", "c"].map(member).to_vec();
    assert_eq!(of_the_store(&store(members)), []);
    assert_eq!(of_the_store(&store(vec![member("embedded")])), []);
}

#[test]
fn a_member_that_is_away_is_worse_when_no_other_may_fail() {
    let five = vec![away("a"), member("b"), member("c"), member("d"), member("e")];
    assert_eq!(levels(&of_the_store(&store(five))), [Level::Warning]);
    let three = vec![away("a"), member("b"), member("c")];
    let found = of_the_store(&store(three));
    assert_eq!(levels(&found), [Level::Error]);
    assert!(found[0].finding.contains("0 more may fail"), "{found:?}");
    let none = StoreHealth {
        revision: None,
        trouble: Some("no majority".to_owned()),
        members: vec![away("a"), away("b"), member("c")],
    };
    assert_eq!(levels(&of_the_store(&none)), [Level::Error; 3]);
}

#[test]
fn what_a_member_says_of_itself_is_told_with_what_to_do() {
    let sick = StoreMember {
        alarms: vec!["no-space".to_owned(), "corrupt".to_owned()],
        outdated: true,
        has_leader: false,
        size_bytes: 1_900 << 20,
        ..member("a")
    };
    let found = of_the_store(&store(vec![sick, member("b"), member("c")]));
    let expected = [Level::Error, Level::Error, Level::Error, Level::Warning, Level::Error];
    assert_eq!(levels(&found), expected, "{found:?}");
    assert!(
        found
            .iter()
            .all(|finding| !finding.advice.is_empty() && finding.about == "store/a")
    );
    let fragmented = StoreMember {
        size_bytes: 1 << 30,
        used_bytes: 1 << 20,
        ..member("a")
    };
    let found = of_the_store(&store(vec![fragmented, member("b"), member("c")]));
    assert_eq!(levels(&found), [Level::Note]);
}

#[test]
fn few_members_of_etcd_are_noted() {
    assert_eq!(levels(&of_the_store(&store(vec![member("a")]))), [Level::Note]);
}

fn manager(name: &str, version: &str, status: &str) -> Service {
    object(json!({
        "kind": "service", "id": "0192f0c1-2345-7abc-8def-0123456789ab", "role": "manager", "node": name,
        "status": status, "version": version, "address": "10.0.0.1:15760", "since": "2026-11-23T11:55:00Z",
    }))
}

#[test]
fn managers_that_are_away_or_differ_are_told() {
    let same = [manager("m1", "0.1.0", "Up"), manager("m2", "0.1.0", "Up")];
    assert_eq!(of_services(&same), []);
    let found = of_services(&[
        manager("m1", "0.1.0", "Up"),
        manager("m2", "0.2.0", "Up"),
        manager("m3", "0.1.0", "Down"),
    ]);
    assert_eq!(levels(&found), [Level::Warning, Level::Note]);
    assert_eq!(found[0].about, "manager/m3");
    assert!(found[1].finding.contains("0.1.0, 0.2.0"), "{found:?}");
}

fn node(name: &str, phase: &str, cordoned: bool) -> Node {
    object(with(
        meta(name),
        json!({
            "kind": "node", "spec": {"cordoned": cordoned},
            "status": {"phase": phase, "schedulable": true, "conditions": [], "version": "0.1.0", "data_url": "",
                "services": [], "pools": []},
        }),
    ))
}

#[test]
fn nodes_that_take_no_work_are_told() {
    let found = of_nodes(&[
        node("n1", "Ready", false),
        node("n2", "Ready", true),
        node("n3", "Unknown", true),
        node("n4", "Fenced", false),
    ]);
    let about: Vec<&str> = found.iter().map(|finding| finding.about.as_str()).collect();
    assert_eq!(about, ["node/n2", "node/n3", "node/n4"]);
    assert_eq!(levels(&found), [Level::Note, Level::Warning, Level::Warning]);
}

#[test]
fn a_kind_without_a_driver_is_an_error_and_one_without_a_scheduler_is_not() {
    let slot = |name: &str| -> Slot {
        object(
            json!({"kind": "slot", "name": name, "config": {}, "previous": [], "reason": "it failed", "revision": 0}),
        )
    };
    let found = of_slots(&[slot("scheduler/volume"), slot("driver/volume")]);
    assert_eq!(levels(&found), [Level::Error]);
    assert_eq!(found[0].about, "slot/driver/volume");
}
