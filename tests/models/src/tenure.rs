//! One machine (or volume), two nodes that may run it, and a network that keeps every message for ever and delivers it
//! at any time, any number of times, or never.
//!
//! The protocol, as the manager and the agents carry it out:
//!
//! - The machine's record has a **tenure**. It grows when the machine is placed and when it is released.
//! - Every call carries the tenure, and the node's **admission**, both as they were in the store together when the call
//!   was decided on. An agent does nothing for another admission than its own, and nothing below the object's **floor**:
//!   the highest tenure that it heard of, written down and flushed before it acts.
//! - To **release**, the store says so first (tenure + 1). The agent raises the floor, then stops the machine, then
//!   answers. Only the answer frees the machine for another node.
//! - A node that is silent is unknown, and nothing follows from that. A **fence** is somebody's word that the node is
//!   off: `Fenced`, admission + 1. What is placed on a fenced node may be released without its agent (tenure + 1), in a
//!   transaction that compares that the node *still is* fenced.
//! - A fenced node that is heard of again is written down as `Readmitting`; after that nothing of it is released without
//!   its agent. Then its placements are read, and it is told what it may **keep**, and with which tenures. It stops all
//!   else, raises the floors, writes down the admission, answers; the answer names the admission. Then it is `Ready`,
//!   and only then there are calls.
//! - A greeting says the agent's admission, and the answer the node's, as it was in the store when the greeting was
//!   written down there. An agent that just started does nothing before it heard that both are the same: else it would
//!   take an old call before it knows that it was fenced.
//! - An agent that lost what it wrote down says an older admission than the node's. It gets a new one in the same way.
//!
//! Held in every state: never two nodes that run the machine, and what runs is what the store says is placed there.
//!
//! Left out: epochs (see [`crate::leader`]); how the volume's bytes come to another node ([`crate::export`]); an
//! operator whose word is wrong (what it must not run, a returning agent stops all the same). A machine that ends by itself adds nothing that a cut of the power does not do.

use std::collections::BTreeSet;

use stateright::{Model, Property};

/// Name of the property that no two nodes run the machine.
pub const ONE_RUNS: &str = "the machine runs on one node at most";
/// Name of the property that what runs is placed.
pub const RUNS_AS_PLACED: &str = "what runs is placed there";

/// When a release raises the floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Raise {
    /// Never: only a start does.
    Never,
    /// After the machine was stopped.
    AfterStop,
    /// Before.
    BeforeStop,
}

/// What allows to place the machine elsewhere without its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failover {
    /// Nothing does.
    Never,
    /// The node was not heard of for a while.
    Silence,
    /// The node is off.
    Proof,
}

/// The protocol, rule by rule, so that each can be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rules {
    /// When a release raises the floor.
    pub raise: Raise,
    /// Whether floors and admission outlive the agent.
    pub durable: bool,
    /// What allows a failover.
    pub failover: Failover,
    /// Whether a fenced node is told what to keep before it is ready.
    pub readmission: bool,
    /// Whether calls carry the admission, and agents compare it.
    pub stamped: bool,
    /// Whether an agent that started waits for the node's admission.
    pub waits: bool,
    /// Whether a release without the agent compares that the node is fenced.
    pub release_compares: bool,
    /// Whether an agent that lost its ledger gets a new admission.
    pub lost_is_noticed: bool,
}

impl Rules {
    /// All of them.
    pub const ALL: Self = Self {
        raise: Raise::BeforeStop,
        durable: true,
        failover: Failover::Proof,
        readmission: true,
        stamped: true,
        waits: true,
        release_compares: true,
        lost_is_noticed: true,
    };
}

/// How far the search goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// The last tenure.
    pub tenure: u8,
    /// The last admission.
    pub admission: u8,
    /// How many ledgers are lost.
    pub losses: u8,
    /// Whether agents restart by themselves, apart from cuts of the power.
    pub restarts: bool,
}

/// The model.
#[derive(Debug, Clone, Copy)]
pub struct Tenure {
    /// Which protocol.
    pub rules: Rules,
    /// How far.
    pub bounds: Bounds,
}

/// One of the two.
pub type NodeNo = u8;
const NODES: [NodeNo; 2] = [0, 1];

/// What the store knows of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Gets work. Whether it is heard of does not matter.
    Ready,
    /// Somebody said that it is off.
    Fenced,
    /// Was heard of after that.
    Readmitting,
}

/// What is on its way; it stays there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Message {
    /// Run the machine.
    Start { node: NodeNo, tenure: u8, admission: u8 },
    /// Stop it, for ever as far as older tenures go.
    Release { node: NodeNo, tenure: u8, admission: u8 },
    /// It was stopped.
    Released { node: NodeNo, tenure: u8 },
    /// What to keep: the machine's tenure, when it is placed there.
    Readmit {
        node: NodeNo,
        admission: u8,
        keep: Option<u8>,
    },
    /// Everything else was stopped.
    Readmitted { node: NodeNo, admission: u8 },
}

/// A server and its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Server {
    /// Whether it has power.
    pub on: bool,
    /// Whether it runs the machine.
    pub runs: bool,
    /// The agent's floor of the machine.
    pub floor: u8,
    /// The agent's admission.
    pub admission: u8,
    /// The node's admission, as the agent heard since it started.
    pub heard: Option<u8>,
    /// A release that the agent is at: the first of its two steps was done.
    pub releasing: Option<u8>,
}

/// All there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The store: phase and admission of each node.
    pub nodes: [(Phase, u8); 2],
    /// The store: where the machine is placed.
    pub placed: Option<NodeNo>,
    /// The store: whether it is to go from there.
    pub releasing: bool,
    /// The store: the machine's tenure.
    pub tenure: u8,
    /// The world.
    pub servers: [Server; 2],
    /// The network.
    pub sent: BTreeSet<Message>,
    /// Ledgers that were lost.
    pub losses: u8,
}

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The machine is placed.
    Place(NodeNo),
    /// The node that has it is told to run it.
    SendStart,
    /// The machine is to leave its node.
    WantRelease,
    /// Its agent is told.
    SendRelease,
    /// A message arrives.
    Deliver(Message),
    /// The second step of a release.
    FinishRelease(NodeNo),
    /// The agent ends and starts again; what it runs goes on.
    RestartAgent(NodeNo),
    /// What the agent wrote down is gone, and it starts again.
    LoseLedger(NodeNo),
    /// A power cut.
    PowerOff(NodeNo),
    /// Power is back, and the agent starts.
    PowerOn(NodeNo),
    /// The node is fenced.
    Fence(NodeNo),
    /// The machine is released without its agent.
    ReleaseFenced,
    /// A fenced node is heard of; also by a greeting from before the fence that comes late.
    Return(NodeNo),
    /// An agent that started greets.
    Greet(NodeNo),
    /// It is told what to keep.
    SendReadmit(NodeNo),
}

impl Tenure {
    fn keep(state: &State, node: NodeNo) -> Option<u8> {
        (state.placed == Some(node)).then_some(state.tenure)
    }

    /// Whether the agent listens to calls with this stamp.
    fn admits(&self, server: &Server, admission: u8) -> bool {
        let settled = !self.rules.waits || server.heard == Some(server.admission);
        settled && (!self.rules.stamped || server.admission == admission)
    }

    fn deliver(&self, state: &mut State, message: Message) -> Option<()> {
        match message {
            Message::Start {
                node,
                tenure,
                admission,
            } => {
                let server = &mut state.servers[usize::from(node)];
                if !server.on || !self.admits(server, admission) || tenure < server.floor || server.runs {
                    return None;
                }
                server.floor = tenure;
                server.runs = true;
            }
            Message::Release {
                node,
                tenure,
                admission,
            } => {
                let server = &mut state.servers[usize::from(node)];
                if !server.on || !self.admits(server, admission) || tenure < server.floor || server.releasing.is_some()
                {
                    return None;
                }
                match self.rules.raise {
                    Raise::BeforeStop => server.floor = tenure,
                    Raise::AfterStop | Raise::Never => server.runs = false,
                }
                server.releasing = Some(tenure);
            }
            Message::Released { node, tenure } => {
                if state.placed != Some(node) || !state.releasing || state.tenure != tenure {
                    return None;
                }
                (state.placed, state.releasing) = (None, false);
            }
            Message::Readmit { node, admission, keep } => {
                let server = &mut state.servers[usize::from(node)];
                let meant = !self.rules.waits || server.heard == Some(admission);
                if !server.on || !meant || admission <= server.admission {
                    return None;
                }
                server.runs &= keep.is_some();
                server.floor = server.floor.max(keep.unwrap_or(0));
                server.admission = admission;
                server.releasing = None;
                state.sent.insert(Message::Readmitted { node, admission });
            }
            Message::Readmitted { node, admission } => {
                let (phase, current) = &mut state.nodes[usize::from(node)];
                if *phase != Phase::Readmitting || *current != admission {
                    return None;
                }
                *phase = Phase::Ready;
            }
        }
        Some(())
    }

    /// What a manager does.
    fn manage(&self, state: &mut State, action: Action) -> Option<()> {
        let stamp = |state: &State, node: NodeNo| state.nodes[usize::from(node)].1;
        match action {
            Action::Place(node) => {
                (state.placed, state.releasing) = (Some(node), false);
                state.tenure += 1;
            }
            Action::SendStart => {
                let node = state.placed?;
                let (tenure, admission) = (state.tenure, stamp(state, node));
                state
                    .sent
                    .insert(Message::Start {
                        node,
                        tenure,
                        admission,
                    })
                    .then_some(())?;
            }
            Action::WantRelease => {
                state.releasing = true;
                state.tenure += 1;
            }
            Action::SendRelease => {
                let node = state.placed?;
                let (tenure, admission) = (state.tenure, stamp(state, node));
                state
                    .sent
                    .insert(Message::Release {
                        node,
                        tenure,
                        admission,
                    })
                    .then_some(())?;
            }
            Action::Fence(node) => {
                let node = &mut state.nodes[usize::from(node)];
                *node = (Phase::Fenced, node.1 + 1);
            }
            Action::ReleaseFenced => {
                (state.placed, state.releasing) = (None, false);
                state.tenure += 1;
            }
            Action::Return(node) => {
                let entry = &mut state.nodes[usize::from(node)];
                entry.0 = if self.rules.readmission {
                    Phase::Readmitting
                } else {
                    Phase::Ready
                };
            }
            Action::Greet(node) => {
                let (phase, admission) = &mut state.nodes[usize::from(node)];
                let server = &mut state.servers[usize::from(node)];
                if *phase == Phase::Fenced {
                    *phase = Phase::Readmitting;
                }
                if *phase == Phase::Ready && server.admission < *admission {
                    if self.rules.lost_is_noticed {
                        *phase = Phase::Readmitting;
                        *admission += 1;
                    } else {
                        server.admission = *admission;
                    }
                }
                server.heard = Some(*admission);
            }
            Action::SendReadmit(node) => {
                let admission = stamp(state, node);
                let keep = Self::keep(state, node);
                state
                    .sent
                    .insert(Message::Readmit { node, admission, keep })
                    .then_some(())?;
            }
            _ => return None,
        }
        Some(())
    }

    fn manager_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let phase = |node: NodeNo| state.nodes[usize::from(node)].0;
        let more_tenures = state.tenure < self.bounds.tenure;
        match state.placed {
            None if more_tenures => {
                actions.extend(
                    NODES
                        .into_iter()
                        .filter(|node| phase(*node) == Phase::Ready)
                        .map(Action::Place),
                );
            }
            Some(node) if phase(node) == Phase::Ready => {
                if state.releasing {
                    actions.push(Action::SendRelease);
                } else {
                    actions.push(Action::SendStart);
                    if more_tenures {
                        actions.push(Action::WantRelease);
                    }
                }
            }
            _ => {}
        }
        if let Some(node) = state.placed
            && more_tenures
        {
            let (phase, admission) = state.nodes[usize::from(node)];
            // Without the compare, a manager that saw it fenced once goes on.
            if phase == Phase::Fenced || (!self.rules.release_compares && admission > 1) {
                actions.push(Action::ReleaseFenced);
            }
        }
        for node in NODES {
            let (phase, admission) = state.nodes[usize::from(node)];
            let server = &state.servers[usize::from(node)];
            let allowed = match self.rules.failover {
                Failover::Never => false,
                Failover::Silence => true,
                Failover::Proof => !server.on,
            };
            if allowed && phase != Phase::Fenced && admission < self.bounds.admission {
                actions.push(Action::Fence(node));
            }
            if phase == Phase::Fenced {
                actions.push(Action::Return(node));
            }
            if server.on && server.heard.is_none() && self.rules.waits {
                actions.push(Action::Greet(node));
            }
            if phase == Phase::Readmitting {
                actions.push(Action::SendReadmit(node));
            }
        }
    }
}

impl Model for Tenure {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let server = Server {
            on: true,
            runs: false,
            floor: 0,
            admission: 1,
            heard: Some(1),
            releasing: None,
        };
        vec![State {
            nodes: [(Phase::Ready, 1); 2],
            placed: None,
            releasing: false,
            tenure: 0,
            servers: [server; 2],
            sent: BTreeSet::new(),
            losses: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.manager_actions(state, actions);
        actions.extend(state.sent.iter().copied().map(Action::Deliver));
        for node in NODES {
            let server = &state.servers[usize::from(node)];
            if !server.on {
                actions.push(Action::PowerOn(node));
                continue;
            }
            actions.push(Action::PowerOff(node));
            if server.releasing.is_some() {
                actions.push(Action::FinishRelease(node));
            }
            if self.bounds.restarts {
                actions.push(Action::RestartAgent(node));
            }
            if state.losses < self.bounds.losses {
                actions.push(Action::LoseLedger(node));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Deliver(message) => self.deliver(&mut state, message)?,
            Action::FinishRelease(node) => {
                let server = &mut state.servers[usize::from(node)];
                let tenure = server.releasing.take()?;
                match self.rules.raise {
                    Raise::BeforeStop => server.runs = false,
                    Raise::AfterStop => server.floor = server.floor.max(tenure),
                    Raise::Never => {}
                }
                state.sent.insert(Message::Released { node, tenure });
            }
            Action::RestartAgent(node) => {
                let server = &mut state.servers[usize::from(node)];
                (server.releasing, server.heard) = (None, None);
                if !self.rules.durable {
                    server.floor = 0;
                }
            }
            Action::LoseLedger(node) => {
                state.losses += 1;
                let server = &mut state.servers[usize::from(node)];
                (server.releasing, server.heard) = (None, None);
                (server.floor, server.admission) = (0, 0);
            }
            Action::PowerOff(node) => {
                let server = &mut state.servers[usize::from(node)];
                (server.on, server.runs) = (false, false);
                (server.releasing, server.heard) = (None, None);
                if !self.rules.durable {
                    server.floor = 0;
                }
            }
            Action::PowerOn(node) => state.servers[usize::from(node)].on = true,
            action => self.manage(&mut state, action)?,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(ONE_RUNS, |_, state: &State| {
                state.servers.iter().filter(|server| server.runs).count() <= 1
            }),
            Property::always(RUNS_AS_PLACED, |_, state: &State| {
                NODES
                    .into_iter()
                    .all(|node| !state.servers[usize::from(node)].runs || state.placed == Some(node))
            }),
            Property::sometimes("it runs after it moved", |_, state: &State| {
                state.tenure >= 3 && state.servers.iter().any(|server| server.runs)
            }),
        ];
        if self.rules.failover != Failover::Never {
            properties.push(Property::sometimes(
                "it runs elsewhere after a fence",
                |_, state: &State| state.nodes[0].0 == Phase::Fenced && state.servers[1].runs,
            ));
            properties.push(Property::sometimes(
                "a fenced node runs it again",
                |_, state: &State| state.nodes[0] == (Phase::Ready, 2) && state.servers[0].runs,
            ));
        }
        properties
    }
}
