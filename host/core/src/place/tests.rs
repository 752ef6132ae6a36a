use std::sync::Arc;

use proptest::prelude::*;

use super::check::{self, Bookings, Violation};
use super::mirror::{Change, ColumnData, Mirror};
use super::{Answer, Candidate, Candidates, Outcome, Request, builtin};
use crate::counter::Revision;
use crate::labels::Labels;
use crate::name::Name;

fn candidate(node: &str, free_bytes: u64) -> Candidate {
    Candidate {
        node: node.parse().unwrap(),
        pool: "default".parse().unwrap(),
        schedulable: true,
        total_bytes: free_bytes,
        free_bytes,
        labels: Arc::new("zone=a".parse().unwrap()),
    }
}

fn request(disk_bytes: u64) -> Request {
    let volume = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    Request {
        volume,
        disk_bytes,
        pool: None,
        require: Labels::default(),
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

#[test]
fn what_a_batch_booked_is_gone_for_those_after() {
    let table = table(&[100]);
    let mut bookings = Bookings::default();
    bookings.book(0, 60);
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
                bookings.book(row, want);
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
    assert!(Mirror::new(1, &["cpu.free".to_owned()], &[]).is_err());
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
