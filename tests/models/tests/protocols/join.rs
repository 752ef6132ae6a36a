//! Tokens, enrolments and revocation: `symphony_models::join`.

use symphony_models::join::{Counts, Join, ONE_MEMBER, REVOKED_STAYS_OUT, Rules};
use symphony_models::search::{way_to_break, whole};

const CERTIFICATES: u8 = 5;

fn model(rules: Rules, uses: u8) -> Join {
    Join {
        rules,
        certificates: CERTIFICATES,
        uses,
    }
}

fn broken_after(name: &str, steps: usize, model: Join, property: &'static str) {
    let way = way_to_break(&model, property);
    eprintln!("{name}: not `{property}` after {} steps: {way:?}", way.len());
    assert_eq!(way.len(), steps, "the shortest way was another one: {way:#?}");
}

#[test]
fn all_rules_together_are_safe() {
    for uses in [1, 2] {
        let searched = whole(model(Rules::ALL, uses));
        eprintln!(
            "joining, {uses} uses: safe, {} states, {} steps deep",
            searched.states, searched.depth
        );
    }
}

#[test]
fn every_rule_is_needed() {
    let all = Rules::ALL;
    let uncompared = Rules {
        token_compared: false,
        name_compared: false,
        ..all
    };
    broken_after("enrolling compares nothing", 4, model(uncompared, 1), ONE_MEMBER);
    let any_name = Rules {
        name_compared: false,
        ..all
    };
    broken_after("a token for two, one name for both", 4, model(any_name, 2), ONE_MEMBER);
    let any_token = Rules {
        token_compared: false,
        ..all
    };
    broken_after("a token that was taken away", 5, model(any_token, 1), REVOKED_STAYS_OUT);
    let blind = Rules {
        renewal_compared: false,
        ..all
    };
    broken_after("a renewal compares nothing", 5, model(blind, 1), REVOKED_STAYS_OUT);
    let signed = Rules {
        counts: Counts::Signed,
        ..all
    };
    broken_after("whatever was signed counts", 3, model(signed, 1), REVOKED_STAYS_OUT);
}
