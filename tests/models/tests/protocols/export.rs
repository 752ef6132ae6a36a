//! Volumes across nodes: `symphony_models::export`.

use symphony_models::export::{Export, IN_ORDER, ONE_CONNECTED, Rules};
use symphony_models::search::{way_to_break, whole};

const GENERATIONS: u8 = 3;

fn broken_after(name: &str, steps: usize, rules: Rules, property: &'static str) {
    let generations = GENERATIONS;
    let way = way_to_break(&Export { rules, generations }, property);
    eprintln!("{name}: not `{property}` after {} steps: {way:?}", way.len());
    assert_eq!(way.len(), steps, "the shortest way was another one: {way:#?}");
}

#[test]
fn all_rules_together_are_safe() {
    let searched = whole(Export {
        rules: Rules::ALL,
        generations: GENERATIONS,
    });
    eprintln!(
        "exports: safe, {} states, {} steps deep",
        searched.states, searched.depth
    );
}

#[test]
fn every_rule_is_needed() {
    let all = Rules::ALL;
    broken_after(
        "one name for all generations",
        7,
        Rules { named: false, ..all },
        ONE_CONNECTED,
    );
    broken_after(
        "the new export before the old one's end",
        9,
        Rules {
            ends_first: false,
            ..all
        },
        ONE_CONNECTED,
    );
    broken_after("old exports go on", 10, Rules { ends: false, ..all }, ONE_CONNECTED);
    broken_after(
        "exports of an earlier life are not known",
        11,
        Rules { adopts: false, ..all },
        ONE_CONNECTED,
    );
    broken_after("the floor in memory", 13, Rules { durable: false, ..all }, IN_ORDER);
}
