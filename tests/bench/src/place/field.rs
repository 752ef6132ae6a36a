//! One set of pools, as the host's candidates and as the SDK's cluster: the same rows in the same order.

use std::sync::Arc;

use symphony_core::counter::Revision;
use symphony_core::place::{Candidate, Candidates, Request, Room};
use symphony_sdk::testing::{Cluster, Random, Want};

const GIB: u64 = 1 << 30;

/// The pools: all but one in fifty take new work; each is filled by chance and has two labels.
pub(crate) struct Field {
    pub(crate) candidates: Candidates,
    pub(crate) cluster: Cluster,
}

impl Field {
    /// So many nodes with a pool each.
    pub(crate) fn new(nodes: u64) -> Self {
        let mut random = Random::new(nodes);
        let mut cluster = Cluster::new();
        let mut rows = Vec::new();
        for number in 0..nodes {
            let node = format!("node-{number:06}");
            let (total, free) = (2_000 * GIB, random.below(2_000) * GIB);
            let labels = [format!("rack=r{}", number % 40), "disk=ssd".to_owned()];
            let schedulable = random.percent(98);
            cluster = cluster
                .pool(&node, "default", total, free)
                .labels(&[&labels[0], &labels[1]]);
            if !schedulable {
                cluster = cluster.cordoned();
            }
            rows.push(Candidate {
                node: node.parse().expect("it is a name"),
                pool: "default".parse().expect("it is a name"),
                schedulable,
                total_bytes: total,
                free_bytes: free,
                room: Room::default(),
                labels: Arc::new(labels.join(",").parse().expect("they are labels")),
            });
        }
        let candidates = Candidates::from_rows(Revision(1), rows);
        Self { candidates, cluster }
    }
}

/// The same requests for both sides.
pub(crate) struct Requests {
    pub(crate) of_host: Vec<Request>,
    pub(crate) of_sdk: Vec<Want>,
}

impl Requests {
    /// Requests of these sizes, anywhere.
    pub(crate) fn of_sizes(sizes: impl Iterator<Item = u64>) -> Self {
        let sizes: Vec<u64> = sizes.collect();
        let request = |disk_bytes: &u64| Request {
            disk_bytes: *disk_bytes,
            ..Request::default()
        };
        Self {
            of_host: sizes.iter().map(request).collect(),
            of_sdk: sizes.iter().map(|size| Want::bytes(*size)).collect(),
        }
    }
}
