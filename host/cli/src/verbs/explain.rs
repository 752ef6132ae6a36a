//! `symphony explain`: why something is where it is, node by node.

use std::fmt::Write as _;

use clap::Subcommand;
use symphony_api::Client;
use symphony_api::v1::{AsOf, Explanation};

use crate::failure::Failure;
use crate::output::Output;
use crate::refusal::failure;
use crate::target::Target;
use crate::verbs::machine::plan;
use crate::verdicts;

/// Why something is where it is, or nowhere
#[derive(Debug, Subcommand)]
pub enum ExplainVerb {
    /// Say for each node and pool which filter removed it, with the numbers, or what its score is made of
    #[command(after_help = "Examples:\n  symphony explain volume data\n  symphony explain volume data -o json")]
    Volume {
        /// Name or id
        #[arg(value_name = "VOLUME")]
        volume: Target,
    },
    /// The same for a machine, and how each of its volumes and ports is
    #[command(
        visible_alias = "vm",
        after_help = "Examples:\n  symphony explain machine web1\n  symphony explain machine web1 -o json"
    )]
    Machine {
        /// Name or id
        #[arg(value_name = "MACHINE")]
        machine: Target,
    },
}

/// Explains a machine.
pub(crate) async fn machine(client: &Client, output: Output, machine: &Target) -> Result<(), Failure> {
    let explanation = client.explain_machine(machine.as_str()).await;
    let explanation = explanation.map_err(|error| failure(&format!("explain machine {machine}"), error))?;
    output.value(&explanation, &plan::explanation(&explanation), &explanation.machine)
}

/// Explains a volume.
pub(crate) async fn volume(client: &Client, output: Output, volume: &Target) -> Result<(), Failure> {
    let explanation = client.explain_volume(volume.as_str()).await;
    let explanation = explanation.map_err(|error| failure(&format!("explain volume {volume}"), error))?;
    output.value(&explanation, &text(&explanation), &explanation.volume)
}

fn text(explanation: &Explanation) -> String {
    let chosen = explanation.node.as_deref().zip(explanation.pool.as_deref());
    let mut text = match chosen {
        Some((node, pool)) => {
            let verb = if explanation.as_of == AsOf::Decision {
                "is on"
            } else {
                "would go to"
            };
            let score = explanation
                .score
                .map(|score| format!(", score {}", verdicts::score(score)))
                .unwrap_or_default();
            format!("volume {} {verb} {node} (pool {pool}){score}\n", explanation.volume)
        }
        None => format!("no node takes volume {}; it waits for room\n", explanation.volume),
    };
    let when = match explanation.as_of {
        AsOf::Decision => "when it was placed",
        AsOf::Now => "as it is now",
    };
    _ = writeln!(
        text,
        "decided by {} ({when}, revision {})\n",
        verdicts::decider(&explanation.decided_by),
        explanation.revision
    );
    text.push_str(&verdicts::table(&explanation.verdicts, chosen));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_decider_and_every_node() {
        let mut explanation: Explanation = serde_json::from_value(serde_json::json!({
            "volume": "data", "volume_id": "0192f0c1-2345-7abc-8def-0123456789ab", "as_of": "decision",
            "decided_by": {"name": "spread", "version": "0.1.0", "digest": format!("sha256:{}", "ab".repeat(32))},
            "node": "node-2", "pool": "default", "score": 0.5, "revision": 12,
            "verdicts": [
                {"node": "node-1", "pool": "default", "outcome": "removed", "filter": "capacity",
                    "wanted": 10_737_418_240_u64, "available": 1_073_741_824},
                {"node": "node-2", "pool": "default", "outcome": "scored", "score": 0.5, "parts": [{"name": "free", "value": 0.5}]},
            ],
        }))
        .unwrap();
        assert_eq!(
            text(&explanation),
            "volume data is on node-2 (pool default), score 0.5\n\
             decided by spread@0.1.0 sha256:abababababab (when it was placed, revision 12)\n\
             \n\
             NODE    POOL     OUTCOME  FILTER    WANTED  FREE  SCORE  WHY\n\
             node-1  default  removed  capacity  10GiB   1GiB  -      -\n\
             node-2  default  chosen   -         -       -     0.5    free 0.5\n"
        );
        (explanation.node, explanation.pool, explanation.as_of) = (None, None, AsOf::Now);
        assert!(text(&explanation).starts_with("no node takes volume data; it waits for room\n"));
    }
}
