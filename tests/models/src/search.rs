//! Searches of a model: all of its states, or the shortest way to a state that must not be. Knows no protocol.

use std::collections::{HashSet, VecDeque};
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

/// Looks for the shortest way to a state in which the named property does not hold, and gives its steps. A search of its
/// own, in order of steps: stateright's gives one of the short ways, not always the shortest.
///
/// # Panics
/// There is none: then the rule that was taken away is not needed, or the model does not see why.
pub fn way_to_break<M>(model: &M, property: &'static str) -> Vec<M::Action>
where
    M: Model,
    M::State: Hash + Eq + Clone,
    M::Action: Clone,
{
    let property = model.property(property);
    assert_eq!(property.expectation, Expectation::Always, "`{}`", property.name);
    let mut seen: HashSet<M::State> = HashSet::new();
    // How each state was first reached: from which one, by what.
    let mut steps: Vec<(usize, Option<M::Action>)> = Vec::new();
    let mut queue: VecDeque<(usize, M::State)> = VecDeque::new();
    let mut found = |from: usize, action: Option<M::Action>, state: M::State, queue: &mut VecDeque<_>| {
        if !seen.insert(state.clone()) {
            return None;
        }
        steps.push((from, action));
        let broken = !(property.condition)(model, &state);
        queue.push_back((steps.len() - 1, state));
        broken.then(|| way(&steps))
    };
    for state in model.init_states() {
        if let Some(way) = found(0, None, state, &mut queue) {
            return way;
        }
    }
    let mut actions = Vec::new();
    while let Some((at, state)) = queue.pop_front() {
        model.actions(&state, &mut actions);
        for action in actions.drain(..) {
            if let Some(next) = model.next_state(&state, action.clone())
                && let Some(way) = found(at, Some(action), next, &mut queue)
            {
                return way;
            }
        }
    }
    panic!(
        "`{}` held in all of {} states: the variant is not broken",
        property.name,
        seen.len()
    );
}

/// The steps to the state that was reached last.
fn way<A: Clone>(steps: &[(usize, Option<A>)]) -> Vec<A> {
    let mut way = Vec::new();
    let mut at = steps.len() - 1;
    while let (from, Some(action)) = &steps[at] {
        way.push(action.clone());
        at = *from;
    }
    way.reverse();
    way
}
