//! Exports: the intent, the facts and the steps of `wit/export-driver.wit`, and the check on a plan. Keys are not part of
//! it: they go from the manager to the agent, and no plugin sees them.

use serde::{Deserialize, Serialize};

use crate::export::{Export, Writer};
use crate::name::Name;
use crate::plugin::Slot;

use super::{Goal, Kind, PlanFault};

/// The kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exports;

/// What is wanted of one volume's export on its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The volume's object on the node.
    pub object: String,
    /// Whether it should be served. Absent: this generation and all before it are over.
    pub goal: Goal,
    /// How it is served, or was.
    pub settings: Settings,
}

/// How a volume is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The pool that it is in.
    pub pool: String,
    /// The export's name; another one for each generation.
    pub name: String,
    /// The generation.
    pub generation: u64,
    /// The address of this node that it is served at.
    pub listen: String,
    /// The node that may connect.
    pub client: String,
}

/// A fact that a driver needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// How a volume is served.
    Serving(String),
}

/// A volume that is served now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// How.
    pub settings: Settings,
    /// At which TCP port.
    pub port: u16,
    /// Whether somebody is connected.
    pub connected: bool,
}

/// What there is of a volume's export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServingFact {
    /// Which volume's.
    pub object: String,
    /// The lowest generation that the node would still serve.
    pub floor: u64,
    /// What is served now.
    pub served: Option<Served>,
}

/// What an agent saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// Of an export.
    Serving(ServingFact),
}

/// One action of an agent; see `wit/export-driver.wit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Serves it so, and no older generation any more.
    Serve {
        /// Which volume.
        object: String,
        /// How.
        settings: Settings,
    },
    /// Ends this generation and all before it, for ever.
    Stop {
        /// Which volume.
        object: String,
        /// The last that is over.
        generation: u64,
    },
}

impl Step {
    /// What it does, in a word.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Serve { .. } => "serve",
            Self::Stop { .. } => "stop",
        }
    }

    /// The volume that it is on.
    #[must_use]
    pub fn object(&self) -> &str {
        match self {
            Self::Serve { object, .. } | Self::Stop { object, .. } => object,
        }
    }
}

impl Intent {
    /// Of a record; `writer` is the one that may write now, or may not any more.
    #[must_use]
    pub fn of(export: &Export, goal: Goal, writer: &Writer, pool: &Name, listen: &str) -> Self {
        Self {
            object: export.volume.to_string(),
            goal,
            settings: Settings {
                pool: pool.to_string(),
                name: export.name(),
                generation: export.generation.0,
                listen: listen.to_owned(),
                client: writer.node.to_string(),
            },
        }
    }
}

impl Kind for Exports {
    const NAME: &'static str = "export";
    const SLOT: Slot = Slot::ExportDriver;

    type Intent = Intent;
    type Probe = Probe;
    type Fact = Fact;
    type Step = Step;
    /// How it is served; nothing when it is over.
    type Met = Option<Served>;

    fn goal(intent: &Intent) -> Goal {
        intent.goal
    }

    fn may_probe(intent: &Intent, probe: &Probe) -> Result<(), String> {
        let Probe::Serving(object) = probe;
        if *object == intent.object {
            Ok(())
        } else {
            Err(object.clone())
        }
    }

    fn proof(intent: &Intent) -> Vec<Probe> {
        vec![Probe::Serving(intent.object.clone())]
    }

    /// A volume is served as the intent says or not at all, and only what is over is ended.
    fn check(intent: &Intent, _: &[Fact], steps: &[Step]) -> Result<(), PlanFault> {
        for (position, step) in steps.iter().enumerate() {
            if step.object() != intent.object {
                return Err(PlanFault::ForeignObject {
                    step: position,
                    object: step.object().to_owned(),
                });
            }
            let own = intent.settings.generation;
            let is_right = match step {
                Step::Serve { settings, .. } => intent.goal == Goal::Present && *settings == intent.settings,
                Step::Stop { generation, .. } => match intent.goal {
                    Goal::Present => *generation < own,
                    Goal::Absent => *generation <= own,
                },
            };
            if !is_right {
                return Err(PlanFault::AgainstIntent {
                    step: position,
                    action: step.action(),
                });
            }
        }
        Ok(())
    }

    fn met(intent: &Intent, facts: &[Fact]) -> Option<Option<Served>> {
        let fact = facts
            .iter()
            .map(|Fact::Serving(fact)| fact)
            .find(|fact| fact.object == intent.object)?;
        match (intent.goal, &fact.served) {
            (Goal::Present, Some(served)) => (served.settings == intent.settings).then(|| Some(served.clone())),
            (Goal::Present, None) | (Goal::Absent, Some(_)) => None,
            (Goal::Absent, None) => (fact.floor > intent.settings.generation).then_some(None),
        }
    }

    fn action(step: &Step) -> &'static str {
        step.action()
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    fn intent(goal: Goal) -> Intent {
        Intent {
            object: "v".to_owned(),
            goal,
            settings: Settings {
                pool: "p".to_owned(),
                name: "v.3".to_owned(),
                generation: 3,
                listen: "10.0.0.1".to_owned(),
                client: "n2".to_owned(),
            },
        }
    }

    fn serve(change: impl FnOnce(&mut Settings)) -> Step {
        let mut settings = intent(Goal::Present).settings;
        change(&mut settings);
        Step::Serve {
            object: "v".to_owned(),
            settings,
        }
    }

    fn stop(generation: u64) -> Step {
        Step::Stop {
            object: "v".to_owned(),
            generation,
        }
    }

    fn may(goal: Goal, step: Step) -> bool {
        check::<Exports>(&intent(goal), &[], vec![step]).is_ok()
    }

    #[test]
    fn a_driver_serves_what_it_was_given_or_nothing() {
        assert!(may(Goal::Present, serve(|_| {})));
        for wrong in [
            serve(|settings| settings.generation = 2),
            serve(|settings| settings.name = "v.2".to_owned()),
            serve(|settings| settings.listen = "0.0.0.0".to_owned()),
            serve(|settings| settings.client = "n3".to_owned()),
            serve(|settings| settings.pool = "q".to_owned()),
            Step::Serve {
                object: "w".to_owned(),
                settings: intent(Goal::Present).settings,
            },
            stop(3),
        ] {
            assert!(!may(Goal::Present, wrong.clone()), "{wrong:?}");
        }
        assert!(may(Goal::Present, stop(2)));
        assert!(!may(Goal::Absent, serve(|_| {})));
        assert!(may(Goal::Absent, stop(3)) && !may(Goal::Absent, stop(4)));
    }

    #[test]
    fn met_is_what_the_facts_show() {
        let fact = |floor, served| {
            vec![Fact::Serving(ServingFact {
                object: "v".to_owned(),
                floor,
                served,
            })]
        };
        let served = Served {
            settings: intent(Goal::Present).settings,
            port: 7,
            connected: true,
        };
        let mut old = served.clone();
        old.settings.generation = 2;
        let present = intent(Goal::Present);
        assert_eq!(
            Exports::met(&present, &fact(3, Some(served.clone()))),
            Some(Some(served.clone()))
        );
        for facts in [fact(3, None), fact(2, Some(old)), vec![]] {
            assert_eq!(Exports::met(&present, &facts), None);
        }
        let absent = intent(Goal::Absent);
        assert_eq!(Exports::met(&absent, &fact(4, None)), Some(None));
        // Nothing is served now, and the node would serve it again: not over.
        for facts in [fact(3, None), fact(4, Some(served)), vec![]] {
            assert_eq!(Exports::met(&absent, &facts), None);
        }
    }
}
