//! From the records of the core to the objects on the wire. Never the other way: input is checked where it comes in.

mod machine;
mod placement;
mod resource;
mod token;

pub use machine::{machine, network};
pub use placement::{decider, explanation_of_decision, verdict, verdicts};
pub use resource::{asked_power, event, image, node, plugin, service, slot, volume};
pub use token::{exceeded, project, token};

use symphony_core::condition::{Conditions, Truth};
use symphony_core::labels::Labels;
use symphony_core::meta::Meta;
use uuid::Uuid;

use crate::v1;

fn labels(labels: &Labels) -> v1::Labels {
    labels
        .iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn meta<Id>(meta: &Meta<Id>, id: Uuid, revision: u64) -> v1::Metadata {
    v1::Metadata {
        id,
        name: meta.name.to_string(),
        project: meta.project.to_string(),
        labels: labels(&meta.labels),
        generation: meta.generation.0,
        revision,
        created_at: meta.created_at,
        deleting_since: meta.deleting_since,
    }
}

fn condition(condition: &symphony_core::condition::Condition) -> v1::Condition {
    v1::Condition {
        kind: condition.kind.clone(),
        status: match condition.truth {
            Truth::True => v1::Truth::True,
            Truth::False => v1::Truth::False,
            Truth::Unknown => v1::Truth::Unknown,
        },
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        since: condition.since,
    }
}

fn conditions(conditions: &Conditions) -> Vec<v1::Condition> {
    conditions.iter().map(condition).collect()
}
