//! The engine against the host's own rules: volumes and machines mixed, through the host's own columns.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use symphony_core::counter::Revision;
use symphony_core::name::Name;
use symphony_core::place::mirror::{self, Change, Mirror};
use symphony_core::place::{Bookings, Candidate as Place, Candidates, Request as Wish, Room, check};
use symphony_sdk::scheduler::{
    Batch, Column, ColumnData, Decisions, Delta, Engine, NO_ROW, Outcome, Sets, Snapshot, Stamp, SymbolNames, Verdict,
};
use symphony_sdk::testing::Random;
use symphony_sdk::{Candidate, Policy, RawScheduler, Request, Score};

const GIB: u64 = 1 << 30;

/// Likes some rows more than others, and looks at all that a batch books.
#[derive(Default)]
struct Taste;

impl Policy for Taste {
    const NAME: &'static str = "taste";

    fn score(&self, request: &Request<'_>, node: &Candidate<'_>) -> Score {
        Score::part("disk", (node.disk_free() / GIB) as f32)
            .and("cpus", node.cpus_free() as f32 * 2.0)
            .and("memory", (node.memory_free() / GIB) as f32)
            .and("row", (node.row() * 7 % 5) as f32)
            .and_preferred(request, node, 100.0)
    }
}

/// The host's end, natively: its mirror, and what it says handed to the engine.
struct Host {
    mirror: Mirror,
    engine: Engine<Taste>,
}

impl Host {
    fn new(engine: Engine<Taste>) -> Self {
        let said = Engine::<Taste>::describe();
        let mirror = Mirror::new(1, &said.candidate_columns, &said.request_columns).unwrap();
        Self { mirror, engine }
    }

    fn batch(&mut self, candidates: &Candidates, wishes: &[Wish]) -> Batch {
        let answer = match self.mirror.follow(candidates) {
            Change::None => Ok(self.engine.stamp()),
            Change::Load {
                at,
                symbols,
                rows,
                columns,
            } => self.engine.load(Snapshot {
                at: stamp(at),
                symbols: names(symbols),
                rows,
                columns: columns.into_iter().map(column).collect(),
            }),
            Change::Update {
                base,
                to,
                symbols,
                rows,
                columns,
            } => self.engine.update(Delta {
                base: stamp(base),
                to: stamp(to),
                symbols: names(symbols),
                rows,
                columns: columns.into_iter().map(column).collect(),
            }),
        };
        assert_eq!(answer, Ok(stamp(self.mirror.stamp())), "both hold the same");
        let batch = self.mirror.batch(wishes);
        Batch {
            need: stamp(batch.need),
            seed: 0,
            symbols: names(batch.symbols),
            requests: batch.requests,
            shapes: batch.shapes.into_iter().map(column).collect(),
        }
    }

    fn place(&mut self, candidates: &Candidates, wishes: &[Wish]) -> Decisions {
        let batch = self.batch(candidates, wishes);
        self.engine.place(batch).unwrap()
    }

    fn explain(&mut self, candidates: &Candidates, wishes: &[Wish]) -> Vec<Verdict> {
        let batch = self.batch(candidates, wishes);
        self.engine.explain(batch).unwrap()
    }
}

fn stamp(stamp: mirror::Stamp) -> Stamp {
    Stamp {
        epoch: stamp.epoch,
        revision: stamp.revision,
        digest: stamp.digest,
    }
}

fn names(symbols: mirror::NewSymbols) -> SymbolNames {
    SymbolNames {
        first: symbols.first,
        names: symbols.names,
    }
}

fn column(column: mirror::Column) -> Column {
    let data = match column.data {
        mirror::ColumnData::U64s(values) => ColumnData::U64s(values),
        mirror::ColumnData::Symbols(values) => ColumnData::Symbols(values),
        mirror::ColumnData::Sets { offsets, values } => ColumnData::Sets(Sets { offsets, values }),
    };
    Column {
        name: column.name,
        data,
    }
}

fn node(number: u64) -> Name {
    format!("node-{number:02}").parse().unwrap()
}

fn places(random: &mut Random, nodes: u64) -> Vec<Place> {
    let mut places = Vec::new();
    for number in 0..nodes {
        let cpus_total = if random.percent(80) { 8 + random.below(24) } else { 0 };
        let room = Room {
            cpus_total,
            cpus_free: random.below(cpus_total + 1),
            memory_total_bytes: cpus_total * 2 * GIB,
            memory_free_bytes: random.below(cpus_total * 2 + 1) * GIB,
        };
        let schedulable = random.percent(90);
        let labels = ["", "rack=a", "rack=b", "rack=a,gpu=yes"];
        let labels = std::sync::Arc::new(random.pick(&labels).parse().unwrap());
        for pool in ["default", "fast", "slow"]
            .into_iter()
            .take(1 + random.below(3) as usize)
        {
            places.push(Place {
                node: node(number),
                pool: pool.parse().unwrap(),
                schedulable,
                total_bytes: 64 * GIB,
                free_bytes: random.below(65) * GIB,
                room,
                labels: std::sync::Arc::clone(&labels),
            });
        }
    }
    places
}

fn wish(random: &mut Random, nodes: u64) -> Wish {
    let mut wish = Wish {
        disk_bytes: random.below(8) * GIB,
        ..Wish::default()
    };
    if random.percent(25) {
        wish.pool = Some(random.pick(&["default", "fast"]).parse().unwrap());
    }
    if random.percent(25) {
        wish.require = random.pick(&["rack=a", "gpu=yes", "nobody=has"]).parse().unwrap();
    }
    if random.percent(60) {
        // One of the two may be zero: it is for a machine all the same.
        wish.cpus = random.below(6) as u32;
        wish.memory_bytes = random.below(8) * GIB;
    }
    let mut some = |chance: u64| -> BTreeSet<Name> {
        let count = if random.percent(chance) { random.below(5) } else { 0 };
        (0..count).map(|_| node(random.below(nodes + 1))).collect()
    };
    wish.avoid = some(30);
    wish.near = some(20);
    wish.node = some(10).into_iter().next();
    if random.percent(30) {
        wish.prefer = random.pick(&["rack=b", "gpu=yes,rack=a"]).parse().unwrap();
    }
    wish
}

/// What the bookings of a batch leave in the store.
fn committed(candidates: &Candidates, bookings: &Bookings) -> Vec<Place> {
    let row = |(row, place): (u32, &std::sync::Arc<Place>)| {
        let left = bookings.left(candidates, row);
        Place {
            free_bytes: left.disk_bytes,
            room: Room {
                cpus_free: left.cpus,
                memory_free_bytes: left.memory_bytes,
                ..place.room
            },
            ..(**place).clone()
        }
    };
    (0_u32..).zip(candidates.rows()).map(row).collect()
}

/// The name under which the engine knows a rule of the host's.
fn filter(reason: &'static str) -> &'static str {
    match reason {
        "unschedulable" => "schedulable",
        "wrong-pool" => "pool",
        "missing-label" => "labels",
        "over-commit" => "disk.free",
        same => same,
    }
}

/// Each decision is legal, and none is left out for which there was a place. Answers what is booked then.
fn legal(candidates: &Candidates, wishes: &[Wish], decisions: &Decisions, case: u64) -> Bookings {
    let mut bookings = Bookings::default();
    for (position, (wish, row)) in wishes.iter().zip(&decisions.rows).enumerate() {
        if *row != NO_ROW {
            let refused = check::choice(candidates, &bookings, wish, *row).err();
            assert_eq!(refused, None, "case {case}, request {position}: {wish:?}");
            bookings.book(candidates, *row, wish);
            continue;
        }
        let all = 0..candidates.rows().len() as u32;
        let fits = all
            .into_iter()
            .find(|row| check::choice(candidates, &bookings, wish, *row).is_ok());
        assert_eq!(fits, None, "case {case}, request {position}: {wish:?}");
    }
    bookings
}

/// The explanation of each row is what the host's rules say of it.
fn explained(candidates: &Candidates, bookings: &Bookings, wish: &Wish, verdicts: &[Verdict], case: u64) {
    assert_eq!(verdicts.len(), candidates.rows().len());
    for verdict in verdicts {
        let said = match &verdict.outcome {
            Outcome::Removed(refusal) => Some(refusal.filter.as_str()),
            Outcome::Scored(_) => None,
        };
        let rule = check::choice(candidates, bookings, wish, verdict.row).err();
        let rule = rule.map(|violation| filter(violation.reason()));
        assert_eq!(said, rule, "case {case}, row {}: {wish:?}", verdict.row);
    }
}

#[test]
fn the_engine_takes_what_the_host_takes() {
    let mut random = Random::new(23);
    let (mut placed, mut machines) = (0, 0);
    for case in 0..60 {
        let nodes = 1 + random.below(25);
        let mut candidates = Candidates::from_rows(Revision(1), places(&mut random, nodes));
        let (mut host, mut plain) = (
            Host::new(Engine::new(Taste)),
            Host::new(Engine::new(Taste).without_cache()),
        );
        let shapes: Vec<Wish> = (0..1 + random.below(10)).map(|_| wish(&mut random, nodes)).collect();
        for round in 2..10 {
            let wishes: Vec<Wish> = (0..1 + random.below(30))
                .map(|_| random.pick(&shapes).clone())
                .collect();
            let decisions = host.place(&candidates, &wishes);
            assert_eq!(
                decisions,
                plain.place(&candidates, &wishes),
                "case {case}, cache or not"
            );
            let bookings = legal(&candidates, &wishes, &decisions, case);
            let asked = wish(&mut random, nodes);
            let mut explain = wishes.clone();
            explain.push(asked.clone());
            let verdicts = host.explain(&candidates, &explain);
            explained(&candidates, &bookings, &asked, &verdicts, case);
            let chosen = wishes.iter().zip(&decisions.rows).filter(|(_, row)| **row != NO_ROW);
            for (wish, _) in chosen {
                placed += 1;
                machines += u32::from(wish.is_for_machine());
            }
            // Mostly what was booked is committed; now and then nodes come, go and change.
            let rows = if random.percent(80) {
                committed(&candidates, &bookings)
            } else {
                places(&mut random, nodes)
            };
            candidates = Candidates::from_rows(Revision(round), rows);
        }
    }
    assert!(machines > 300 && placed - machines > 300, "{machines} of {placed}");
}
