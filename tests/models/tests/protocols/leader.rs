//! Leaders that follow one another: `symphony_models::leader`.

use symphony_models::leader::{Fence, Leader, NO_STALE_ACT, NO_STALE_WRITE, ONE_EACH, Rules};
use symphony_models::search::{way_to_break, whole};

const LEADERSHIPS: u8 = 3;

fn broken_after(name: &str, steps: usize, rules: Rules, property: &'static str) {
    let leaderships = LEADERSHIPS;
    let way = way_to_break(&Leader { rules, leaderships }, property);
    eprintln!("{name}: not `{property}` after {} steps: {way:?}", way.len());
    assert_eq!(way.len(), steps, "the shortest way was another one: {way:#?}");
}

#[test]
fn all_rules_together_are_safe() {
    let searched = whole(Leader {
        rules: Rules::ALL,
        leaderships: LEADERSHIPS,
    });
    eprintln!(
        "leaders: safe, {} states, {} steps deep",
        searched.states, searched.depth
    );
}

#[test]
fn every_rule_is_needed() {
    let all = Rules::ALL;
    let belief = Rules {
        fence: Fence::Belief,
        ..all
    };
    broken_after("writes compare nothing", 7, belief, NO_STALE_WRITE);
    let name = Rules {
        fence: Fence::Name,
        ..all
    };
    broken_after("writes compare the leader's name", 8, name, NO_STALE_WRITE);
    let uncounted = Rules {
        counted_with_key: false,
        ..all
    };
    broken_after("the epoch is counted apart from the key", 5, uncounted, ONE_EACH);
    broken_after("the same, seen by an agent", 9, uncounted, NO_STALE_ACT);
    let trusting = Rules {
        agents_refuse: false,
        ..all
    };
    broken_after("agents take any epoch", 9, trusting, NO_STALE_ACT);
    let forgetful = Rules { durable: false, ..all };
    broken_after("agents forget the epoch", 10, forgetful, NO_STALE_ACT);
}
