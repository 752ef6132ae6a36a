//! A volume that one node exports to another, and a move of the machine from one node to the next while the first can't
//! be reached.
//!
//! The protocol:
//!
//! - Each grant of the volume to a node has a **generation**, counted in the store. The export's name and key are made
//!   of it, so that a client of another generation finds nothing to connect to, also when it tries again by itself.
//! - The volume's node is told to serve a generation. Its agent writes the generation down (flushed) as the floor, then
//!   ends every older export with its connections, also those that an earlier life of the agent started, and only then
//!   starts the new one. It serves nothing below the floor.
//! - Ends and starts are two steps: the agent may die between them.
//!
//! Nobody asks the node that had the volume before: it may be cut off, and come back with a client that tries to connect
//! for ever. Orders to clients are delivered at any time.
//!
//! Held in every state: one node at most is connected; and what is written comes from a generation that no later one has
//! written before.
//!
//! Left out: that the *machine* may not run twice either ([`crate::tenure`] holds that: its agent must have answered, or
//! be off, before the volume is granted anew; here not even that is supposed).

use std::collections::BTreeSet;

use stateright::{Model, Property};

/// Name of the property that one node is connected.
pub const ONE_CONNECTED: &str = "one node at most is connected";
/// Name of the property that no old generation writes after a later one.
pub const IN_ORDER: &str = "no generation writes after a later one did";

/// The protocol, rule by rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Whether name and key are another for each generation.
    pub named: bool,
    /// Whether older exports end before the new one starts, not after.
    pub ends_first: bool,
    /// Whether they end at all.
    pub ends: bool,
    /// Whether the floor outlives the agent.
    pub durable: bool,
    /// Whether an agent finds the exports of its earlier life.
    pub adopts: bool,
}

impl Rules {
    /// All of them.
    pub const ALL: Self = Self {
        named: true,
        ends_first: true,
        ends: true,
        durable: true,
        adopts: true,
    };
}

/// The model.
#[derive(Debug, Clone, Copy)]
pub struct Export {
    /// Which protocol.
    pub rules: Rules,
    /// The last generation.
    pub generations: u8,
}

const NODES: [u8; 2] = [0, 1];

/// A process that serves the volume. It outlives the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serving {
    /// Of this generation.
    pub generation: u8,
    /// Whether the agent that lives now knows of it.
    pub known: bool,
}

/// A connection, as the export sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Connection {
    /// From this node.
    pub node: u8,
    /// To the export of this generation.
    pub generation: u8,
}

/// All there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The store: to whom each generation was granted, from generation 1 on.
    pub grants: Vec<u8>,
    /// Generations that the volume's node was told to serve; the orders arrive at any time, any number of times.
    pub orders: BTreeSet<u8>,
    /// The agent's floor.
    pub floor: u8,
    /// An order that it is at: the first of its two steps was done.
    pub between: Option<u8>,
    /// What serves.
    pub serving: BTreeSet<Serving>,
    /// Who is connected.
    pub connections: BTreeSet<Connection>,
    /// The latest generation that wrote.
    pub wrote: u8,
    /// Whether an older one wrote after it.
    pub out_of_order: bool,
}

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The volume is granted to a node.
    Grant(u8),
    /// The volume's node is told to serve the newest generation.
    Order,
    /// An order arrives.
    Serve(u8),
    /// Its second step.
    Finish,
    /// The agent of the volume's node dies and starts again.
    RestartAgent,
    /// The volume's node loses power; its agent starts again.
    PowerCut,
    /// A node connects with what it was once told: generation, and that of the export it reaches.
    Connect { node: u8, told: u8, reached: u8 },
    /// The network cuts a connection.
    Cut(Connection),
    /// A connection writes.
    Write(Connection),
}

impl Export {
    fn end_older(state: &mut State, generation: u8) {
        state
            .serving
            .retain(|serving| !serving.known || serving.generation >= generation);
        Self::drop_unserved(state);
    }

    fn drop_unserved(state: &mut State) {
        let served: BTreeSet<u8> = state.serving.iter().map(|serving| serving.generation).collect();
        state
            .connections
            .retain(|connection| served.contains(&connection.generation));
    }

    fn start(state: &mut State, generation: u8) {
        state.serving.retain(|serving| serving.generation != generation);
        state.serving.insert(Serving {
            generation,
            known: true,
        });
    }

    fn restart(&self, state: &mut State) {
        state.between = None;
        if !self.rules.durable {
            state.floor = 0;
        }
        let known = self.rules.adopts;
        state.serving = state
            .serving
            .iter()
            .map(|serving| Serving { known, ..*serving })
            .collect();
    }
}

impl Model for Export {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            grants: Vec::new(),
            orders: BTreeSet::new(),
            floor: 0,
            between: None,
            serving: BTreeSet::new(),
            connections: BTreeSet::new(),
            wrote: 0,
            out_of_order: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.grants.len() < usize::from(self.generations) {
            actions.extend(NODES.map(Action::Grant));
        }
        if !state.grants.is_empty() {
            actions.push(Action::Order);
        }
        if state.between.is_some() {
            actions.push(Action::Finish);
        } else {
            actions.extend(state.orders.iter().copied().map(Action::Serve));
        }
        actions.extend([Action::RestartAgent, Action::PowerCut]);
        for (told, node) in (1..).zip(&state.grants) {
            for serving in &state.serving {
                let reached = serving.generation;
                if !self.rules.named || told == reached {
                    actions.push(Action::Connect {
                        node: *node,
                        told,
                        reached,
                    });
                }
            }
        }
        for connection in &state.connections {
            actions.extend([Action::Cut(*connection), Action::Write(*connection)]);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Grant(node) => state.grants.push(node),
            Action::Order => {
                let newest = u8::try_from(state.grants.len()).ok()?;
                state.orders.insert(newest).then_some(())?;
            }
            Action::Serve(generation) => {
                if generation < state.floor {
                    return None;
                }
                state.floor = generation;
                state.between = Some(generation);
                if !self.rules.ends_first {
                    Self::start(&mut state, generation);
                } else if self.rules.ends {
                    Self::end_older(&mut state, generation);
                }
            }
            Action::Finish => {
                let generation = state.between.take()?;
                if self.rules.ends_first {
                    Self::start(&mut state, generation);
                } else if self.rules.ends {
                    Self::end_older(&mut state, generation);
                }
            }
            Action::RestartAgent => self.restart(&mut state),
            Action::PowerCut => {
                state.serving.clear();
                Self::drop_unserved(&mut state);
                self.restart(&mut state);
            }
            Action::Connect { node, reached, .. } => {
                let connection = Connection {
                    node,
                    generation: reached,
                };
                state.connections.insert(connection).then_some(())?;
            }
            Action::Cut(connection) => {
                state.connections.remove(&connection);
            }
            Action::Write(connection) => {
                // Which grant the bytes come from: the last that its node had.
                let granted = (1..)
                    .zip(&state.grants)
                    .filter(|(generation, node)| **node == connection.node && *generation <= connection.generation);
                let generation = granted.map(|(generation, _)| generation).last()?;
                state.out_of_order |= generation < state.wrote;
                state.wrote = state.wrote.max(generation);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_CONNECTED, |_, state: &State| {
                let nodes: BTreeSet<u8> = state.connections.iter().map(|connection| connection.node).collect();
                nodes.len() <= 1
            }),
            Property::always(IN_ORDER, |_, state: &State| !state.out_of_order),
            Property::sometimes(
                "the volume is written on another node after a move",
                |_, state: &State| state.grants.starts_with(&[0, 1]) && state.wrote == 2,
            ),
            Property::sometimes("and again on the first", |_, state: &State| {
                state.grants.starts_with(&[0, 1, 0]) && state.wrote == 3
            }),
        ]
    }
}
