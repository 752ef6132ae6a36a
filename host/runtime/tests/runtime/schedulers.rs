//! The schedulers that come with symphony, in the sandbox, against the same policy outside it.

use symphony_core::counter::Revision;
use symphony_core::place::{Answer, Bookings, Candidate, Candidates, Outcome, Request, Room, builtin, check};
use symphony_runtime::smoke::smoke;
use symphony_runtime::{BATCH_MAX, Compiled, Limits, SchedulerPlugin};

use super::{built, child, open, prepare};

pub(crate) const GIB: u64 = 1 << 30;

/// Numbers that look random and are the same in each run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

pub(crate) fn cluster(revision: u64, rows: u64, numbers: &mut Numbers) -> Candidates {
    let row = |n: u64| Candidate {
        node: format!("node-{n:05}").parse().unwrap(),
        pool: ["default", "fast"][usize::try_from(n % 2).unwrap()].parse().unwrap(),
        schedulable: numbers.below(10) > 0,
        total_bytes: 200 * GIB,
        free_bytes: numbers.below(200) * GIB,
        room: Room::default(),
        labels: std::sync::Arc::new(format!("zone=z{},ssd=yes", n % 3).parse().unwrap()),
    };
    Candidates::from_rows(Revision(revision), (0..rows).map(row).collect())
}

pub(crate) fn request(disk_bytes: u64) -> Request {
    Request {
        disk_bytes,
        ..Request::default()
    }
}

fn requests(count: usize, numbers: &mut Numbers) -> Vec<Request> {
    let one = |_| Request {
        disk_bytes: numbers.below(120) * GIB / 2,
        pool: (numbers.below(3) == 0).then(|| "fast".parse().unwrap()),
        require: if numbers.below(3) == 0 {
            "zone=z1".parse().unwrap()
        } else {
            "".parse().unwrap()
        },
        ..request(0)
    };
    (0..count).map(one).collect()
}

/// Nodes with one pool or two; four of five run machines.
fn mixed_cluster(revision: u64, nodes: u64, numbers: &mut Numbers) -> Candidates {
    let mut rows = Vec::new();
    for n in 0..nodes {
        let cpus_total = if numbers.below(5) > 0 { 8 + numbers.below(24) } else { 0 };
        let room = Room {
            cpus_total,
            cpus_free: numbers.below(cpus_total + 1),
            memory_total_bytes: 2 * cpus_total * GIB,
            memory_free_bytes: numbers.below(2 * cpus_total + 1) * GIB,
        };
        let schedulable = numbers.below(10) > 0;
        let labels = std::sync::Arc::new(format!("zone=z{},ssd=yes", n % 3).parse().unwrap());
        let row = |pool: &str, free: u64| Candidate {
            node: format!("node-{n:05}").parse().unwrap(),
            pool: pool.parse().unwrap(),
            schedulable,
            total_bytes: 200 * GIB,
            free_bytes: free * GIB,
            room,
            labels: std::sync::Arc::clone(&labels),
        };
        rows.push(row("default", numbers.below(200)));
        if numbers.below(2) == 0 {
            rows.push(row("fast", numbers.below(200)));
        }
    }
    Candidates::from_rows(Revision(revision), rows)
}

/// Volumes and machines.
fn mixed_requests(count: usize, numbers: &mut Numbers) -> Vec<Request> {
    let mut volumes = requests(count, numbers);
    for request in &mut volumes {
        if numbers.below(3) == 0 {
            continue;
        }
        let mut node = || format!("node-{:05}", numbers.below(40)).parse().unwrap();
        let (first, second, third) = (node(), node(), node());
        request.cpus = u32::try_from(numbers.below(5)).unwrap();
        request.memory_bytes = numbers.below(8) * GIB;
        match numbers.below(6) {
            0 => request.avoid = [first, second, third].into(),
            1 => request.near = [first, second, third].into(),
            2 => request.node = Some(first),
            3 => request.prefer = "zone=z2,ssd=yes".parse().unwrap(),
            _ => {}
        }
    }
    volumes
}

/// What the built-in policy decides, each request seeing those before it.
fn expected(candidates: &Candidates, requests: &[Request]) -> Vec<Option<(u32, f32)>> {
    let mut bookings = Bookings::default();
    let decide = |request: &Request| match builtin::place(candidates, &bookings, request) {
        Answer::Chosen { row, score } => {
            bookings.book(candidates, row, request);
            Some((row, score))
        }
        Answer::Unplaceable { .. } => None,
    };
    requests.iter().map(decide).collect()
}

fn chosen(answers: &[Answer]) -> Vec<Option<(u32, f32)>> {
    let of = |answer: &Answer| match answer {
        Answer::Chosen { row, score } => Some((*row, *score)),
        Answer::Unplaceable { removed } => {
            assert!(!removed.is_empty(), "no reason is given");
            None
        }
    };
    answers.iter().map(of).collect()
}

async fn start(compiled: &Compiled) -> SchedulerPlugin {
    SchedulerPlugin::start(compiled, "{}").await.unwrap()
}

#[tokio::test]
async fn spread_decides_as_the_built_in_policy_does() {
    let plugin = start(&prepare("spread").await.unwrap()).await;
    let mut numbers = Numbers(1);
    let mut candidates = cluster(1, 60, &mut numbers);
    for round in 2..40 {
        let requests = requests(25, &mut numbers);
        let answers = plugin.place(&candidates, requests.clone(), round).await.unwrap();
        assert_eq!(chosen(&answers), expected(&candidates, &requests), "round {round}");
        // Some rows change; now and then a node comes or goes.
        for _ in 0..numbers.below(4) {
            let (row, free) = (u32::try_from(numbers.below(50)).unwrap(), numbers.below(200) * GIB);
            candidates = candidates.with_free_bytes(Revision(round), row, free);
        }
        if numbers.below(5) == 0 {
            let rows = 55 + numbers.below(10);
            candidates = cluster(round, rows, &mut numbers);
        }
    }
    let stats = plugin.compiled().stats();
    assert!(stats.faults.is_empty() && stats.instances == 1, "{stats:?}");
    assert!(
        stats.calls["load"] > 1 && stats.calls["update"] > 1 && stats.fuel > 0,
        "{stats:?}"
    );
}

#[tokio::test]
async fn spread_decides_for_machines_as_the_built_in_policy_does() {
    let plugin = start(&prepare("spread").await.unwrap()).await;
    let mut numbers = Numbers(5);
    for round in 1..20 {
        let candidates = mixed_cluster(round, 40, &mut numbers);
        let mut requests = mixed_requests(40, &mut numbers);
        let answers = plugin.place(&candidates, requests.clone(), round).await.unwrap();
        let wanted = expected(&candidates, &requests);
        assert_eq!(chosen(&answers), wanted, "round {round}");

        // The last one again: each row is in or out for the same reason, with the same numbers.
        let Some(last) = requests.pop() else { continue };
        let mut bookings = Bookings::default();
        for (request, choice) in requests.iter().zip(&wanted) {
            choice
                .iter()
                .for_each(|(row, _)| bookings.book(&candidates, *row, request));
        }
        let verdicts = plugin.explain(&candidates, requests, last.clone()).await;
        let (verdicts, built_in) = (
            verdicts.unwrap().unwrap(),
            builtin::explain(&candidates, &bookings, &last),
        );
        assert_eq!(verdicts.len(), built_in.len());
        for (said, wanted) in verdicts.iter().zip(&built_in) {
            match (&said.outcome, &wanted.outcome) {
                (Outcome::Scored { score, .. }, Outcome::Scored { score: wanted, .. }) => assert_eq!(score, wanted),
                (Outcome::Removed(said), Outcome::Removed(wanted)) => {
                    let numbers = |refusal: &symphony_core::place::Refusal| (refusal.wanted, refusal.available);
                    if ["cpus", "memory"].contains(&wanted.filter.as_str()) {
                        assert_eq!((&said.filter, numbers(said)), (&wanted.filter, numbers(wanted)));
                    }
                }
                _ => panic!("{said:?} and {wanted:?} for {last:?}"),
            }
        }
    }
}

#[tokio::test]
async fn spread_explains_every_candidate() {
    let plugin = start(&prepare("spread").await.unwrap()).await;
    let candidates = cluster(1, 40, &mut Numbers(7));
    let before = requests(10, &mut Numbers(8));
    let mut bookings = Bookings::default();
    for (request, choice) in before.iter().zip(expected(&candidates, &before)) {
        choice
            .into_iter()
            .for_each(|(row, _)| bookings.book(&candidates, row, request));
    }
    let verdicts = plugin
        .explain(&candidates, before, request(50 * GIB))
        .await
        .unwrap()
        .unwrap();
    let built_in = builtin::explain(&candidates, &bookings, &request(50 * GIB));
    assert_eq!(verdicts.len(), built_in.len());
    for (said, wanted) in verdicts.iter().zip(&built_in) {
        assert_eq!((&said.node, &said.pool), (&wanted.node, &wanted.pool));
        match (&said.outcome, &wanted.outcome) {
            (Outcome::Scored { score, parts }, Outcome::Scored { score: wanted, .. }) => {
                assert!(score == wanted && !parts.is_empty(), "{said:?}");
            }
            (Outcome::Removed(said), Outcome::Removed(wanted)) => {
                if wanted.wanted > 0 {
                    assert_eq!((said.wanted, said.available), (wanted.wanted, wanted.available));
                }
            }
            _ => panic!("{said:?} and {wanted:?}"),
        }
    }
}

#[tokio::test]
async fn binpack_decides_otherwise_and_legally() {
    let plugin = start(&prepare("binpack").await.unwrap()).await;
    let candidates = mixed_cluster(1, 60, &mut Numbers(3));
    let requests = mixed_requests(50, &mut Numbers(4));
    let answers = plugin.place(&candidates, requests.clone(), 0).await.unwrap();
    assert_ne!(chosen(&answers), expected(&candidates, &requests));
    let mut bookings = Bookings::default();
    for (request, answer) in requests.iter().zip(&answers) {
        if let Answer::Chosen { row, .. } = answer {
            check::choice(&candidates, &bookings, request, *row).unwrap();
            bookings.book(&candidates, *row, request);
        }
    }
}

#[tokio::test]
async fn both_pass_their_first_run_and_describe_themselves() {
    for name in ["spread", "binpack"] {
        let compiled = prepare(name).await.unwrap();
        let descriptor = smoke(&compiled, "{}").await.unwrap();
        assert_eq!(descriptor.name, name);
        let (of_nodes, of_requests) = (&descriptor.candidate_columns, &descriptor.request_columns);
        assert!(descriptor.explains && of_nodes.contains(&"disk.free".to_owned()));
        // These two: it is asked about machines too.
        assert!(of_nodes.contains(&"cpu.free".to_owned()) && of_requests.contains(&"cpu.count".to_owned()));
        assert_eq!(
            SchedulerPlugin::start(&compiled, "not json")
                .await
                .unwrap_err()
                .reason(),
            "config"
        );
    }
}

/// Fuel is counted, not measured: the same in each run.
#[tokio::test]
async fn a_volume_does_not_pay_for_what_machines_need() {
    const ROWS: u64 = 5_000;
    const REQUESTS: u64 = 50;
    for name in ["spread", "binpack"] {
        let plugin = start(&prepare(name).await.unwrap()).await;
        let candidates = cluster(1, ROWS, &mut Numbers(1));
        plugin.place(&candidates, Vec::new(), 0).await.unwrap();
        let before = plugin.compiled().stats().fuel;
        // No two are alike, so that each looks at all rows.
        let volumes = (0..REQUESTS).map(|n| request(GIB + n * 512)).collect();
        plugin.place(&candidates, volumes, 0).await.unwrap();
        let per_pair = (plugin.compiled().stats().fuel - before) / (ROWS * REQUESTS);
        assert!(per_pair < 80, "{name} takes {per_pair} of fuel for a row");
    }
}

#[tokio::test]
async fn a_batch_has_a_limit() {
    let plugin = start(&prepare("spread").await.unwrap()).await;
    let candidates = cluster(1, 3, &mut Numbers(1));
    let full = plugin.place(&candidates, vec![request(0); BATCH_MAX], 0).await.unwrap();
    assert_eq!(full.len(), BATCH_MAX);
    assert_eq!(
        plugin
            .place(&candidates, vec![request(0); BATCH_MAX + 1], 0)
            .await
            .unwrap_err()
            .reason(),
        "host"
    );
    assert!(plugin.place(&candidates, Vec::new(), 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn limits_are_per_call_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut limits = Limits::default();
    limits.scheduler.fuel.call = 1000;
    limits.scheduler.fuel.per_pair = 0;
    let starved = open(dir.path(), child(), limits)
        .prepare(built("spread"))
        .await
        .unwrap();
    let plugin = start(&starved).await;
    let candidates = cluster(1, 100, &mut Numbers(1));
    for _ in 0..2 {
        let fault = plugin.place(&candidates, vec![request(GIB)], 0).await.unwrap_err();
        assert_eq!(
            (fault.reason(), fault.call, fault.plugin.as_str()),
            ("out-of-fuel", "place", "spread")
        );
    }
    let stats = starved.stats();
    assert_eq!(
        (stats.faults["out-of-fuel"], stats.instances),
        (2, 2),
        "each fault costs its instance"
    );

    let mut limits = Limits::default();
    limits.scheduler.memory_bytes = 64 << 10;
    let small = open(dir.path(), child(), limits)
        .prepare(built("spread"))
        .await
        .unwrap();
    assert_eq!(
        SchedulerPlugin::start(&small, "{}").await.unwrap_err().reason(),
        "memory"
    );

    let mut limits = Limits::default();
    limits.retire.calls = 1;
    let worn = open(dir.path(), child(), limits)
        .prepare(built("spread"))
        .await
        .unwrap();
    let plugin = start(&worn).await;
    for _ in 0..3 {
        plugin.place(&candidates, vec![request(GIB)], 0).await.unwrap();
    }
    assert_eq!(worn.stats().instances, 3, "an instance is retired after its calls");
}

/// Two handles of two components, as in a swap: calls under way end on the old one.
#[tokio::test]
async fn a_swap_drops_no_call() {
    let (old, new) = (
        start(&prepare("spread").await.unwrap()).await,
        start(&prepare("binpack").await.unwrap()).await,
    );
    let candidates = cluster(1, 500, &mut Numbers(1));
    let old = std::sync::Arc::new(old);
    let under_way: Vec<_> = (0..8)
        .map(|seed| {
            let (old, candidates) = (std::sync::Arc::clone(&old), candidates.clone());
            tokio::spawn(async move { old.place(&candidates, vec![request(GIB); 100], seed).await })
        })
        .collect();
    tokio::task::yield_now().await;
    drop(old);
    new.place(&candidates, vec![request(GIB)], 0).await.unwrap();
    for call in under_way {
        assert_eq!(call.await.unwrap().unwrap().len(), 100);
    }
}
