//! The driver against a simulated node: from every state that a kill or an accident can leave.

use symphony_sdk::ExportDriver;
use symphony_sdk::driver::export::{Fact, Intent, Served, ServingFact, Settings, Step};
use symphony_sdk::driver::{Goal, Refusal};

use crate::Nbd;

fn settings(generation: u64) -> Settings {
    Settings {
        pool: "default".to_owned(),
        name: format!("v1.{generation}"),
        generation,
        listen: "10.0.0.1".to_owned(),
        client: format!("n{generation}"),
    }
}

fn intent(goal: Goal, generation: u64) -> Intent {
    Intent {
        object: "v1".to_owned(),
        goal,
        settings: settings(generation),
    }
}

/// What a node keeps, and what runs on it.
#[derive(Debug, Clone, PartialEq)]
struct Node {
    floor: u64,
    served: Option<Settings>,
}

impl Node {
    fn facts(&self) -> Vec<Fact> {
        vec![Fact::Serving(ServingFact {
            object: "v1".to_owned(),
            floor: self.floor,
            served: self.served.clone().map(|settings| Served {
                settings,
                port: 1,
                connected: false,
            }),
        })]
    }

    /// Does one step as an agent does it; `cut`: it is killed once the floor is durable.
    fn run(&mut self, step: &Step, cut: bool) -> Result<(), String> {
        match step {
            Step::Serve(serve) => {
                if serve.settings.generation < self.floor {
                    return Err("over".to_owned());
                }
                self.floor = serve.settings.generation;
                if !cut {
                    self.served = Some(serve.settings.clone());
                }
            }
            Step::Stop(stop) => {
                self.floor = self.floor.max(stop.generation + 1);
                if !cut {
                    self.served = None;
                }
            }
        }
        Ok(())
    }
}

fn plan(intent: &Intent, node: &Node) -> Result<Vec<Step>, Refusal> {
    Nbd.plan(intent, &node.facts())
}

#[test]
fn every_state_leads_to_the_goal() {
    let intents: Vec<Intent> = (1..4)
        .flat_map(|generation| [Goal::Present, Goal::Absent].map(|goal| intent(goal, generation)))
        .collect();
    let mut states = vec![Node { floor: 0, served: None }];
    let mut next = 0;
    while next < states.len() {
        let state = states[next].clone();
        next += 1;
        // The server is killed by somebody.
        let mut reached = vec![Node {
            served: None,
            ..state.clone()
        }];
        for intent in &intents {
            let generation = intent.settings.generation;
            let steps = match plan(intent, &state) {
                Ok(steps) => steps,
                Err(refusal) => {
                    assert!(matches!(refusal, Refusal::Unavailable(_)), "{refusal:?}");
                    assert!(intent.goal == Goal::Present && state.floor > generation);
                    continue;
                }
            };
            for step in &steps {
                for cut in [true, false] {
                    let mut node = state.clone();
                    node.run(step, cut).unwrap();
                    assert!(node.floor >= state.floor, "a floor never falls");
                    let mut twice = node.clone();
                    twice.run(step, cut).unwrap();
                    assert_eq!(twice, node, "{step:?} is not safe to repeat");
                    if !cut {
                        assert_eq!(plan(intent, &node).unwrap(), [], "one plan is enough");
                        assert_eq!(
                            node.served.is_some(),
                            intent.goal == Goal::Present,
                            "{intent:?} from {state:?}"
                        );
                    }
                    reached.push(node);
                }
            }
        }
        for node in reached {
            if !states.contains(&node) {
                states.push(node);
            }
        }
    }
    assert!(states.len() > 8, "only {} states were reached", states.len());
}

#[test]
fn a_missing_fact_is_unknown_and_no_generation_is_invalid() {
    for goal in [Goal::Present, Goal::Absent] {
        assert!(matches!(Nbd.plan(&intent(goal, 1), &[]), Err(Refusal::Unavailable(_))));
    }
    let node = Node { floor: 0, served: None };
    assert!(matches!(
        plan(&intent(Goal::Present, 0), &node),
        Err(Refusal::Invalid(_))
    ));
}
