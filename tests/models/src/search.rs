//! Searches of a model: all of its states, or the shortest way to a state that must not be. Knows no protocol.

use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// What a complete search saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Searched {
    /// Different states.
    pub states: usize,
    /// Steps to the furthest of them.
    pub depth: usize,
}

/// Visits every state that can be reached, and says how many there are.
///
/// # Panics
/// A property fails (the way there is printed), or something that should be possible never happens: then the model is
/// too narrow to say anything.
pub fn whole<M>(model: M) -> Searched
where
    M: Model + Send + Sync + 'static,
    M::State: Debug + Hash + Send + Sync + Clone + PartialEq + 'static,
    M::Action: Debug + Clone + PartialEq + Send + Sync,
{
    // Only failures end the search early, so that the examples of what is possible do not.
    let checker = model
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    checker.assert_properties();
    assert!(checker.is_done(), "the search was not complete");
    Searched {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
    }
}

/// Looks for the shortest way to a state in which the named property does not hold, and gives its steps.
///
/// # Panics
/// There is none: then the rule that was taken away is not needed, or the model does not see why.
pub fn way_to_break<M>(model: M, property: &'static str) -> Vec<M::Action>
where
    M: Model + Send + Sync + 'static,
    M::State: Debug + Hash + Send + Sync + Clone + PartialEq + 'static,
    M::Action: Debug + Clone + PartialEq + Send + Sync,
{
    let known = model.properties();
    assert!(
        known
            .iter()
            .any(|known| known.name == property && known.expectation == Expectation::Always),
        "`{property}` is not a property of this model"
    );
    let checker = model
        .checker()
        .finish_when(HasDiscoveries::AllOf([property].into()))
        .spawn_bfs()
        .join();
    let Some(path) = checker.discovery(property) else {
        panic!(
            "`{property}` held in all of {} states: the variant is not broken",
            checker.unique_state_count()
        );
    };
    path.into_actions()
}
