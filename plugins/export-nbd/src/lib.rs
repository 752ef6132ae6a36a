//! Volumes that machines on other nodes use, over NBD: one server for each, for one client, for one generation.
//!
//! A step of the agent's does all of it, so the plan is one step or none. What matters is the order over generations: what is
//! older than the intent is ended by serving what is newer, and a node that shows something newer is not asked to go back.

#[cfg(test)]
mod tests;

use symphony_sdk::ExportDriver;
use symphony_sdk::driver::export::{Fact, Intent, Probe, Serve, ServingFact, Step, Stop};
use symphony_sdk::driver::{Goal, Refusal};

/// The driver.
#[derive(Debug, Default)]
pub struct Nbd;

impl ExportDriver for Nbd {
    const NAME: &'static str = "nbd";

    fn probes(&self, intent: &Intent) -> Vec<Probe> {
        vec![Probe::Serving(intent.object.clone())]
    }

    fn plan(&self, intent: &Intent, facts: &[Fact]) -> Result<Vec<Step>, Refusal> {
        let fact = facts
            .iter()
            .map(|Fact::Serving(fact)| fact)
            .find(|fact| fact.object == intent.object);
        // A fact that was asked for and did not come: unknown is not absent.
        let fact = fact.ok_or_else(|| Refusal::Unavailable("the node did not report how it is served".to_owned()))?;
        match intent.goal {
            Goal::Present => serve(intent, fact),
            Goal::Absent => Ok(stop(intent, fact).into_iter().collect()),
        }
    }
}

symphony_sdk::export_export_driver!(Nbd);

fn serve(intent: &Intent, fact: &ServingFact) -> Result<Vec<Step>, Refusal> {
    let wanted = &intent.settings;
    if wanted.generation == 0 || wanted.name.is_empty() {
        return Err(Refusal::Invalid("an export has a generation and a name".to_owned()));
    }
    if fact.floor > wanted.generation {
        let (own, floor) = (wanted.generation, fact.floor);
        return Err(Refusal::Unavailable(format!(
            "generation {own} is over on its node, which serves nothing below {floor} any more"
        )));
    }
    if fact.served.as_ref().is_some_and(|served| served.settings == *wanted) {
        return Ok(Vec::new());
    }
    Ok(vec![Step::Serve(Serve {
        object: intent.object.clone(),
        settings: wanted.clone(),
    })])
}

fn stop(intent: &Intent, fact: &ServingFact) -> Option<Step> {
    let generation = intent.settings.generation;
    let is_over = fact.served.is_none() && fact.floor > generation;
    (!is_over).then(|| {
        Step::Stop(Stop {
            object: intent.object.clone(),
            generation,
        })
    })
}
