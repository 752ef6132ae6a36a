//! The proof by devices: safe with all its rules, and with none of them left out.

use symphony_models::proof::{ONCE, Proof, Rules};
use symphony_models::search::{way_to_break, whole};

const fn with(rules: Rules) -> Proof {
    Proof {
        rules,
        changes: 6,
        turns: 1,
    }
}

fn broken_after(name: &str, steps: usize, rules: Rules) {
    let way = way_to_break(&with(rules), ONCE);
    eprintln!("{name}: {} steps: {way:?}", way.len());
    assert_eq!(way.len(), steps, "the shortest way was another one: {way:#?}");
}

#[test]
fn all_rules_together_are_safe() {
    let searched = whole(with(Rules::ALL));
    eprintln!("proof: safe, {} states, {} steps deep", searched.states, searched.depth);
}

#[test]
fn every_rule_is_needed() {
    let all = Rules::ALL;
    broken_after("that they were told is enough", 7, Rules { seen: false, ..all });
    broken_after("one of two supplies is enough", 8, Rules { all: false, ..all });
    broken_after("one look is enough", 10, Rules { twice: false, ..all });
    broken_after("the record is not compared", 15, Rules { compares: false, ..all });
    broken_after(
        "it is read after the devices were asked",
        15,
        Rules {
            reads_first: false,
            ..all
        },
    );
}
