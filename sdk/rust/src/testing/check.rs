//! Looks for broken promises of a policy, over random clusters and random histories.

use super::cluster::{Cluster, Row, Want};
use super::random::Random;
use super::session::{Placed, Session};
use crate::policy::Policy;
use crate::scheduler::{Engine, Outcome, Verdict};

const GIB: u64 = 1 << 30;
const POOLS: [&str; 3] = ["default", "fast", "slow"];
const LABELS: [&str; 5] = ["rack=a", "rack=b", "disk=ssd", "disk=hdd", "gpu=yes"];

/// The check: what a resident engine with its cache answers after any history must be what a fresh engine without cache
/// answers; the chosen row must be the first of the best; the counts must be those of the explanation.
///
/// ```
/// # use symphony_sdk::{Candidate, Policy, Request, Score, testing::Check};
/// # #[derive(Default)] struct Mine;
/// # impl Policy for Mine {
/// #     const NAME: &'static str = "mine";
/// #     fn score(&self, _: &Request<'_>, node: &Candidate<'_>) -> Score { Score::part("free", node.disk_free() as f32) }
/// # }
/// Check::new(Mine::default).cases(10).run();
/// ```
pub struct Check<F> {
    policy: F,
    cases: u64,
    seed: u64,
}

impl<P: Policy, F: Fn() -> P> Check<F> {
    /// A check of the policy that this makes.
    pub const fn new(policy: F) -> Self {
        Self {
            policy,
            cases: 100,
            seed: 1,
        }
    }

    /// How many histories to try.
    #[must_use]
    pub fn cases(self, cases: u64) -> Self {
        Self { cases, ..self }
    }

    /// Which histories to try.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Tries them.
    ///
    /// # Panics
    /// At the first broken promise.
    pub fn run(self) {
        for case in 0..self.cases {
            self.history(
                &mut Random::new(self.seed.wrapping_mul(1_000_003).wrapping_add(case)),
                case,
            );
        }
    }

    fn history(&self, random: &mut Random, case: u64) {
        let nodes = 1 + random.below(60);
        let mut session = Session::start(Engine::new((self.policy)()), cluster::<P>(random, nodes));
        let rows = session.cluster().rows().len();
        let shapes: Vec<Want> = (0..1 + random.below(6)).map(|_| want::<P>(random, nodes)).collect();
        for round in 0..12 {
            let wants: Vec<Want> = (0..1 + random.below(40))
                .map(|_| random.pick(&shapes).clone())
                .collect();
            let placed = session.place(&wants);
            let fresh = || Engine::new((self.policy)()).without_cache();
            let mut naive = Session::start(fresh(), session.cluster().clone());
            // One by one: a whole batch in a message helps nobody.
            for (request, (resident, fresh)) in placed.iter().zip(naive.place(&wants)).enumerate() {
                assert_eq!(
                    *resident, fresh,
                    "case {case}, round {round}, request {request}: resident against fresh"
                );
            }
            let verdicts = session.explain(&wants);
            for (resident, fresh) in verdicts.iter().zip(naive.explain(&wants)) {
                assert_eq!(*resident, fresh, "case {case}, round {round}: the explanations differ");
            }
            if let Some(last) = placed.last() {
                agree(last, &verdicts, case);
            }
            if random.percent(60) {
                session.commit(&placed, &wants);
            }
            let some: Vec<usize> = (0..rows).filter(|_| random.percent(15)).collect();
            session.change(&some, |row| disturb(row, random));
        }
    }
}

/// The decision and the explanation say the same.
fn agree(placed: &Placed, verdicts: &[Verdict], case: u64) {
    let scored = verdicts
        .iter()
        .filter(|verdict| matches!(verdict.outcome, Outcome::Scored(_)));
    let best = scored.fold(None, |best: Option<&Verdict>, verdict| match best {
        Some(best) if best.score >= verdict.score => Some(best),
        _ => Some(verdict),
    });
    match placed {
        Placed::At { row, score, .. } => {
            let best = best.map(|best| (best.row as usize, best.score));
            assert_eq!(
                best,
                Some((*row, *score)),
                "case {case}: the first of the best was not chosen"
            );
        }
        Placed::Nowhere(removed) => {
            assert_eq!(best, None, "case {case}: a place was there");
            for entry in removed {
                let by = |verdict: &&Verdict| match &verdict.outcome {
                    Outcome::Removed(refusal) => refusal.filter == entry.filter,
                    Outcome::Scored(_) => false,
                };
                let count = verdicts.iter().filter(by).count();
                assert_eq!(
                    count, entry.rows as usize,
                    "case {case}: rows removed by {}",
                    entry.filter
                );
            }
        }
    }
}

fn node(number: u64) -> String {
    format!("node-{number:03}")
}

/// Nodes with one pool or more.
fn cluster<P: Policy>(random: &mut Random, nodes: u64) -> Cluster {
    let mut cluster = Cluster::new();
    for number in 0..nodes {
        let first = random.below(POOLS.len() as u64) as usize;
        for (position, pool) in POOLS.iter().enumerate().skip(first) {
            if position > first && random.percent(70) {
                continue;
            }
            let total = (1 + random.below(64)) * GIB;
            cluster = cluster.pool(&node(number), pool, total, total);
            let own = P::COLUMNS.candidate.iter();
            cluster = own.fold(cluster, |cluster, name| cluster.number(name, random.any()));
            // In the order of names, so what was added is the last one.
            let last = cluster.rows().len() - 1;
            disturb(&mut cluster.rows_mut()[last], random);
            cluster.share_node(last);
        }
    }
    cluster
}

fn disturb(row: &mut Row, random: &mut Random) {
    row.schedulable = random.percent(90);
    row.free = random.below(row.total / GIB + 1) * GIB;
    row.cpus_total = if random.percent(80) { 4 + random.below(28) } else { 0 };
    row.cpus_free = random.below(row.cpus_total + 1);
    row.memory_total = row.cpus_total * 2 * GIB;
    row.memory_free = random.below(row.memory_total / GIB + 1) * GIB;
    row.labels = LABELS
        .iter()
        .filter(|_| random.percent(40))
        .map(|&label| label.to_owned())
        .collect();
    for (_, value) in &mut row.numbers {
        *value = random.below(100);
    }
}

/// A volume as often as a machine.
fn want<P: Policy>(random: &mut Random, nodes: u64) -> Want {
    let mut want = if random.percent(50) {
        Want::bytes(random.below(8) * GIB)
    } else {
        machine(random, nodes).disk(random.below(8) * GIB)
    };
    if random.percent(40) {
        want = want.pool(random.pick::<&str>(&POOLS));
    }
    if random.percent(40) {
        want = want.require(random.pick::<&str>(&LABELS));
    }
    P::COLUMNS
        .request
        .iter()
        .fold(want, |want, name| want.number(name, random.below(100)))
}

fn machine(random: &mut Random, nodes: u64) -> Want {
    let mut want = Want::machine(random.below(6), random.below(8) * GIB);
    let mut some = |chance: u64| -> Vec<String> {
        let picked = (0..random.below(4)).map(|_| node(random.below(nodes))).collect();
        if random.percent(chance) { picked } else { Vec::new() }
    };
    let (avoid, near, bound) = (some(30), some(20), some(10));
    want = avoid.iter().fold(want, |want, node| want.avoid(node));
    want = near.iter().fold(want, |want, node| want.near(node));
    want = bound.first().into_iter().fold(want, |want, node| want.node(node));
    if random.percent(40) {
        want = want.prefer(random.pick::<&str>(&LABELS));
    }
    want
}
