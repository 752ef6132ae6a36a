//! Where something goes, who said so, and why.

use serde::{Deserialize, Serialize};
use symphony_core::Timestamp;
use utoipa::ToSchema;
use uuid::Uuid;

/// Where a volume was placed, and by whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Placement {
    /// The node.
    pub node: String,
    /// The pool on it.
    pub pool: String,
    /// Bytes reserved there.
    pub claimed_bytes: u64,
    /// The score that the policy gave.
    pub score: f32,
    /// Who decided.
    pub decided_by: Decider,
    /// For display.
    #[schema(value_type = String, format = DateTime)]
    pub decided_at: Timestamp,
    /// The store's counter that the decision was made on.
    pub revision: u64,
}

/// The policy that made a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Decider {
    /// The plugin's name, or `built-in`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The component; absent for the built-in policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What failed, when the built-in policy stood in for a plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
}

/// What became of one candidate: one pool of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// The node.
    pub node: String,
    /// The pool on it.
    pub pool: String,
    /// Removed by a filter, or scored.
    pub outcome: Outcome,
    /// The sum of the parts; with `scored` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// What the score is made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<ScorePart>,
    /// The filter that removed it; with `removed` only, like all that follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What the request wants, where the filter compares numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<u64>,
    /// What the candidate has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<u64>,
    /// One line for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Removed by a filter, or scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A filter removed it.
    Removed,
    /// It was scored.
    Scored,
}

/// One part of a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScorePart {
    /// What it measures.
    pub name: String,
    /// How much it adds.
    pub value: f32,
}

/// Where a volume would go: the answer to a dry run. Nothing is reserved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// The node.
    pub node: String,
    /// The pool on it.
    pub pool: String,
    /// The score that the policy gave.
    pub score: f32,
    /// Who decided.
    pub decided_by: Decider,
    /// Every candidate's outcome.
    pub verdicts: Vec<Verdict>,
    /// The store's counter that the decision was made on.
    pub revision: u64,
}

/// Why a volume is where it is, or why it is nowhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The volume's name.
    pub volume: String,
    /// Its id.
    pub volume_id: Uuid,
    /// Whether this is what counted when it was placed, or what would count now.
    pub as_of: AsOf,
    /// Who decided.
    pub decided_by: Decider,
    /// The node that was chosen; absent when none takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The pool on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The score that the policy gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// Every candidate's outcome.
    pub verdicts: Vec<Verdict>,
    /// The store's counter that it is about.
    pub revision: u64,
}

/// Where a machine would go with all that belongs to it: the answer to a dry run. Nothing is reserved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MachinePreview {
    /// The node, with the pool that its new volumes go to.
    #[serde(flatten)]
    pub placement: Preview,
    /// Its volumes and ports.
    pub parts: Vec<Part>,
    /// What the agent of the node will do first, in order: those that follow depend on what is found there then.
    pub steps: Vec<PlannedStep>,
}

/// Why a machine is where it is, or nowhere, and how each of its parts is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MachineExplanation {
    /// The machine's name.
    pub machine: String,
    /// Its id.
    pub machine_id: Uuid,
    /// Whether this is what counted when it was placed, or what would count now.
    pub as_of: AsOf,
    /// Who decided.
    pub decided_by: Decider,
    /// The node that was chosen; absent when none takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The score that the policy gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// Every candidate's outcome.
    pub verdicts: Vec<Verdict>,
    /// Its volumes and ports.
    pub parts: Vec<Part>,
    /// The store's counter that it is about.
    pub revision: u64,
}

/// A volume or a port of a machine, in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Part {
    /// `volume` or `port`.
    pub kind: String,
    /// The volume's or the network's name.
    pub name: String,
    /// `new`, or what it is going through.
    pub state: String,
    /// One line for a person.
    pub detail: String,
}

/// One thing that an agent would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedStep {
    /// `volume`, `network` or `machine`.
    pub kind: String,
    /// The name of what it is done for.
    pub name: String,
    /// What, in a word.
    pub action: String,
}

/// The moment that an explanation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AsOf {
    /// When the volume was placed.
    Decision,
    /// Now.
    Now,
}
