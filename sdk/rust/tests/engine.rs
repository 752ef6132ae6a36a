//! The engine against a placement written the plain way, and against hosts that break the protocol.

use std::cell::Cell;

use symphony_sdk::scheduler::{ColumnData, Engine, Error, NO_ROW, Outcome, SymbolNames, Verdict};
use symphony_sdk::testing::{Check, Cluster, Placed, Random, Row, Session, Want};
use symphony_sdk::{Candidate, Columns, Policy, RawScheduler, Reason, Request, Score, StandardFilters};

/// Reads all there is: standard columns, names, columns of its own, a filter of its own.
#[derive(Default)]
struct Everything;

impl Policy for Everything {
    const NAME: &'static str = "everything";
    const COLUMNS: Columns = Columns::STANDARD
        .with_candidate(&["gpu.free", "load"])
        .with_request(&["gpu"]);

    fn filter(&self, request: &Request<'_>, node: &Candidate<'_>) -> Result<(), Reason> {
        if node.number(0) < request.number(0) {
            return Err(Reason::new("gpu.free").numbers(request.number(0), node.number(0)));
        }
        Ok(())
    }

    fn score(&self, request: &Request<'_>, node: &Candidate<'_>) -> Score {
        Score::part("free", (node.disk_free() - request.disk_bytes()) as f32 / 1024.0)
            .and(
                "even-name",
                if node.name().ends_with(['0', '2', '4', '6', '8']) {
                    3.0
                } else {
                    0.0
                },
            )
            .and("ssd", if node.has_label("disk=ssd") { 2.0 } else { 0.0 })
            .and("idle", 1.0 - node.ratio(1))
            .and("rack", node.label("rack").map_or(0.0, |rack| rack.len() as f32))
    }
}

fn score(row: &Row, want: &Want) -> f32 {
    let even = row.node.bytes().last().is_some_and(|last| last % 2 == 0);
    let ssd = row.labels.iter().any(|label| label == "disk=ssd");
    (row.free - want.bytes) as f32 / 1024.0
        + if even { 3.0 } else { 0.0 }
        + if ssd { 2.0 } else { 0.0 }
        + (1.0 - row.ratios[0].1)
        + if row.labels.iter().any(|label| label == "rack=a") {
            1.0
        } else {
            0.0
        }
}

/// One request after the other, all rows each time.
fn plain(mut rows: Vec<Row>, wants: &[Want]) -> Vec<Option<usize>> {
    let mut places = Vec::new();
    for want in wants {
        let fits = |row: &Row| {
            row.schedulable
                && want.pool.as_ref().is_none_or(|pool| *pool == row.pool)
                && want.require.iter().all(|label| row.labels.contains(label))
                && row.free >= want.bytes
                && row.numbers[0].1 >= want.numbers[0].1
        };
        let mut best: Option<(usize, f32)> = None;
        for (index, row) in rows.iter().enumerate().filter(|(_, row)| fits(row)) {
            let score = score(row, want);
            if best.is_none_or(|(_, best)| score > best) {
                best = Some((index, score));
            }
        }
        if let Some((index, _)) = best {
            rows[index].free -= want.bytes;
        }
        places.push(best.map(|(index, _)| index));
    }
    places
}

fn agree(placed: &[Placed], expected: &[Option<usize>], case: u64) {
    assert_eq!(placed.len(), expected.len());
    for (request, (placed, expected)) in placed.iter().zip(expected).enumerate() {
        assert_eq!(placed.row(), *expected, "case {case}, request {request}: {placed:?}");
    }
}

fn random_cluster(random: &mut Random, rows: u64) -> Cluster {
    (0..rows).fold(Cluster::new(), |cluster, number| {
        let total = (1 + random.below(40)) * 1024;
        let labels: Vec<&str> = ["disk=ssd", "disk=hdd", "rack=a"]
            .into_iter()
            .filter(|_| random.percent(40))
            .collect();
        let free = random.below(total / 512 + 1) * 512;
        let cluster = cluster
            .pool(
                &format!("n{number:03}"),
                if random.percent(50) { "a" } else { "b" },
                total,
                free,
            )
            .labels(&labels)
            .number("gpu.free", random.below(8))
            .ratio("load", random.below(10) as f32 / 10.0);
        if random.percent(10) {
            cluster.cordoned()
        } else {
            cluster
        }
    })
}

#[test]
fn places_as_the_plain_way_does() {
    let mut random = Random::new(11);
    for case in 0..60 {
        let rows = 1 + random.below(80);
        let cluster = random_cluster(&mut random, rows);
        let shapes: Vec<Want> = (0..1 + random.below(9))
            .map(|_| {
                let want = Want::bytes(random.below(8) * 512).number("gpu", random.below(6));
                let want = if random.percent(30) { want.pool("a") } else { want };
                if random.percent(30) {
                    want.require("disk=ssd")
                } else {
                    want
                }
            })
            .collect();
        let mut session = Session::start(Engine::new(Everything), cluster);
        for _ in 0..5 {
            let wants: Vec<Want> = (0..random.below(120)).map(|_| random.pick(&shapes).clone()).collect();
            let placed = session.place(&wants);
            let expected = plain(session.cluster().rows().to_vec(), &wants);
            assert_eq!(
                placed.iter().map(Placed::row).collect::<Vec<_>>(),
                expected,
                "case {case}"
            );
            session.commit(&placed, &wants);
            let some: Vec<usize> = (0..rows as usize).filter(|_| random.percent(20)).collect();
            session.change(&some, |row| {
                row.free = random.below(row.total / 512 + 1) * 512;
                row.labels = if random.percent(50) {
                    vec!["disk=ssd".to_owned()]
                } else {
                    vec![]
                };
                row.ratios[0].1 = random.below(10) as f32 / 10.0;
                row.numbers[0].1 = random.below(8);
            });
        }
    }
}

#[test]
fn more_shapes_than_are_kept_and_more_rows_than_are_noted() {
    let mut random = Random::new(5);
    let cluster = random_cluster(&mut random, 300);
    let wants: Vec<Want> = (0..3000)
        .map(|_| Want::bytes(random.below(200)).number("gpu", random.below(3)))
        .collect();
    let expected = plain(cluster.rows().to_vec(), &wants);
    let placed = cluster.place(Everything, &wants);
    agree(&placed, &expected, 0);
}

#[test]
fn the_check_passes_what_is_pure_and_catches_what_is_not() {
    /// Counts its calls: the contract forbids it.
    struct Moody(Cell<u32>);

    impl Policy for Moody {
        const NAME: &'static str = "moody";

        fn score(&self, _: &Request<'_>, node: &Candidate<'_>) -> Score {
            self.0.set(self.0.get() + 1);
            Score::part("mood", (self.0.get() % 7) as f32 + node.row() as f32)
        }
    }

    Check::new(|| Everything).cases(30).run();
    let caught = std::panic::catch_unwind(|| Check::new(|| Moody(Cell::new(0))).cases(5).run());
    assert!(caught.is_err());
}

fn three() -> Cluster {
    Cluster::new()
        .pool("node-1", "default", 100, 50)
        .pool("node-2", "fast", 100, 50)
        .labels(&["rack=a"])
        .pool("node-3", "default", 100, 90)
        .cordoned()
}

/// All scores are equal.
#[derive(Default)]
struct Flat;

impl Policy for Flat {
    const NAME: &'static str = "flat";

    fn score(&self, _: &Request<'_>, _: &Candidate<'_>) -> Score {
        Score::from(1.0)
    }
}

#[test]
fn ties_go_to_the_first_row_and_bookings_are_forgotten() {
    let mut session = Session::start(Engine::new(Flat), three());
    for _ in 0..3 {
        let placed = session.place(&vec![Want::bytes(30); 3]);
        assert_eq!(
            placed.iter().map(Placed::node).collect::<Vec<_>>(),
            [Some("node-1"), Some("node-2"), None]
        );
    }
}

#[test]
fn explains_the_last_request_after_booking_the_others() {
    let mut session = Session::start(Engine::new(Flat), three());
    let wants = [
        Want::bytes(30),
        Want::bytes(30).require("rack=a").require("rack=zzz"),
        Want::bytes(30).pool("default"),
    ];
    let verdicts = session.explain(&wants);
    assert_eq!(
        reasons(&verdicts),
        [("disk.free", 30, 20), ("pool", 0, 0), ("schedulable", 0, 0)]
    );
    let verdicts = session.explain(&wants[..2]);
    let Outcome::Removed(refusal) = &verdicts[1].outcome else {
        panic!("{verdicts:?}")
    };
    assert_eq!(
        (refusal.filter.as_str(), refusal.wanted, refusal.available),
        ("labels", 2, 1)
    );
}

/// Two nodes that run machines, one of them with two pools, and one that runs none.
fn four() -> Cluster {
    Cluster::new()
        .pool("node-1", "a", 100, 50)
        .pool("node-1", "b", 100, 90)
        .cpus(8, 6)
        .memory(64, 32)
        .pool("node-2", "a", 100, 50)
        .cpus(4, 4)
        .memory(32, 16)
        .pool("node-3", "a", 100, 50)
}

fn reasons(verdicts: &[Verdict]) -> Vec<(&str, u64, u64)> {
    let outcomes = verdicts.iter().map(|verdict| &verdict.outcome);
    outcomes
        .map(|outcome| match outcome {
            Outcome::Removed(refusal) => (refusal.filter.as_str(), refusal.wanted, refusal.available),
            Outcome::Scored(_) => ("scored", 0, 0),
        })
        .collect()
}

#[test]
fn explains_why_a_node_takes_no_machine() {
    let mut session = Session::start(Engine::new(Flat), four());
    let scored = ("scored", 0, 0);
    let cases = [
        (
            Want::machine(5, 8),
            [scored, scored, ("cpus", 5, 4), ("no-compute", 0, 0)],
        ),
        (
            Want::machine(0, 20),
            [scored, scored, ("memory", 20, 16), ("no-compute", 0, 0)],
        ),
        (
            Want::machine(1, 1).disk(60),
            [
                ("disk.free", 60, 50),
                scored,
                ("disk.free", 60, 50),
                ("no-compute", 0, 0),
            ],
        ),
        (
            Want::machine(1, 1).node("node-2"),
            [("wrong-node", 0, 0), ("wrong-node", 0, 0), scored, ("wrong-node", 0, 0)],
        ),
        (
            Want::machine(1, 1).near("node-1").near("node-2").avoid("node-1"),
            [("not-apart", 0, 0), ("not-apart", 0, 0), scored, ("not-near", 0, 0)],
        ),
        // A volume may be bound to a node as well, and needs none of its processors.
        (
            Want::bytes(1).node("node-3"),
            [("wrong-node", 0, 0), ("wrong-node", 0, 0), ("wrong-node", 0, 0), scored],
        ),
    ];
    for (want, expected) in cases {
        let verdicts = session.explain(std::slice::from_ref(&want));
        assert_eq!(reasons(&verdicts), expected, "{want:?}");
    }
}

#[test]
fn what_a_machine_takes_is_gone_in_all_rows_of_its_node() {
    let mut session = Session::start(Engine::new(Flat), four());
    let machine = Want::machine(3, 16);
    let wants = [
        machine.clone().pool("a"),
        machine.clone().pool("b"),
        machine.clone().pool("b"),
        machine,
    ];
    let rows = |placed: &[Placed]| placed.iter().map(Placed::row).collect::<Vec<_>>();
    let expected = vec![Some(0), Some(1), None, Some(2)];
    assert_eq!(rows(&session.place(&wants)), expected);
    let placed = session.place(&wants);
    assert_eq!(rows(&placed), expected, "bookings are forgotten");
    let verdicts = session.explain(&[wants[0].clone(), wants[1].clone(), Want::machine(1, 0)]);
    assert_eq!(
        reasons(&verdicts)[..2],
        [("cpus", 1, 0), ("cpus", 1, 0)],
        "both rows of the node are full"
    );
    session.commit(&placed, &wants);
    let left: Vec<_> = session
        .cluster()
        .rows()
        .iter()
        .map(|row| (row.cpus_free, row.memory_free))
        .collect();
    assert_eq!(left, [(0, 0), (0, 0), (1, 0), (0, 0)]);
}

#[test]
fn a_policy_sees_machines_and_what_is_left_for_them() {
    #[derive(Default)]
    struct Looks;
    impl Policy for Looks {
        const NAME: &'static str = "looks";
        // Standard columns may be named as one's own: they come once, and as the host told them.
        const COLUMNS: Columns = Columns::STANDARD
            .with_candidate(&["cpu.free"])
            .with_request(&["cpu.count", "memory.bytes"]);
        fn score(&self, request: &Request<'_>, node: &Candidate<'_>) -> Score {
            assert_eq!(
                (request.cpus(), request.memory_bytes()),
                (request.number(0), request.number(1))
            );
            assert_eq!(request.is_for_machine(), request.cpus() > 0);
            assert_eq!((node.number(0), node.name()), (6, "node-1"));
            Score::part("cpus-total", node.cpus_total() as f32)
                .and("cpus-free", node.cpus_free() as f32)
                .and("memory-total", node.memory_total() as f32)
                .and("memory-free", node.memory_free() as f32)
                .and("gpu", if request.prefers("gpu=yes") { 0.5 } else { 0.0 })
                .and_preferred(request, node, 100.0)
        }
    }
    let cluster = Cluster::new()
        .pool("node-1", "a", 100, 50)
        .labels(&["rack=a", "disk=ssd"])
        .cpus(8, 6)
        .memory(64, 32);
    let mut session = Session::start(Engine::new(Looks), cluster);
    let wants = [
        Want::machine(2, 8).disk(10),
        Want::machine(1, 1)
            .prefer("rack=a")
            .prefer("gpu=yes")
            .prefer("disk=ssd"),
    ];
    let verdicts = session.explain(&wants);
    let Outcome::Scored(parts) = &verdicts[0].outcome else {
        panic!("{verdicts:?}")
    };
    let parts: Vec<_> = parts.iter().map(|part| (part.name.as_str(), part.value)).collect();
    let expected = [
        ("cpus-total", 8.0),
        ("cpus-free", 4.0),
        ("memory-total", 64.0),
        ("memory-free", 24.0),
        ("gpu", 0.5),
        ("preferred-labels", 200.0),
    ];
    assert_eq!(parts, expected);
    let verdicts = session.explain(&[Want::bytes(1)]);
    assert_eq!(verdicts[0].score, 8.0 + 6.0 + 64.0 + 32.0);
}

#[test]
fn a_score_that_is_no_number_is_never_chosen() {
    #[derive(Default)]
    struct Odd;
    impl Policy for Odd {
        const NAME: &'static str = "odd";
        fn score(&self, _: &Request<'_>, node: &Candidate<'_>) -> Score {
            Score::from([f32::NAN, f32::NEG_INFINITY, -5.0, f32::INFINITY][node.row()])
        }
    }
    let cluster = |rows: usize| {
        (0..rows).fold(Cluster::new(), |cluster, row| {
            cluster.pool(&format!("n{row}"), "p", 9, 9)
        })
    };
    for repeat in [1, 3] {
        let place = |rows| cluster(rows).place(Odd, &vec![Want::bytes(1); repeat]).remove(0);
        let Placed::Nowhere(removed) = place(2) else {
            panic!("a place was found")
        };
        assert_eq!((removed[0].filter.as_str(), removed[0].rows), ("score", 2));
        assert_eq!(place(3).row(), Some(2));
        assert!(matches!(
            place(4),
            Placed::At {
                row: 3,
                score: f32::MAX,
                ..
            }
        ));
    }
}

#[test]
fn filters_can_be_left_out() {
    #[derive(Default)]
    struct Blind;
    impl Policy for Blind {
        const NAME: &'static str = "blind";
        const FILTERS: StandardFilters = StandardFilters {
            disk: true,
            ..StandardFilters::NONE
        };
        fn score(&self, _: &Request<'_>, node: &Candidate<'_>) -> Score {
            Score::from(node.disk_free() as f32)
        }
    }
    assert_eq!(
        three().place(Blind, &[Want::bytes(10).pool("nowhere")])[0].node(),
        Some("node-3")
    );
}

#[test]
fn a_wrong_stamp_is_stale_and_changes_nothing() {
    let mut session = Session::start(Engine::new(Flat), three());
    let held = session.scheduler().stamp();
    for spoil in [
        |stamp: &mut symphony_sdk::scheduler::Stamp| stamp.epoch += 1,
        |stamp: &mut symphony_sdk::scheduler::Stamp| stamp.revision += 1,
        |stamp: &mut symphony_sdk::scheduler::Stamp| stamp.digest ^= 1,
    ] {
        let mut batch = session.batch(&[Want::bytes(1)]);
        spoil(&mut batch.need);
        assert_eq!(session.scheduler().place(batch), Err(Error::Stale(held)));
    }
    let mut delta = session.delta(vec![0]);
    delta.base.revision += 7;
    assert_eq!(session.scheduler().update(delta), Err(Error::Stale(held)));
    assert_eq!(session.scheduler().stamp(), held);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut session = Session::start(Engine::new(Flat), three());
    let held = session.scheduler().stamp();
    let good = session.delta(vec![0, 2]);
    let mut wrong = vec![good.clone(); 6];
    wrong[0].rows = vec![2, 0];
    wrong[1].rows = vec![0, 3];
    wrong[2].rows = vec![0];
    wrong[3].columns.pop();
    wrong[4].columns.swap(0, 1);
    wrong[5].symbols = SymbolNames {
        first: 1000,
        names: vec!["gap".to_owned()],
    };
    for delta in wrong {
        let answer = session.scheduler().update(delta.clone());
        assert!(matches!(answer, Err(Error::Other(_))), "{delta:?}: {answer:?}");
        assert_eq!(session.scheduler().stamp(), held);
    }
    assert!(session.scheduler().update(good).is_ok());
    let good = session.batch(&[Want::bytes(1)]);
    let mut wrong = vec![good.clone(); 3];
    wrong[0].requests = vec![0, 1];
    wrong[1].shapes.pop();
    wrong[2].shapes[0].data = ColumnData::F32s(vec![1.0]);
    for batch in wrong {
        let answer = session.scheduler().place(batch.clone());
        assert!(
            matches!(answer, Err(Error::Other(_) | Error::Unsupported(_))),
            "{batch:?}: {answer:?}"
        );
    }
    assert!(session.scheduler().place(good).is_ok());
}

#[test]
fn a_snapshot_without_a_wanted_column_is_named() {
    let mut session = Session::start(Engine::new(Flat), three());
    for column in 0..10 {
        let mut snapshot = session.snapshot();
        let name = snapshot.columns.remove(column).name;
        let answer = Engine::new(Flat).load(snapshot);
        assert!(
            matches!(&answer, Err(Error::Unsupported(what)) if what.contains(&name)),
            "{answer:?}"
        );
        let mut snapshot = session.snapshot();
        snapshot.rows += 1;
        assert!(matches!(Engine::new(Flat).load(snapshot), Err(Error::Other(_))));
    }
    // Before any load there is nothing to decide on.
    let batch = session.batch(&[Want::bytes(1)]);
    assert!(matches!(Engine::new(Flat).place(batch), Err(Error::Stale(_))));
}

#[test]
fn no_rows_and_no_requests() {
    let placed = Cluster::new().place(Flat, &vec![Want::bytes(1); 3]);
    assert_eq!(placed, vec![Placed::Nowhere(vec![]); 3]);
    let mut session = Session::start(Engine::new(Flat), three());
    let batch = session.batch(&[]);
    assert!(matches!(
        session.scheduler().explain(batch.clone()),
        Err(Error::Other(_) | Error::Unsupported(_))
    ));
    let mut batch = session.batch(&[Want::bytes(1000)]);
    batch.requests = vec![];
    assert_eq!(session.place_batch(batch).map(|answer| answer.rows), Ok(vec![]));
    let batch = session.batch(&[Want::bytes(1000)]);
    assert_eq!(session.place_batch(batch).map(|answer| answer.rows), Ok(vec![NO_ROW]));
}

#[test]
fn a_configuration_that_nobody_reads_is_refused() {
    let mut engine = Engine::new(Flat);
    assert_eq!(engine.configure("{}"), Ok(()));
    assert!(matches!(engine.configure("{\"weight\":1}"), Err(Error::Config(_))));
}
