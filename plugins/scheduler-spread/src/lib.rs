//! Spread: the pool with the most free space first, so that load and failures are shared by many nodes.
//!
//! Compares bytes, not fractions: a large pool takes more before a small one takes any. For machines the memory that is
//! left counts as well; nodes with the labels that a request prefers come before all others.

use symphony_sdk::{Candidate, Policy, Request, Score};

/// The policy.
#[derive(Debug, Default)]
pub struct Spread;

impl Policy for Spread {
    const NAME: &'static str = "spread";

    /// The GiB that are left once the request is placed. An f32 keeps pools a MiB apart up to 16 TiB of free space.
    #[inline(always)]
    fn score(&self, request: &Request<'_>, node: &Candidate<'_>) -> Score {
        let score = Score::part("free-gib", gib(node.disk_free().saturating_sub(request.disk_bytes())));
        let score = if request.is_for_machine() {
            let memory = node.memory_free().saturating_sub(request.memory_bytes());
            score.and("memory-gib", gib(memory))
        } else {
            score
        };
        score.and_preferred(request, node, PREFERRED)
    }
}

/// What a preferred label is worth: more than any room.
const PREFERRED: f32 = 1e7;

#[inline(always)]
fn gib(bytes: u64) -> f32 {
    bytes.cast_signed() as f32 / (1_u64 << 30) as f32
}

symphony_sdk::export_scheduler!(Spread);

#[cfg(test)]
mod tests {
    use symphony_sdk::testing::{Check, Cluster, Placed, Want};

    use super::Spread;

    const GIB: u64 = 1 << 30;

    fn nodes(cluster: &Cluster, wants: &[Want]) -> Vec<String> {
        let placed = cluster.place(Spread, wants);
        placed
            .iter()
            .map(|placed| placed.node().unwrap_or("nowhere").to_owned())
            .collect()
    }

    #[test]
    fn the_most_free_comes_first_and_each_request_sees_those_before_it() {
        let cluster = Cluster::new()
            .pool("node-1", "default", 100 * GIB, 10 * GIB)
            .pool("node-2", "default", 100 * GIB, 12 * GIB)
            .pool("node-3", "default", 100 * GIB, 11 * GIB);
        let wants = vec![Want::bytes(2 * GIB); 5];
        assert_eq!(
            nodes(&cluster, &wants),
            ["node-2", "node-3", "node-1", "node-2", "node-3"]
        );
    }

    #[test]
    fn equal_pools_are_filled_in_order_of_their_names() {
        let cluster = Cluster::new()
            .pool("b", "default", GIB, GIB)
            .pool("a", "default", GIB, GIB);
        assert_eq!(nodes(&cluster, &[Want::bytes(512), Want::bytes(512)]), ["a", "b"]);
    }

    #[test]
    fn what_does_not_fit_is_counted_by_filter() {
        let cluster = Cluster::new()
            .pool("node-1", "default", GIB, GIB)
            .pool("node-2", "default", GIB, GIB / 2)
            .pool("node-3", "default", 9 * GIB, 9 * GIB)
            .cordoned();
        let placed = cluster.place(Spread, &[Want::bytes(2 * GIB)]);
        let Placed::Nowhere(removed) = &placed[0] else {
            panic!("{placed:?}")
        };
        let removed: Vec<_> = removed
            .iter()
            .map(|entry| (entry.filter.as_str(), entry.rows))
            .collect();
        assert_eq!(removed, [("disk.free", 2), ("schedulable", 1)]);
    }

    #[test]
    fn machines_go_where_most_memory_is_left_and_where_they_rather_are() {
        let node = |cluster: Cluster, name, memory| {
            cluster
                .pool(name, "default", 9 * GIB, 9 * GIB)
                .cpus(8, 8)
                .memory(64 * GIB, memory)
        };
        let cluster = node(node(Cluster::new(), "node-1", 8 * GIB), "node-2", 12 * GIB).labels(&["gpu=yes"]);
        let cluster = node(cluster, "node-3", 11 * GIB).pool("node-4", "default", 99 * GIB, 99 * GIB);
        let machine = Want::machine(2, 2 * GIB);
        assert_eq!(
            nodes(&cluster, &vec![machine.clone(); 5]),
            ["node-2", "node-3", "node-2", "node-3", "node-1"]
        );
        // Four have the processors of the one node that they prefer.
        let placed = nodes(&cluster, &vec![machine.prefer("gpu=yes"); 5]);
        assert_eq!(placed, ["node-2", "node-2", "node-2", "node-2", "node-3"]);
    }

    #[test]
    fn keeps_the_contract() {
        Check::new(|| Spread).cases(200).run();
    }
}
