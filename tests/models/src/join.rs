//! A join token, a name in the cluster, and two who want to be it: the one that is meant, and one that has copied the
//! token or, later, the certificate. Two managers serve them.
//!
//! The protocol:
//!
//! - A token is used up in the transaction that makes the **enrolment**; the transaction compares the token as it was
//!   read, and that the name is not enrolled.
//! - The enrolment lists the serial numbers of the member's certificates. A certificate counts while an enrolment of its
//!   name lists it, whatever the authority signed: a list of who may, not of who may not.
//! - A renewal reads the enrolment, signs, and adds the serial number in a transaction that compares the enrolment as it
//!   was read. Nobody gets a certificate whose transaction did not happen.
//! - To **revoke** is to delete the enrolment. The name then needs a new token.
//!
//! Held in every state: of one single-use token comes one member; and who was revoked has no certificate that counts,
//! although a renewal was under way.
//!
//! Left out: expiry of tokens and certificates (time), the bytes (signatures, hashes), and how fast every manager knows
//! of a revocation: here they all read the store.

use std::collections::BTreeSet;

use stateright::{Model, Property};

/// Name of the property of tokens.
pub const ONE_MEMBER: &str = "a token for one lets in one";
/// Name of the property of revocation.
pub const REVOKED_STAYS_OUT: &str = "who was revoked has no certificate that counts";

/// What makes a certificate count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counts {
    /// That the authority signed it.
    Signed,
    /// That the enrolment lists it.
    Listed,
}

/// The protocol, rule by rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Whether enrolling compares the token as it was read.
    pub token_compared: bool,
    /// Whether enrolling compares that the name is free.
    pub name_compared: bool,
    /// Whether a renewal compares the enrolment as it was read.
    pub renewal_compared: bool,
    /// What makes a certificate count.
    pub counts: Counts,
}

impl Rules {
    /// All of them.
    pub const ALL: Self = Self {
        token_compared: true,
        name_compared: true,
        renewal_compared: true,
        counts: Counts::Listed,
    };
}

/// The model.
#[derive(Debug, Clone, Copy)]
pub struct Join {
    /// Which protocol.
    pub rules: Rules,
    /// How many certificates are signed in all.
    pub certificates: u8,
    /// How often a token may be used.
    pub uses: u8,
}

/// One of the two.
pub type Who = u8;
const BOTH: [Who; 2] = [0, 1];
const MANAGERS: [usize; 2] = [0, 1];

/// A certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Certificate {
    /// Its number.
    pub serial: u8,
    /// Who has its key.
    pub holder: Who,
    /// Whether it goes back to a time before the revocation.
    pub before: bool,
}

/// The record of the name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Enrolment {
    /// The certificates that count.
    pub serials: BTreeSet<u8>,
    /// Stands for the record's revision.
    pub revision: u8,
}

/// What a manager is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Work {
    /// It read a token of this number with so many uses left.
    Enrol { who: Who, token: u8, uses: u8 },
    /// It read the enrolment for the holder of this certificate.
    Renew { with: Certificate, revision: u8 },
}

/// All there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The store: the number of the token, and its uses left. The first is known to both, the second to the first only.
    pub token: (u8, u8),
    /// The store: the name.
    pub enrolment: Option<Enrolment>,
    /// Certificates that were given out.
    pub certificates: BTreeSet<Certificate>,
    /// The last serial number.
    pub serial: u8,
    /// The last revision.
    pub revision: u8,
    /// What each manager is at.
    pub work: [Option<Work>; 2],
    /// Whether the name was revoked.
    pub revoked: bool,
    /// Who was let in with the first token.
    pub admitted: BTreeSet<u8>,
}

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Somebody shows the token to a manager, which reads it.
    ReadToken { manager: usize, who: Who },
    /// Somebody shows a certificate that counts, and asks for the next one.
    ReadEnrolment { manager: usize, with: Certificate },
    /// The manager's transaction arrives; the answer may be lost afterwards, that changes nothing here.
    Commit(usize),
    /// The manager dies.
    Forget(usize),
    /// The operator revokes the name.
    Revoke,
    /// The operator makes a second token, for the one that is meant.
    NewToken,
}

impl Join {
    fn counts(&self, state: &State, certificate: Certificate) -> bool {
        match self.rules.counts {
            Counts::Signed => true,
            Counts::Listed => state
                .enrolment
                .as_ref()
                .is_some_and(|enrolment| enrolment.serials.contains(&certificate.serial)),
        }
    }

    fn sign(state: &mut State, holder: Who, before: bool) -> u8 {
        state.serial += 1;
        let serial = state.serial;
        state.certificates.insert(Certificate { serial, holder, before });
        serial
    }

    fn commit(&self, state: &mut State, work: Work) {
        match work {
            Work::Enrol { who, token, uses } => {
                let unused = state.token == (token, uses) && uses > 0;
                let free = state.enrolment.is_none();
                if (self.rules.token_compared && !unused) || (self.rules.name_compared && !free) {
                    return;
                }
                if state.token.0 == token {
                    state.token.1 = uses - 1;
                }
                let serial = Self::sign(state, who, token == 1);
                if token == 1 {
                    state.admitted.insert(serial);
                }
                state.revision += 1;
                let mut serials = state.enrolment.take().map_or_else(BTreeSet::new, |old| old.serials);
                serials.insert(serial);
                let revision = state.revision;
                state.enrolment = Some(Enrolment { serials, revision });
            }
            Work::Renew { with, revision } => {
                let same = state
                    .enrolment
                    .as_ref()
                    .is_some_and(|enrolment| enrolment.revision == revision);
                if self.rules.renewal_compared && !same {
                    return;
                }
                let serial = Self::sign(state, with.holder, with.before);
                state.revision += 1;
                let mut serials = state.enrolment.take().map_or_else(BTreeSet::new, |old| old.serials);
                serials.insert(serial);
                let revision = state.revision;
                state.enrolment = Some(Enrolment { serials, revision });
            }
        }
    }
}

impl Model for Join {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            token: (1, self.uses),
            enrolment: None,
            certificates: BTreeSet::new(),
            serial: 0,
            revision: 0,
            work: [None; 2],
            revoked: false,
            admitted: BTreeSet::new(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for manager in MANAGERS {
            if state.work[manager].is_some() {
                actions.extend([Action::Commit(manager), Action::Forget(manager)]);
                continue;
            }
            if state.serial >= self.certificates {
                continue;
            }
            if state.token.1 > 0 {
                let knows = |who: &Who| state.token.0 == 1 || *who == 0;
                let readers = BOTH.into_iter().filter(knows);
                actions.extend(readers.map(|who| Action::ReadToken { manager, who }));
            }
            let counting = state.certificates.iter().filter(|with| self.counts(state, **with));
            actions.extend(counting.map(|with| Action::ReadEnrolment { manager, with: *with }));
        }
        if state.enrolment.is_some() && !state.revoked {
            actions.push(Action::Revoke);
        }
        if state.revoked && state.token.0 == 1 {
            actions.push(Action::NewToken);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::ReadToken { manager, who } => {
                let (token, uses) = state.token;
                state.work[manager] = Some(Work::Enrol { who, token, uses });
            }
            Action::ReadEnrolment { manager, with } => {
                let revision = state.enrolment.as_ref().map_or(0, |enrolment| enrolment.revision);
                state.work[manager] = Some(Work::Renew { with, revision });
            }
            Action::Commit(manager) => {
                let work = state.work[manager].take()?;
                self.commit(&mut state, work);
            }
            Action::Forget(manager) => state.work[manager] = None,
            Action::Revoke => {
                state.revoked = true;
                state.enrolment = None;
                // Whoever revokes takes the token away too, when it has uses left.
                state.token.1 = 0;
            }
            Action::NewToken => state.token = (2, 1),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_MEMBER, |model: &Self, state: &State| {
                state.admitted.len() <= usize::from(model.uses.min(1))
            }),
            Property::always(REVOKED_STAYS_OUT, |model: &Self, state: &State| {
                let old = |certificate: &&Certificate| certificate.before;
                !state.revoked
                    || !state
                        .certificates
                        .iter()
                        .filter(old)
                        .any(|certificate| model.counts(state, *certificate))
            }),
            Property::sometimes("a member renews", |_, state: &State| {
                state
                    .enrolment
                    .as_ref()
                    .is_some_and(|enrolment| enrolment.serials.len() >= 2)
            }),
            Property::sometimes(
                "the name is enrolled again after it was revoked",
                |model: &Self, state: &State| {
                    state.revoked
                        && state
                            .certificates
                            .iter()
                            .any(|certificate| !certificate.before && model.counts(state, *certificate))
                },
            ),
        ]
    }
}
