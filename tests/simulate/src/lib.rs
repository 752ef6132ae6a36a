//! A cluster that is simulated: the loops of real managers, one store, and agents of nodes in memory, with faults by seed.
//!
//! What is looked at, and when ([`check`], [`run`]); the numbers are those of the project's list of invariants:
//!
//! | | invariant | looked at |
//! |---|---|---|
//! | I1 | a volume has one that may write to it, wherever | after each step of a server |
//! | I2 | a machine runs on one server | after each step, and at the end also: nothing is left where it is not placed |
//! | I3 | nothing is started elsewhere by a clock | power comes back, and servers are cut off, without anybody fencing them: I2 holds |
//! | I4 | claims are what is placed, and no more than there is | after each revision |
//! | I5 | what was acknowledged is there: made, and changed, also when the answer was lost and is found in the store | after each revision, and at the end |
//! | I6 | epochs, tenures and admissions never go back | after each revision |
//! | I7, I8 | what was cut off anywhere comes to its end, and leaves nothing | at the end: all is as wanted, and nothing is written any more |
//! | | a generation of an export that is over is not served again | after each step of a server |
//! | I9 | nothing goes that nobody asked to go | at each deletion |
//!
//! Not here: what needs real agents (journals, jails, filters of ports: their own tests), tokens and certificates
//! (`host/server`, `host/pki`), plugins that lie (`tests/it`), two versions (the protocol's tests), a store that was put back to
//! an older state (`host/control`). What a rule alone is good for is searched in `tests/models`: an agent that ignores its
//! admission is not found out here, for what it takes is too rare. [`world::Mutation`] has the breaks, and the tests those that
//! are found.

pub mod agent;
pub mod check;
pub mod deeds;
pub mod entropy;
pub mod node;
pub mod rng;
pub mod run;
pub mod script;
pub mod store;
pub mod supply;
pub mod world;
