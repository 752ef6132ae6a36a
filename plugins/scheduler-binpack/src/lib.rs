//! Binpack: the fullest pool that fits, so that large requests find room later and idle nodes can be switched off.

use symphony_sdk::{Candidate, Policy, Request, Score};

/// The policy.
#[derive(Debug, Default)]
pub struct Binpack;

impl Policy for Binpack {
    const NAME: &'static str = "binpack";

    /// The share of the pool that is taken once the request is placed: 0 is empty, 1 is full.
    #[inline]
    fn score(&self, request: &Request<'_>, node: &Candidate<'_>) -> Score {
        let left = node.disk_free().saturating_sub(request.disk_bytes());
        let total = node.disk_total().max(1);
        Score::part(
            "full-after",
            1.0 - left.cast_signed() as f32 / total.cast_signed() as f32,
        )
    }
}

symphony_sdk::export_scheduler!(Binpack);

#[cfg(test)]
mod tests {
    use symphony_sdk::testing::{Check, Cluster, Want};

    use super::Binpack;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_fullest_that_fits_comes_first_until_it_is_full() {
        let cluster = Cluster::new()
            .pool("node-1", "default", 100 * GIB, 90 * GIB)
            .pool("node-2", "default", 100 * GIB, 5 * GIB)
            .pool("node-3", "default", 100 * GIB, GIB);
        let placed = cluster.place(Binpack, &vec![Want::bytes(2 * GIB); 4]);
        let nodes: Vec<_> = placed.iter().map(|placed| placed.node().unwrap_or("nowhere")).collect();
        assert_eq!(nodes, ["node-2", "node-2", "node-1", "node-1"]);
    }

    #[test]
    fn pools_of_different_sizes_are_compared_by_share() {
        let cluster =
            Cluster::new()
                .pool("large", "default", 1000 * GIB, 300 * GIB)
                .pool("small", "default", 10 * GIB, 5 * GIB);
        let placed = cluster.place(Binpack, &[Want::bytes(GIB)]);
        assert_eq!(placed[0].node(), Some("large"));
    }

    #[test]
    fn a_pool_without_size_does_no_harm() {
        let cluster = Cluster::new().pool("node-1", "default", 0, 0);
        assert_eq!(cluster.place(Binpack, &[Want::bytes(0)])[0].node(), Some("node-1"));
        assert_eq!(cluster.place(Binpack, &[Want::bytes(1)])[0].node(), None);
    }

    #[test]
    fn keeps_the_contract() {
        Check::new(|| Binpack).cases(200).run();
    }
}
