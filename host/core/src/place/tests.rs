use std::sync::Arc;

use proptest::prelude::*;

use super::check::{self, Bookings, Violation};
use super::mirror::{Change, ColumnData, Mirror};
use super::{Answer, Candidate, Candidates, Outcome, Request, Room, builtin};
use crate::counter::Revision;
use crate::name::Name;

fn candidate(node: &str, free_bytes: u64) -> Candidate {
    Candidate {
        node: node.parse().unwrap(),
        pool: "default".parse().unwrap(),
        schedulable: true,
        total_bytes: free_bytes,
        free_bytes,
        room: Room::default(),
        labels: Arc::new("zone=a".parse().unwrap()),
    }
}

fn request(disk_bytes: u64) -> Request {
    Request {
        disk_bytes,
        ..Request::default()
    }
}

fn table(frees: &[u64]) -> Candidates {
    let rows = frees
        .iter()
        .enumerate()
        .map(|(n, free)| candidate(&format!("n{n:03}"), *free))
        .collect();
    Candidates::from_rows(Revision(1), rows)
}

#[test]
fn rows_are_in_the_order_of_names_whatever_order_they_came_in() {
    let rows = vec![candidate("b", 1), candidate("a", 2), candidate("c", 3)];
    let table = Candidates::from_rows(Revision(1), rows);
    let names: Vec<&str> = table.rows().iter().map(|row| row.node.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let pool: Name = "default".parse().unwrap();
    assert_eq!(table.row_of(&"c".parse().unwrap(), &pool), Some(2));
}

#[test]
fn every_hard_rule_has_its_violation() {
    let bookings = Bookings::default();
    let table = table(&[100]);
    let reason = |table: &Candidates, request: &Request, row| {
        check::choice(table, &bookings, request, row).unwrap_err().reason()
    };
    assert_eq!(reason(&table, &request(1), 1), "unknown-candidate");
    assert_eq!(reason(&table, &request(1), u32::MAX), "unknown-candidate");
    assert_eq!(reason(&table, &request(101), 0), "over-commit");
    assert_eq!(
        reason(
            &table,
            &Request {
                pool: Some("fast".parse().unwrap()),
                ..request(1)
            },
            0
        ),
        "wrong-pool"
    );
    assert_eq!(
        reason(
            &table,
            &Request {
                require: "zone=b".parse().unwrap(),
                ..request(1)
            },
            0
        ),
        "missing-label"
    );
    let cordoned = Candidates::from_rows(
        Revision(1),
        vec![Candidate {
            schedulable: false,
            ..candidate("n", 100)
        }],
    );
    assert_eq!(reason(&cordoned, &request(1), 0), "unschedulable");
    assert!(check::choice(&table, &bookings, &request(100), 0).is_ok());
}

/// A node with two pools, which share its processors and memory.
fn computing(node: &str, cpus: u64, memory_mib: u64) -> [Candidate; 2] {
    let room = Room {
        cpus_total: cpus,
        cpus_free: cpus,
        memory_total_bytes: memory_mib << 20,
        memory_free_bytes: memory_mib << 20,
    };
    ["default", "fast"].map(|pool| Candidate {
        pool: pool.parse().unwrap(),
        room,
        ..candidate(node, 100)
    })
}

fn machine(cpus: u32, memory_mib: u64) -> Request {
    Request {
        disk_bytes: 10,
        cpus,
        memory_bytes: memory_mib << 20,
        ..Request::default()
    }
}

#[test]
fn every_hard_rule_for_machines_has_its_violation() {
    let rows = computing("a", 4, 1024)
        .into_iter()
        .chain([candidate("b", 100)])
        .collect();
    let table = Candidates::from_rows(Revision(1), rows);
    let bookings = Bookings::default();
    let reason = |request: Request, row| {
        check::choice(&table, &bookings, &request, row)
            .err()
            .map(|v| v.reason())
    };
    assert_eq!(reason(machine(4, 1024), 0), None);
    assert_eq!(reason(machine(5, 16), 0), Some("cpus"));
    assert_eq!(reason(machine(1, 1025), 0), Some("memory"));
    assert_eq!(reason(machine(1, 16), 2), Some("no-compute"));
    let on = |nodes: &[&str]| nodes.iter().map(|node| node.parse().unwrap()).collect();
    let bound = |node: &str| Request {
        node: Some(node.parse().unwrap()),
        ..machine(1, 16)
    };
    assert_eq!(
        (reason(bound("a"), 0), reason(bound("b"), 0)),
        (None, Some("wrong-node"))
    );
    assert_eq!(
        reason(
            Request {
                avoid: on(&["a"]),
                ..machine(1, 16)
            },
            0
        ),
        Some("not-apart")
    );
    assert_eq!(
        reason(
            Request {
                near: on(&["b", "c"]),
                ..machine(1, 16)
            },
            0
        ),
        Some("not-near")
    );
    assert_eq!(
        reason(
            Request {
                near: on(&["a", "c"]),
                ..machine(1, 16)
            },
            0
        ),
        None
    );
}

#[test]
fn a_machine_leaves_its_volumes_only_when_it_may_and_must() {
    let rows = vec![candidate("a", 100), candidate("b", 100)];
    let table = Candidates::from_rows(Revision(1), rows);
    let request = |node: &str, cpus: u32| Request {
        node: Some(node.parse().unwrap()),
        elsewhere: true,
        disk_bytes: 1,
        cpus,
        ..Request::default()
    };
    let bound = |request| check::bound(&table, &Bookings::default(), request);
    // Candidates of this table run no machines: a volume is taken, a machine is not.
    assert_eq!(bound(request("a", 0)), request("a", 0));
    assert_eq!(bound(request("a", 1)), request("a", 1).anywhere());
    assert_eq!(bound(request("c", 0)).node, None);
    let hard = Request {
        elsewhere: false,
        ..request("a", 1)
    };
    assert_eq!(bound(hard.clone()), hard);
}

#[test]
fn the_pools_of_a_node_share_its_processors() {
    let table = Candidates::from_rows(Revision(1), computing("a", 4, 1024).into());
    let mut bookings = Bookings::default();
    bookings.book(&table, 0, &machine(3, 512));
    let refused = check::choice(&table, &bookings, &machine(2, 16), 1).unwrap_err();
    assert!(
        matches!(refused, Violation::Cpus { wanted: 2, free: 1, .. }),
        "{refused}"
    );
    assert!(check::choice(&table, &bookings, &machine(1, 512), 1).is_ok());
    assert!(
        check::choice(&table, &bookings, &request(90), 0).is_ok(),
        "volumes need no processor"
    );
}

#[test]
fn a_preferred_label_wins_over_room() {
    let mut rows: Vec<Candidate> = computing("a", 4, 1024)
        .into_iter()
        .chain(computing("b", 8, 8192))
        .collect();
    rows[0].labels = Arc::new("zone=z".parse().unwrap());
    let table = Candidates::from_rows(Revision(1), rows);
    let place = |request: &Request| builtin::place(&table, &Bookings::default(), request);
    assert!(matches!(place(&machine(1, 16)), Answer::Chosen { row: 2, .. }));
    let prefers = Request {
        prefer: "zone=z".parse().unwrap(),
        ..machine(1, 16)
    };
    assert!(matches!(place(&prefers), Answer::Chosen { row: 0, .. }));
    let too_much = Request {
        prefer: "zone=z".parse().unwrap(),
        ..machine(5, 16)
    };
    assert!(
        matches!(place(&too_much), Answer::Chosen { row: 2, .. }),
        "a wish, not a rule"
    );
}

#[test]
fn machines_come_as_columns() {
    let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut mirror = Mirror::new(
        1,
        &columns(&["cpu.total", "cpu.free", "memory.total", "memory.free"]),
        &columns(&["cpu.count", "memory.bytes", "node", "prefer", "avoid", "near"]),
    )
    .unwrap();
    let table = Candidates::from_rows(Revision(1), computing("a", 4, 1).into());
    let Change::Load { columns, .. } = mirror.follow(&table) else {
        panic!("the first is a load")
    };
    assert_eq!(columns[1].data, ColumnData::U64s(vec![4, 4]));
    assert_eq!(columns[3].data, ColumnData::U64s(vec![1 << 20; 2]));
    let near = Request {
        near: ["b".parse().unwrap()].into(),
        node: Some("a".parse().unwrap()),
        ..machine(2, 1)
    };
    let batch = mirror.batch(&[near, machine(2, 1), machine(2, 1)]);
    assert_eq!(batch.requests, [0, 1, 1]);
    assert_eq!(batch.shapes[0].data, ColumnData::U64s(vec![2, 2]));
    assert_eq!(batch.shapes[2].data, ColumnData::Symbols(vec![1, 0]));
    let sets = ColumnData::Sets {
        offsets: vec![0, 1, 1],
        values: vec![2],
    };
    assert_eq!(
        (&batch.shapes[5].data, &batch.symbols.names),
        (&sets, &vec!["a".to_owned(), "b".to_owned()])
    );
}

#[test]
fn what_a_batch_booked_is_gone_for_those_after() {
    let table = table(&[100]);
    let mut bookings = Bookings::default();
    bookings.book(&table, 0, &request(60));
    let refused = check::choice(&table, &bookings, &request(41), 0).unwrap_err();
    assert!(
        matches!(
            refused,
            Violation::OverCommit {
                wanted_bytes: 41,
                free_bytes: 40,
                ..
            }
        ),
        "{refused}"
    );
}

#[test]
fn answers_as_a_whole() {
    let chosen = |score| Answer::Chosen { row: 0, score };
    assert!(check::answers(1, &[chosen(1.0)]).is_ok());
    assert!(check::answers(2, &[chosen(1.0)]).is_err());
    assert!(check::answers(0, &[chosen(1.0)]).is_err());
    assert!(check::answers(1, &[chosen(f32::NAN)]).is_err());
}

#[test]
fn ties_go_to_the_first_row_and_unplaceable_says_why() {
    let none = Bookings::default();
    assert!(matches!(
        builtin::place(&table(&[5, 9, 9]), &none, &request(5)),
        Answer::Chosen { row: 1, .. }
    ));
    let Answer::Unplaceable { removed } = builtin::place(&table(&[5, 9]), &none, &request(10)) else {
        panic!("nothing fits")
    };
    assert_eq!((removed[0].filter.as_str(), removed[0].rows), ("over-commit", 2));
    let verdicts = builtin::explain(&table(&[5, 19]), &none, &request(10));
    assert!(
        matches!(&verdicts[0].outcome, Outcome::Removed(refusal) if (refusal.wanted, refusal.available) == (10, 5))
    );
    assert!(matches!(verdicts[1].outcome, Outcome::Scored { .. }));
}

/// What a resident plugin would hold, kept by the changes that it is sent.
#[derive(Default)]
struct Plugin {
    free: Vec<u64>,
    loads: u32,
}

impl Plugin {
    fn take(&mut self, change: &Change) {
        let free = |data: &ColumnData| {
            if let ColumnData::U64s(values) = data {
                values.clone()
            } else {
                panic!("numbers")
            }
        };
        match change {
            Change::None => {}
            Change::Load { columns, .. } => {
                self.loads += 1;
                self.free = free(&columns[0].data);
            }
            Change::Update { rows, columns, .. } => {
                for (row, value) in rows.iter().zip(free(&columns[0].data)) {
                    self.free[*row as usize] = value;
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn following_changes_ends_where_a_fresh_load_does(
        mut frees in proptest::collection::vec(0_u64..1000, 1..20),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0_u64..1000), 0..30),
    ) {
        let columns = ["disk.free".to_owned(), "node".to_owned(), "labels".to_owned()];
        let mut mirror = Mirror::new(1, &columns, &[]).unwrap();
        let mut plugin = Plugin::default();
        let mut current = table(&frees);
        plugin.take(&mirror.follow(&current));
        for (number, (which, free)) in changes.iter().enumerate() {
            let row = which.index(frees.len());
            frees[row] = *free;
            current = current.with_free_bytes(Revision(2 + number as u64), u32::try_from(row).unwrap(), *free);
            plugin.take(&mirror.follow(&current));
        }
        prop_assert_eq!(&plugin.free, &frees);
        prop_assert_eq!(plugin.loads, 1);
        let mut fresh = Mirror::new(1, &columns, &[]).unwrap();
        fresh.follow(&current);
        prop_assert_eq!(mirror.stamp().digest, fresh.stamp().digest);
    }

    #[test]
    fn a_batch_never_takes_more_than_there_is(
        frees in proptest::collection::vec(0_u64..100, 1..8),
        wants in proptest::collection::vec(1_u64..60, 0..40),
    ) {
        let table = table(&frees);
        let mut bookings = Bookings::default();
        let mut taken = vec![0; frees.len()];
        for want in wants {
            if let Answer::Chosen { row, .. } = builtin::place(&table, &bookings, &request(want)) {
                prop_assert!(check::choice(&table, &bookings, &request(want), row).is_ok());
                bookings.book(&table, row, &request(want));
                taken[row as usize] += want;
            }
        }
        prop_assert!(taken.iter().zip(&frees).all(|(taken, free)| taken <= free));
    }
}

#[test]
fn another_set_of_rows_is_a_new_load_in_a_new_epoch() {
    let mut mirror = Mirror::new(7, &["disk.free".to_owned()], &[]).unwrap();
    assert!(matches!(mirror.follow(&table(&[1, 2])), Change::Load { at, .. } if at.epoch == 7));
    assert_eq!(mirror.follow(&table(&[1, 2])), Change::None);
    assert!(matches!(mirror.follow(&table(&[1, 2, 3])), Change::Load { at, .. } if at.epoch == 8));
    assert!(Mirror::new(1, &["gpu.free".to_owned()], &[]).is_err());
}

#[test]
fn equal_requests_share_a_shape() {
    let columns = ["disk.bytes".to_owned(), "pool".to_owned(), "require".to_owned()];
    let mut mirror = Mirror::new(1, &[], &columns).unwrap();
    mirror.follow(&table(&[1]));
    let other = Request {
        pool: Some("fast".parse().unwrap()),
        ..request(5)
    };
    let batch = mirror.batch(&[request(5), other, request(5)]);
    assert_eq!(batch.requests, [0, 1, 0]);
    assert_eq!(batch.shapes[0].data, ColumnData::U64s(vec![5, 5]));
    assert_eq!(batch.shapes[1].data, ColumnData::Symbols(vec![0, 1]));
    assert_eq!(batch.symbols.names, ["fast"]);
}
