//! Hello: the node whose name sorts last, solid state before all others.

use symphony_sdk::{Candidate, Policy, Request, Score};

/// The policy.
#[derive(Default)]
pub struct Hello;

impl Policy for Hello {
    const NAME: &'static str = "hello";

    fn score(&self, _request: &Request<'_>, node: &Candidate<'_>) -> Score {
        // The rows are sorted by name, so the last row has the last name.
        Score::part("last-name", node.row() as f32)
            .and("solid-state", if node.has_label("disk=ssd") { 1e6 } else { 0.0 })
    }
}

symphony_sdk::export_scheduler!(Hello);

#[test]
fn the_last_name_wins_unless_another_is_solid_state() {
    use symphony_sdk::testing::{Check, Cluster, Want};

    let cluster = Cluster::new()
        .pool("node-a", "default", 10, 10)
        .pool("node-b", "default", 99, 1);
    assert_eq!(cluster.place(Hello, &[Want::bytes(1)])[0].node(), Some("node-b"));
    let cluster = cluster.pool("node-0", "default", 10, 10).labels(&["disk=ssd"]);
    assert_eq!(cluster.place(Hello, &[Want::bytes(1)])[0].node(), Some("node-0"));
    Check::new(|| Hello).run();
}
