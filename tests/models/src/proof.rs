//! A node that is fenced because its devices were seen to say that it is off.
//!
//! The protocol:
//!
//! - Whoever fences reads the node's record first, then asks all of the devices (two sockets here: the node has two supplies),
//!   has them cut the power, and asks them again. It writes the fence only if **each** of them said that it is off, **twice**,
//!   with nothing done in between, and only if the record is **as it was read before** any of them was asked.
//! - The node's agent changes the record when it has a session (again). Machines are started by orders in a session only, so a
//!   node that came up by itself runs none before.
//!
//! Somebody may turn a socket on at any time, and off, or an order to do so comes late; and what was seen may be as old as it
//! likes when the fence is written: whoever writes may have been frozen. Two sockets are never looked at in one moment. Who
//! looks once takes a node for off of which one socket was turned on and then the other off in the middle of the look; who looks
//! twice does so only if that is done a second time, back, in the middle of the second look. Here a socket is turned on once.
//!
//! Held in every state: the machine does not run on the node while it is started elsewhere.
//!
//! Left out: what becomes of orders that come late, and what a node that returns must do ([`crate::tenure`]).

use stateright::{Model, Property};

/// Name of the property that the machine runs once.
pub const ONCE: &str = "the machine runs on one node at most";

/// The protocol, rule by rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Whether the devices must have said so; otherwise that they were told to cut the power is enough.
    pub seen: bool,
    /// Whether all of them must; otherwise one is enough.
    pub all: bool,
    /// Whether they must twice; otherwise once is enough.
    pub twice: bool,
    /// Whether the fence compares the record with what was read.
    pub compares: bool,
    /// Whether that was read before the devices were asked, not after.
    pub reads_first: bool,
}

impl Rules {
    /// All of them.
    pub const ALL: Self = Self {
        seen: true,
        all: true,
        twice: true,
        compares: true,
        reads_first: true,
    };
}

/// The model.
#[derive(Debug, Clone, Copy)]
pub struct Proof {
    /// Which protocol.
    pub rules: Rules,
    /// How often the record may change.
    pub changes: u8,
    /// How often a socket may be turned on.
    pub turns: u8,
}

const SOCKETS: usize = 2;

/// What somebody who fences knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Pass {
    /// The record's revision, as it was read.
    pub read: u8,
    /// Which sockets were told to cut the power.
    pub told: [bool; SOCKETS],
    /// Which said that they have, in this look.
    pub seen: [bool; SOCKETS],
    /// How many looks showed that all have, one after the other.
    pub looks: u8,
}

/// All there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// How often the node's record changed.
    pub revision: u8,
    /// What the record says: its agent has a session, it is silent, or it is fenced.
    pub record: Record,
    /// Which sockets are off.
    pub cut: [bool; SOCKETS],
    /// How often one was turned on.
    pub turned: u8,
    /// Whether its agent has a session.
    pub session: bool,
    /// Whether the machine runs there.
    pub runs: bool,
    /// Whether it runs elsewhere.
    pub elsewhere: bool,
    /// Whoever fences it.
    pub pass: Option<Pass>,
}

/// What the node's record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Record {
    /// Its agent has a session.
    Ready,
    /// Nothing is heard of it.
    Unknown,
    /// It is off.
    Fenced,
}

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Its session is lost, and it goes on.
    Lose,
    /// It is missed.
    Miss,
    /// Its agent has a session (again).
    Connect,
    /// The machine is started there.
    Start,
    /// Somebody begins to fence it.
    Begin,
    /// A socket is told to cut the power, and does.
    Cut(usize),
    /// A socket is told to, and does nothing.
    Fail(usize),
    /// A socket says whether it has.
    Ask(usize),
    /// The fence is written.
    Fence,
    /// Whoever fences gives up.
    GiveUp,
    /// The machine is started elsewhere.
    Failover,
    /// Somebody turns a socket on.
    TurnOn(usize),
    /// Somebody turns one off, or an order of before comes late.
    TurnOff(usize),
}

impl Proof {
    fn change(&self, state: &mut State, record: Record) -> Option<()> {
        (state.revision < self.changes).then_some(())?;
        state.revision += 1;
        state.record = record;
        Some(())
    }

    /// Whether what is known is enough.
    fn is_proven(&self, pass: &Pass) -> bool {
        match self.rules.seen {
            true => pass.looks >= if self.rules.twice { 2 } else { 1 },
            false => pass.told.iter().all(|told| *told),
        }
    }

    /// A socket has said something.
    fn look(&self, pass: &mut Pass, socket: usize, is_off: bool) {
        if !is_off {
            (pass.seen, pass.looks) = ([false; SOCKETS], 0);
            return;
        }
        pass.seen[socket] = true;
        let is_over = match self.rules.all {
            true => pass.seen.iter().all(|seen| *seen),
            false => true,
        };
        if is_over {
            (pass.seen, pass.looks) = ([false; SOCKETS], (pass.looks + 1).min(2));
        }
    }
}

/// A socket is off from now on.
fn turn_off(state: &mut State, socket: usize) {
    state.cut[socket] = true;
    if !has_power(state) {
        (state.session, state.runs) = (false, false);
    }
}

fn has_power(state: &State) -> bool {
    state.cut.iter().any(|cut| !cut)
}

impl Model for Proof {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            revision: 0,
            record: Record::Ready,
            cut: [false; SOCKETS],
            turned: 0,
            session: true,
            runs: true,
            elsewhere: false,
            pass: None,
        }]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        actions.extend([
            Action::Lose,
            Action::Miss,
            Action::Connect,
            Action::Start,
            Action::Begin,
        ]);
        actions.extend([Action::Fence, Action::GiveUp, Action::Failover]);
        for socket in 0..SOCKETS {
            actions.extend([Action::Cut(socket), Action::Fail(socket), Action::Ask(socket)]);
            actions.extend([Action::TurnOn(socket), Action::TurnOff(socket)]);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Lose => std::mem::take(&mut state.session).then_some(())?,
            Action::Miss => {
                (state.record == Record::Ready && !state.session).then_some(())?;
                self.change(&mut state, Record::Unknown)?;
            }
            Action::Connect => {
                (has_power(&state) && !state.session).then_some(())?;
                // One that was fenced ends the machine before it gets work.
                state.runs &= state.record != Record::Fenced;
                self.change(&mut state, Record::Ready)?;
                state.session = true;
            }
            Action::Start => {
                (state.session && !state.runs && !state.elsewhere).then_some(())?;
                state.runs = true;
            }
            Action::Begin => {
                (state.pass.is_none() && state.record == Record::Unknown).then_some(())?;
                state.pass = Some(Pass {
                    read: state.revision,
                    ..Pass::default()
                });
            }
            Action::Cut(socket) | Action::Fail(socket) => {
                let pass = state.pass.as_mut()?;
                pass.told[socket] = true;
                (pass.seen, pass.looks) = ([false; SOCKETS], 0);
                if matches!(action, Action::Cut(_)) {
                    turn_off(&mut state, socket);
                }
            }
            Action::Ask(socket) => {
                let is_off = state.cut[socket];
                self.look(state.pass.as_mut()?, socket, is_off);
            }
            Action::Fence => {
                let pass = state.pass?;
                let is_same = !self.rules.reads_first || pass.read == state.revision;
                // The session is looked at as well; a record that is read after is as silent as it was before.
                let may = state.record == Record::Unknown && self.is_proven(&pass);
                (may && (is_same || !self.rules.compares)).then_some(())?;
                self.change(&mut state, Record::Fenced)?;
                state.pass = None;
            }
            Action::GiveUp => {
                state.pass.take()?;
            }
            Action::Failover => {
                (state.record == Record::Fenced && !state.elsewhere).then_some(())?;
                state.elsewhere = true;
            }
            Action::TurnOn(socket) => {
                (state.turned < self.turns && state.cut[socket]).then_some(())?;
                state.turned += 1;
                state.cut[socket] = false;
            }
            Action::TurnOff(socket) => turn_off(&mut state, socket),
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONCE, |_, state: &State| !(state.runs && state.elsewhere)),
            Property::sometimes("the machine runs elsewhere", |_, state: &State| state.elsewhere),
            Property::sometimes("a node that was being fenced runs it again", |_, state: &State| {
                state.pass.is_some() && state.session && state.runs && state.revision > 2
            }),
        ]
    }
}
