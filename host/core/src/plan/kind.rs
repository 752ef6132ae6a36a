//! A kind of resource that drivers work on, and what is the same for all of them: probes and plans that passed a check.
//!
//! What differs from kind to kind is in the files beside this one. Nothing here knows which kinds there are.

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::plugin::Slot;

use super::{Goal, PROBES_MAX, PlanFault, STEPS_MAX};

/// A kind of resource that drivers work on.
pub trait Kind: Sized + Debug + Clone + PartialEq + Eq + Send + Sync + 'static {
    /// `volume`, `image`, `machine`, `network`, `export`, `fence`: also what the object of an agent's call starts with.
    const NAME: &'static str;
    /// The slot of its driver.
    const SLOT: Slot;

    /// What is wanted of one resource.
    type Intent: Clone + Debug + Send + Sync + 'static;
    /// A fact that a driver needs.
    type Probe: Clone + Debug + PartialEq + Eq + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What an agent saw.
    type Fact: Clone + Debug + PartialEq + Eq + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// One action of an agent.
    type Step: Clone + Debug + PartialEq + Eq + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What is known once the intent is met: the length of a volume; `()` for most.
    type Met;

    /// Whether the resource should be there.
    fn goal(intent: &Self::Intent) -> Goal;

    /// Whether a probe is on something of this resource.
    ///
    /// # Errors
    /// The foreign object.
    fn may_probe(intent: &Self::Intent, probe: &Self::Probe) -> Result<(), String>;

    /// What the host itself must see before it believes that the intent is met; added to a driver's probes.
    fn proof(intent: &Self::Intent) -> Vec<Self::Probe>;

    /// Checks steps: each is on what belongs to this resource, and works towards the goal. Their number was checked.
    ///
    /// # Errors
    /// The first thing that is wrong.
    fn check(intent: &Self::Intent, facts: &[Self::Fact], steps: &[Self::Step]) -> Result<(), PlanFault>;

    /// Whether the facts show that the intent is met, whatever the driver says.
    fn met(intent: &Self::Intent, facts: &[Self::Fact]) -> Option<Self::Met>;

    /// What a step does, in a word.
    fn action(step: &Self::Step) -> &'static str;
}

/// Probes that passed [`check_probes`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Probes<K: Kind>(Vec<K::Probe>);

/// A plan that passed [`check`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Plan<K: Kind>(Vec<K::Step>);

impl<K: Kind> Probes<K> {
    /// The probes.
    #[must_use]
    pub fn as_slice(&self) -> &[K::Probe] {
        &self.0
    }
}

impl<K: Kind> Plan<K> {
    /// The steps.
    #[must_use]
    pub fn steps(&self) -> &[K::Step] {
        &self.0
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Checks what a driver asks for: only what belongs to the intent, and not too much of it. The host's own proof is
/// added.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_probes<K: Kind>(intent: &K::Intent, mut probes: Vec<K::Probe>) -> Result<Probes<K>, PlanFault> {
    if probes.len() > PROBES_MAX {
        return Err(PlanFault::TooManyProbes(probes.len()));
    }
    for (step, probe) in probes.iter().enumerate() {
        K::may_probe(intent, probe).map_err(|object| PlanFault::ForeignObject { step, object })?;
    }
    for own in K::proof(intent) {
        if !probes.contains(&own) {
            probes.push(own);
        }
    }
    Ok(Probes(probes))
}

/// Checks a plan; see [`Kind::check`].
///
/// # Errors
/// The first thing that is wrong.
pub fn check<K: Kind>(intent: &K::Intent, facts: &[K::Fact], steps: Vec<K::Step>) -> Result<Plan<K>, PlanFault> {
    if steps.len() > STEPS_MAX {
        return Err(PlanFault::TooManySteps(steps.len()));
    }
    K::check(intent, facts, &steps)?;
    Ok(Plan(steps))
}
