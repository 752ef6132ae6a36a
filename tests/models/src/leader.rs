//! Managers that follow one another as leader, one of which may freeze for any time and then go on where it was.
//!
//! The protocol:
//!
//! - The leader's key has a lease. Whoever finds no key makes one, and in the same transaction the **epoch** is counted
//!   up. The key's create revision is the leader's **fence**.
//! - Every write of the loops compares the key's create revision with the one it was made with: not the leader's name,
//!   which may be the same again.
//! - Every call carries the epoch. An agent remembers the highest, flushed before it acts, and refuses smaller ones.
//!
//! The lease's end is a clock's matter, so here it comes at any time, and no manager ever learns of it by itself: that a
//! leader steps down when it could not renew makes the change quicker, not safer.
//!
//! Held in every state: nothing is written that was decided under an epoch before the present one, and no agent acts on
//! an epoch after a later one.

use std::collections::BTreeSet;

use stateright::{Model, Property};

/// Name of the property of writes.
pub const NO_STALE_WRITE: &str = "no write of an earlier leader comes after a later leader began";
/// Name of the property of calls.
pub const NO_STALE_ACT: &str = "no agent acts for an earlier leader after it heard a later one";
/// Name of the property of epochs.
pub const ONE_EACH: &str = "no two leaderships have one epoch";

/// What a write compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fence {
    /// Nothing: the manager believes that it leads.
    Belief,
    /// That the key names this manager.
    Name,
    /// That the key is the one it made.
    CreateRevision,
}

/// The protocol, rule by rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rules {
    /// What writes compare.
    pub fence: Fence,
    /// Whether the epoch is counted in the transaction that makes the key, not read before it.
    pub counted_with_key: bool,
    /// Whether agents refuse smaller epochs.
    pub agents_refuse: bool,
    /// Whether the highest epoch outlives the agent.
    pub durable: bool,
}

impl Rules {
    /// All of them.
    pub const ALL: Self = Self {
        fence: Fence::CreateRevision,
        counted_with_key: true,
        agents_refuse: true,
        durable: true,
    };
}

/// The model.
#[derive(Debug, Clone, Copy)]
pub struct Leader {
    /// Which protocol.
    pub rules: Rules,
    /// How many leaderships there are.
    pub leaderships: u8,
}

const MANAGERS: [u8; 2] = [0, 1];

/// That a manager leads, or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Leadership {
    /// Who.
    pub manager: u8,
    /// The create revision of its key.
    pub created: u8,
    /// Its epoch.
    pub epoch: u8,
}

/// All there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The store: the leader's key.
    pub key: Option<Leadership>,
    /// The store: keys made so far; stands for the revision.
    pub created: u8,
    /// The store: the epoch.
    pub epoch: u8,
    /// Each manager's belief.
    pub leads: [Option<Leadership>; 2],
    /// The epoch that each manager read, on its way to make a key with the next one.
    pub candidate: [Option<u8>; 2],
    /// Writes on their way to the store: whatever was decided once may arrive once, at any time.
    pub writes: BTreeSet<Leadership>,
    /// Calls on their way to the agent, for ever.
    pub calls: BTreeSet<Leadership>,
    /// The highest epoch that the agent remembers.
    pub heard: u8,
    /// The latest leadership that it acted for.
    pub acted: u8,
    /// The latest leadership whose write was done.
    pub wrote: u8,
    /// Epochs that were given out.
    pub epochs: Vec<u8>,
    /// Whether a write came too late.
    pub stale_write: bool,
    /// Whether a call did.
    pub stale_act: bool,
}

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A manager reads the epoch and finds no leader.
    Look(u8),
    /// It makes the key.
    Campaign(u8),
    /// The lease ends.
    Expire,
    /// A manager finds out that it does not lead.
    StepDown(u8),
    /// A manager that believes to lead decides on a write.
    Decide(u8),
    /// The write arrives.
    Commit(Leadership),
    /// A manager that believes to lead calls the agent.
    Call(u8),
    /// The call arrives.
    Act(Leadership),
    /// The agent starts again.
    RestartAgent,
}

impl Model for Leader {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            key: None,
            created: 0,
            epoch: 0,
            leads: [None; 2],
            candidate: [None; 2],
            writes: BTreeSet::new(),
            calls: BTreeSet::new(),
            heard: 0,
            acted: 0,
            wrote: 0,
            epochs: Vec::new(),
            stale_write: false,
            stale_act: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for manager in MANAGERS {
            let at = usize::from(manager);
            if let Some(leadership) = state.leads[at] {
                actions.extend([Action::Decide(manager), Action::Call(manager)]);
                if state.key != Some(leadership) {
                    actions.push(Action::StepDown(manager));
                }
            } else if state.candidate[at].is_some() {
                if state.key.is_none() && state.created < self.leaderships {
                    actions.push(Action::Campaign(manager));
                }
            } else if state.key.is_none() {
                actions.push(Action::Look(manager));
            }
        }
        if state.key.is_some() {
            actions.push(Action::Expire);
        }
        actions.extend(state.writes.iter().copied().map(Action::Commit));
        actions.extend(state.calls.iter().copied().map(Action::Act));
        actions.push(Action::RestartAgent);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Look(manager) => state.candidate[usize::from(manager)] = Some(state.epoch),
            Action::Campaign(manager) => {
                let read = state.candidate[usize::from(manager)].take()?;
                if self.rules.counted_with_key && read != state.epoch {
                    // The transaction compares the epoch that was read.
                    return Some(state);
                }
                state.created += 1;
                state.epoch = read + 1;
                let leadership = Leadership {
                    manager,
                    created: state.created,
                    epoch: state.epoch,
                };
                state.epochs.push(leadership.epoch);
                state.key = Some(leadership);
                state.leads[usize::from(manager)] = Some(leadership);
            }
            Action::Expire => state.key = None,
            Action::StepDown(manager) => state.leads[usize::from(manager)] = None,
            Action::Decide(manager) => {
                let leadership = state.leads[usize::from(manager)]?;
                state.writes.insert(leadership).then_some(())?;
            }
            Action::Commit(write) => {
                state.writes.remove(&write);
                let allowed = match (self.rules.fence, state.key) {
                    (Fence::Belief, _) => true,
                    (_, None) => false,
                    (Fence::Name, Some(key)) => key.manager == write.manager,
                    (Fence::CreateRevision, Some(key)) => key.created == write.created,
                };
                if allowed {
                    state.stale_write |= write.created < state.created;
                    state.wrote = state.wrote.max(write.created);
                }
            }
            Action::Call(manager) => {
                let leadership = state.leads[usize::from(manager)]?;
                state.calls.insert(leadership).then_some(())?;
            }
            Action::Act(call) => {
                if self.rules.agents_refuse && call.epoch < state.heard {
                    return None;
                }
                state.heard = state.heard.max(call.epoch);
                state.stale_act |= call.created < state.acted;
                state.acted = state.acted.max(call.created);
            }
            Action::RestartAgent => {
                if !self.rules.durable {
                    state.heard = 0;
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_STALE_WRITE, |_, state: &State| !state.stale_write),
            Property::always(NO_STALE_ACT, |_, state: &State| !state.stale_act),
            Property::always(ONE_EACH, |_, state: &State| {
                let different: BTreeSet<&u8> = state.epochs.iter().collect();
                different.len() == state.epochs.len()
            }),
            Property::sometimes("a manager leads twice, and writes each time", |_, state: &State| {
                state.wrote == 3 && state.leads[0].is_some_and(|lead| lead.created == 3)
            }),
            Property::sometimes("an agent acts for a second leader", |_, state: &State| state.acted >= 2),
            Property::sometimes("two believe to lead", |_, state: &State| {
                state.leads.iter().all(Option::is_some)
            }),
        ]
    }
}
