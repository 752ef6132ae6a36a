//! Filters and scores: of one row, and of all rows in the tightest loop that there is.

use crate::policy::{Candidate, Policy, Reason, Request, StandardFilters, View};
use crate::scheduler::ranking::{OUT, Rate};
use crate::scheduler::symbols::Symbol;

/// How many rows are looked at in one go of the loop.
const LANES: usize = 4;

/// A policy's opinion of all rows for one request.
pub(super) struct Rater<'a, P> {
    policy: &'a P,
    request: Request<'a>,
    view: View<'a>,
    demand: Demand,
}

/// What a request asks for: the loop has only the checks in it that this needs. (In the functions below as `PLACE` and
/// `NODE`, for the compiler to know.)
#[derive(Clone, Copy)]
enum Demand {
    /// Room on disk and nothing else, as most volumes do.
    Room,
    /// A pool or labels as well.
    Place,
    /// Room on the node and in the pool, and nothing else: most machines.
    Machine,
    /// Anything: a node, neighbours, labels that it prefers.
    Any,
}

impl Demand {
    const fn of(request: &Request<'_>) -> Self {
        let anywhere = request.pool().is_none() && request.require().is_empty();
        match (request.is_choosy(), request.is_for_machine(), anywhere) {
            (false, false, true) => Self::Room,
            (false, false, false) => Self::Place,
            (false, true, true) => Self::Machine,
            _ => Self::Any,
        }
    }
}

impl<'a, P: Policy> Rater<'a, P> {
    pub(super) fn new(policy: &'a P, request: Request<'a>, view: View<'a>) -> Self {
        Self {
            policy,
            request,
            view,
            demand: Demand::of(&request),
        }
    }

    /// The first of the best rows, by looking at all.
    #[inline(never)]
    pub(super) fn first_best(&self) -> Option<(usize, f32)> {
        let (mut best, mut best_row) = (OUT, usize::MAX);
        self.each(|first, scores| {
            // One branch for all of them, and hardly ever taken: a new best is rare. NaN is never larger.
            if scores.iter().fold(false, |any, score| any | (*score > best)) {
                for (lane, score) in scores.into_iter().enumerate() {
                    if score > best {
                        best = score;
                        best_row = first + lane;
                    }
                }
            }
        });
        (best_row != usize::MAX).then_some((best_row, best))
    }

    #[inline(always)]
    fn each(&self, found: impl FnMut(usize, [f32; LANES])) {
        match self.demand {
            Demand::Room => self.each_of::<false, false>(found),
            Demand::Place => self.each_of::<true, false>(found),
            Demand::Machine => self.each_of::<false, true>(found),
            Demand::Any => self.each_of::<true, true>(found),
        }
    }

    /// Gives the scores of some rows at a time; those beyond the last row are [`OUT`].
    #[inline(always)]
    fn each_of<const PLACE: bool, const NODE: bool>(&self, mut found: impl FnMut(usize, [f32; LANES])) {
        // Copies of its own, so that nothing is read again that did not change; chunks, so that no bounds are checked.
        let (rows, view) = (self.view.rows, self.view);
        let request = match (PLACE, NODE) {
            (true, true) => self.request,
            (false, true) => self.request.not_choosy(),
            (_, false) => self.request.not_choosy().not_for_machine(),
        };
        let chunks = view.schedulable.chunks_exact(LANES).zip(view.total.chunks_exact(LANES));
        let chunks = chunks
            .zip(view.free.chunks_exact(LANES))
            .zip(view.pool.chunks_exact(LANES));
        let mut first = 0;
        for (((schedulable, total), free), pool) in chunks {
            let nodes: [Candidate<'_>; LANES] = std::array::from_fn(|lane| {
                Candidate::new(
                    &view,
                    first + lane,
                    schedulable[lane],
                    total[lane],
                    free[lane],
                    pool[lane],
                )
            });
            let pass = nodes
                .iter()
                .fold(true, |all, node| all & self::pass::<P, PLACE, NODE>(&request, node));
            found(
                first,
                if pass {
                    nodes.map(|node| opinion::<P, PLACE, NODE>(self.policy, &request, &node))
                } else {
                    nodes.map(|node| rate::<P, PLACE, NODE>(self.policy, &request, &node))
                },
            );
            first += LANES;
        }
        if first < rows {
            found(
                first,
                std::array::from_fn(|lane| {
                    let row = first + lane;
                    if row < rows {
                        rate::<P, PLACE, NODE>(self.policy, &request, &view.candidate(row))
                    } else {
                        OUT
                    }
                }),
            );
        }
    }
}

impl<P: Policy> Rate for Rater<'_, P> {
    fn one(&self, row: usize) -> f32 {
        let node = self.view.candidate(row);
        worth(match self.demand {
            Demand::Room => rate::<P, false, false>(self.policy, &self.request, &node),
            Demand::Place => rate::<P, true, false>(self.policy, &self.request, &node),
            Demand::Machine => rate::<P, false, true>(self.policy, &self.request, &node),
            Demand::Any => rate::<P, true, true>(self.policy, &self.request, &node),
        })
    }

    #[inline(never)]
    fn all(&self, scores: &mut [f32]) {
        self.each(|first, found| {
            for (to, score) in scores[first..].iter_mut().zip(found) {
                *to = worth(score);
            }
        });
    }
}

/// The policy's own score of a row, or [`OUT`]. May be NaN.
#[inline(always)]
fn rate<P: Policy, const PLACE: bool, const NODE: bool>(
    policy: &P,
    request: &Request<'_>,
    node: &Candidate<'_>,
) -> f32 {
    if pass::<P, PLACE, NODE>(request, node) {
        opinion::<P, PLACE, NODE>(policy, request, node)
    } else {
        OUT
    }
}

/// The cheap standard filters in one condition: a branch for each would cost more than what it saves, above all in the
/// sandbox, where every branch pays for its fuel.
#[inline(always)]
fn pass<P: Policy, const PLACE: bool, const NODE: bool>(request: &Request<'_>, node: &Candidate<'_>) -> bool {
    let StandardFilters {
        schedulable,
        pool,
        disk,
        ..
    } = P::FILTERS;
    let in_pool = !PLACE | !pool | request.pool().is_none() | (request.pool() == node.pool());
    let fits = !disk | (node.disk_free() >= request.disk_bytes());
    let runs = !NODE || runs::<P>(request, node);
    (!schedulable | node.schedulable()) & in_pool & fits & runs
}

/// The same for what is asked of the node.
#[inline(always)]
fn runs<P: Policy>(request: &Request<'_>, node: &Candidate<'_>) -> bool {
    let StandardFilters {
        node: bound, compute, ..
    } = P::FILTERS;
    let there = !bound || request.node().is_none() || request.node() == node.node();
    let fits =
        (node.cpus_total() > 0) & (node.cpus_free() >= request.cpus()) & (node.memory_free() >= request.memory_bytes());
    there & (!compute | !request.is_for_machine() | fits)
}

/// The labels and neighbours, and what the policy itself thinks of a row that passes.
#[inline(always)]
fn opinion<P: Policy, const PLACE: bool, const NODE: bool>(
    policy: &P,
    request: &Request<'_>,
    node: &Candidate<'_>,
) -> f32 {
    let wanted = request.require();
    let unlabelled = !PLACE || !P::FILTERS.labels || wanted.is_empty();
    let labelled = unlabelled || had_of(wanted, node.labels()) == wanted.len();
    let neighbourly = !NODE || !P::FILTERS.neighbours || (is_apart(request, node) && is_near(request, node));
    if labelled && neighbourly && policy.filter(request, node).is_ok() {
        policy.score(request, node).total()
    } else {
        OUT
    }
}

/// Neither NaN nor negative infinity is worth anything.
#[inline(always)]
pub(super) fn worth(score: f32) -> f32 {
    if score >= f32::MIN { score } else { OUT }
}

/// The filter that keeps nodes without the labels that were asked for away.
pub(super) const LABELS: &str = "labels";

/// The same filters one by one, each with its reason: for explanations.
pub(super) fn judge<P: Policy>(policy: &P, request: &Request<'_>, node: &Candidate<'_>) -> Result<(), Reason> {
    let StandardFilters {
        schedulable,
        node: bound,
        pool,
        labels,
        neighbours,
        compute,
        disk,
    } = P::FILTERS;
    if schedulable && !node.schedulable() {
        return Err(Reason::new("schedulable").detail("takes no new work"));
    }
    if bound && !request.node().is_none() && request.node() != node.node() {
        return Err(Reason::new("wrong-node").detail("is not the node that it is bound to"));
    }
    if pool && !request.pool().is_none() && request.pool() != node.pool() {
        return Err(Reason::new("pool").detail("is not the pool that was asked for"));
    }
    if labels {
        let wanted = request.require().len();
        let had = had_of(request.require(), node.labels());
        if had < wanted {
            let reason = Reason::new(LABELS).numbers(wanted as u64, had as u64);
            return Err(reason.detail("lacks a label that was asked for"));
        }
    }
    if neighbours && !is_apart(request, node) {
        return Err(Reason::new("not-apart").detail("has a machine that this one must be apart from"));
    }
    if neighbours && !is_near(request, node) {
        return Err(Reason::new("not-near").detail("has none of the machines that this one must be near"));
    }
    if compute && request.is_for_machine() {
        judge_compute(request, node)?;
    }
    if disk && node.disk_free() < request.disk_bytes() {
        return Err(Reason::new("disk.free").numbers(request.disk_bytes(), node.disk_free()));
    }
    policy.filter(request, node)
}

/// Whether the node can run the machine.
fn judge_compute(request: &Request<'_>, node: &Candidate<'_>) -> Result<(), Reason> {
    if node.cpus_total() == 0 {
        return Err(Reason::new("no-compute").detail("runs no machines"));
    }
    if node.cpus_free() < request.cpus() {
        return Err(Reason::new("cpus").numbers(request.cpus(), node.cpus_free()));
    }
    if node.memory_free() < request.memory_bytes() {
        return Err(Reason::new("memory").numbers(request.memory_bytes(), node.memory_free()));
    }
    Ok(())
}

/// Whether no machine is there that it must be apart from.
#[inline(always)]
fn is_apart(request: &Request<'_>, node: &Candidate<'_>) -> bool {
    request.avoid().is_empty() || !is_among(request.avoid(), node.node())
}

/// Whether one of the machines is there that it must be near, if there are any.
#[inline(always)]
fn is_near(request: &Request<'_>, node: &Candidate<'_>) -> bool {
    request.near().is_empty() || is_among(request.near(), node.node())
}

/// Whether a node is one of these. Out of the way: a loop in a loop has no place in a scan that mostly needs none.
#[inline(never)]
fn is_among(nodes: &[u32], node: Symbol) -> bool {
    nodes.binary_search(&node.0).is_ok()
}

/// How many of the wanted symbols are there.
fn had_of(wanted: &[u32], there: &[u32]) -> usize {
    wanted.iter().filter(|symbol| there.contains(symbol)).count()
}
