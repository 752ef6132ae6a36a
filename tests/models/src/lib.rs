//! The protocols on which "no two writers" rests, as models that are searched completely. Each model has a value of
//! rules; with all of them it is safe in every state, and each rule that is taken away makes a state that must not be.
//! Both are tests (`tests/protocols.rs`), so that nobody leaves out a rule because it looks needless.
//!
//! | protocol | what becomes of it |
//! |---|---|
//! | [`tenure`]: all rules | safe: 274,733 states (4 placements and releases, a fence, agents restart, power is cut) |
//! | all rules, and a ledger is lost | safe: 432,637 states |
//! | durable floors that a release raises, no failover | safe: 61,723 states (8 placements and releases) |
//! | only starts raise the floor | two run it after 11 steps |
//! | floors in memory, no failover | 12 steps |
//! | failover of a node that is silent, all other rules | 8 steps |
//! | failover on proof, no readmission | 10 steps |
//! | the floor raised after the stop, not before | 11 steps |
//! | calls without the admission | 13 steps |
//! | an agent that takes calls before it heard its node's admission | 10 steps |
//! | all rules, floors in memory | 13 steps |
//! | a release without the agent that does not compare that the node still is fenced | 14 steps |
//! | a lost ledger that nobody notices | 13 steps |
//! | [`export`]: all rules | safe: 1,765 states (3 grants) |
//! | one name and key for all generations | two connected after 7 steps |
//! | the new export starts before the old one ends | 9 steps |
//! | the old one goes on | 10 steps |
//! | exports of an agent's earlier life are not known | 11 steps |
//! | the floor in memory | an old writer after 13 steps |
//! | [`join`]: all rules | safe: 2,171 states (single use), 3,251 (two uses) |
//! | enrolling compares nothing, or not the name | two members of one name after 4 steps |
//! | enrolling does not compare the token | a revoked member after 5 steps |
//! | a renewal does not compare the enrolment | 5 steps |
//! | every signed certificate counts | 3 steps |
//! | [`leader`]: all rules | safe: 78,068 states (3 leaderships) |
//! | writes compare nothing, or the leader's name | a stale write after 7, 8 steps |
//! | the epoch is counted apart from the key | one epoch twice after 5 steps |
//! | agents take any epoch, or forget it | a stale act after 9, 10 steps |
//! | [`proof`]: all rules | safe: 10,801 states (a socket is turned on once) |
//! | that devices were told to cut the power is enough | two run it after 7 steps |
//! | one of two supplies is enough | 8 steps |
//! | one look at the devices is enough | 10 steps |
//! | the fence does not compare the record, or with what was read after the devices were asked | 15 steps |
//!
//! What the searches taught: an agent that started must hear its node's admission in its own session before it takes a
//! call; orders to settle count in the session that they were given in, or a late one admits an agent that lost its
//! ledger; and calls must carry the admission, as a readmission can't raise the floor of an object that the agent never
//! heard of. Devices that are asked one after the other are to be asked twice.
//!
//! Nothing of the product is in here: what the models say in a few lines, `host/control` and `agents/agent` do.

pub mod export;
pub mod join;
pub mod leader;
pub mod proof;
pub mod search;
pub mod tenure;
