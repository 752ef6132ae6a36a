//! Filters and scores: of one row, and of all rows in the tightest loop that there is.

use crate::policy::{Candidate, Policy, Reason, Request, StandardFilters, View};
use crate::scheduler::ranking::{OUT, Rate};

/// How many rows are looked at in one go of the loop.
const LANES: usize = 4;

/// A policy's opinion of all rows for one request.
pub(super) struct Rater<'a, P> {
    policy: &'a P,
    request: Request<'a>,
    view: View<'a>,
    /// The request names neither pool nor labels, as most do: the loop then has no such checks in it.
    anywhere: bool,
}

impl<'a, P: Policy> Rater<'a, P> {
    pub(super) fn new(policy: &'a P, request: Request<'a>, view: View<'a>) -> Self {
        let anywhere = request.pool().is_none() && request.require().is_empty();
        Self {
            policy,
            request,
            view,
            anywhere,
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
        if self.anywhere {
            self.each_of::<true>(found)
        } else {
            self.each_of::<false>(found)
        }
    }

    /// Gives the scores of some rows at a time; those beyond the last row are [`OUT`].
    #[inline(always)]
    fn each_of<const ANYWHERE: bool>(&self, mut found: impl FnMut(usize, [f32; LANES])) {
        // Copies of its own, so that nothing is read again that did not change; chunks, so that no bounds are checked.
        let (rows, request, view) = (self.view.rows, self.request, self.view);
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
                .fold(true, |all, node| all & self::pass::<P, ANYWHERE>(&request, node));
            found(
                first,
                if pass {
                    nodes.map(|node| opinion::<P, ANYWHERE>(self.policy, &request, &node))
                } else {
                    nodes.map(|node| rate::<P, ANYWHERE>(self.policy, &request, &node))
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
                        rate::<P, ANYWHERE>(self.policy, &request, &view.candidate(row))
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
        worth(if self.anywhere {
            rate::<P, true>(self.policy, &self.request, &node)
        } else {
            rate::<P, false>(self.policy, &self.request, &node)
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
fn rate<P: Policy, const ANYWHERE: bool>(policy: &P, request: &Request<'_>, node: &Candidate<'_>) -> f32 {
    if pass::<P, ANYWHERE>(request, node) {
        opinion::<P, ANYWHERE>(policy, request, node)
    } else {
        OUT
    }
}

/// The cheap standard filters in one condition: a branch for each would cost more than what it saves, above all in the
/// sandbox, where every branch pays for its fuel.
#[inline(always)]
fn pass<P: Policy, const ANYWHERE: bool>(request: &Request<'_>, node: &Candidate<'_>) -> bool {
    let StandardFilters {
        schedulable,
        pool,
        disk,
        ..
    } = P::FILTERS;
    let in_pool = ANYWHERE | !pool | request.pool().is_none() | (request.pool() == node.pool());
    let fits = !disk | (node.disk_free() >= request.disk_bytes());
    (!schedulable | node.schedulable()) & in_pool & fits
}

/// The labels, and what the policy itself thinks of a row that passes.
#[inline(always)]
fn opinion<P: Policy, const ANYWHERE: bool>(policy: &P, request: &Request<'_>, node: &Candidate<'_>) -> f32 {
    let wanted = request.require();
    let unlabelled = ANYWHERE || !P::FILTERS.labels || wanted.is_empty();
    let labelled = unlabelled || had_of(wanted, node.labels()) == wanted.len();
    if labelled && policy.filter(request, node).is_ok() {
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

/// The same filters one by one, each with its reason: for explanations.
pub(super) fn judge<P: Policy>(policy: &P, request: &Request<'_>, node: &Candidate<'_>) -> Result<(), Reason> {
    let StandardFilters {
        schedulable,
        pool,
        labels,
        disk,
    } = P::FILTERS;
    if schedulable && !node.schedulable() {
        return Err(Reason::new("schedulable").detail("takes no new work"));
    }
    if pool && !request.pool().is_none() && request.pool() != node.pool() {
        return Err(Reason::new("pool").detail("is not the pool that was asked for"));
    }
    if labels {
        let wanted = request.require().len();
        let had = had_of(request.require(), node.labels());
        if had < wanted {
            let reason = Reason::new("labels").numbers(wanted as u64, had as u64);
            return Err(reason.detail("lacks a label that was asked for"));
        }
    }
    if disk && node.disk_free() < request.disk_bytes() {
        return Err(Reason::new("disk.free").numbers(request.disk_bytes(), node.disk_free()));
    }
    policy.filter(request, node)
}

/// How many of the wanted symbols are there.
fn had_of(wanted: &[u32], there: &[u32]) -> usize {
    wanted.iter().filter(|symbol| there.contains(symbol)).count()
}
