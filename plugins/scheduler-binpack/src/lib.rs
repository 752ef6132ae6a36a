//! Binpack: the fullest pool that fits, so that large requests find room later and idle nodes can be switched off.
//!
//! For machines the node's memory is packed as well as the pool; nodes with the labels that a request prefers come before
//! all others.

use symphony_sdk::{Candidate, Policy, Request, Score};

/// The policy.
#[derive(Debug, Default)]
pub struct Binpack;

impl Policy for Binpack {
    const NAME: &'static str = "binpack";

    /// The share of the pool that is taken once the request is placed: 0 is empty, 1 is full.
    /// For a machine the share of the node's memory comes to it: memory runs out first, so it counts more.
    #[inline(always)]
    fn score(&self, request: &Request<'_>, node: &Candidate<'_>) -> Score {
        let disk = full(node.disk_total(), node.disk_free().saturating_sub(request.disk_bytes()));
        let score = Score::part("full-after", disk);
        let score = if request.is_for_machine() {
            let memory = node.memory_free().saturating_sub(request.memory_bytes());
            score.and("memory-full-after", MEMORY * full(node.memory_total(), memory))
        } else {
            score
        };
        score.and_preferred(request, node, PREFERRED)
    }
}

/// What the share of memory is worth beside that of the pool.
const MEMORY: f32 = 2.0;
/// What a preferred label is worth: more than any fullness.
const PREFERRED: f32 = 10.0;

/// The share that is taken when this much is left.
#[inline(always)]
fn full(total: u64, left: u64) -> f32 {
    1.0 - left.cast_signed() as f32 / total.max(1).cast_signed() as f32
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
    fn machines_fill_the_memory_of_one_node_after_the_other() {
        let node = |cluster: Cluster, name, memory| {
            cluster
                .pool(name, "default", 100 * GIB, 100 * GIB)
                .cpus(8, 8)
                .memory(16 * GIB, memory)
        };
        let cluster = node(node(Cluster::new(), "node-1", 16 * GIB), "node-2", 4 * GIB);
        let cluster = node(cluster, "node-3", 16 * GIB).labels(&["gpu=yes"]);
        let nodes = |want: Want| -> Vec<String> {
            let placed = cluster.place(Binpack, &vec![want; 4]);
            let node = |placed: &symphony_sdk::testing::Placed| placed.node().unwrap_or("nowhere").to_owned();
            placed.iter().map(node).collect()
        };
        let machine = Want::machine(3, 2 * GIB).disk(GIB);
        assert_eq!(nodes(machine.clone()), ["node-2", "node-2", "node-1", "node-1"]);
        assert_eq!(
            nodes(machine.prefer("gpu=yes")),
            ["node-3", "node-3", "node-2", "node-2"]
        );
    }

    #[test]
    fn keeps_the_contract() {
        Check::new(|| Binpack).cases(200).run();
    }
}
