//! The loops over a real store, real components and simulated agents: what a whole cloud shows too late or too seldom.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod control {
    mod exports;
    mod fencing;
    mod growing;
    mod harness;
    mod machines;
    mod members;
    mod networks;
    mod power;
    mod sessions;
    mod swapping;
}
