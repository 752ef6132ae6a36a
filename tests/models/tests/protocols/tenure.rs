//! Placement, release, fence and readmission: `symphony_models::tenure`.

use symphony_models::search::{way_to_break, whole};
use symphony_models::tenure::{Bounds, Failover, ONE_RUNS, Raise, Rules, Tenure};

/// Enough for: placed, released, placed elsewhere, and one more; one fence.
const BOUNDS: Bounds = Bounds {
    tenure: 4,
    admission: 2,
    losses: 0,
    restarts: true,
};

/// As before there were admissions.
const WITHOUT_ADMISSION: Rules = Rules {
    stamped: false,
    waits: false,
    readmission: false,
    ..Rules::ALL
};

fn searched(name: &str, rules: Rules, bounds: Bounds) {
    let searched = whole(Tenure { rules, bounds });
    eprintln!(
        "{name}: safe, {} states, {} steps deep",
        searched.states, searched.depth
    );
}

fn two_run_after(name: &str, steps: usize, rules: Rules, bounds: Bounds) {
    let way = way_to_break(&Tenure { rules, bounds }, ONE_RUNS);
    eprintln!("{name}: two run it after {} steps: {way:?}", way.len());
    assert_eq!(way.len(), steps, "the shortest way was another one: {way:#?}");
}

#[test]
fn all_rules_together_are_safe() {
    searched("all rules", Rules::ALL, BOUNDS);
}

#[test]
fn all_rules_together_are_safe_when_a_ledger_is_lost() {
    let bounds = Bounds {
        tenure: 3,
        losses: 1,
        restarts: false,
        ..BOUNDS
    };
    searched("all rules, a ledger is lost", Rules::ALL, bounds);
}

#[test]
fn without_failover_durable_floors_are_enough() {
    let rules = Rules {
        failover: Failover::Never,
        ..WITHOUT_ADMISSION
    };
    let bounds = Bounds { tenure: 8, ..BOUNDS };
    searched("floors raised by release, no failover", rules, bounds);
}

#[test]
fn every_rule_is_needed() {
    let never = Failover::Never;
    let all = Rules::ALL;
    let raise_never = Rules {
        raise: Raise::Never,
        failover: never,
        ..WITHOUT_ADMISSION
    };
    two_run_after("only starts raise the floor", 11, raise_never, BOUNDS);
    let in_memory = Rules {
        durable: false,
        failover: never,
        ..WITHOUT_ADMISSION
    };
    two_run_after("floors in memory", 12, in_memory, BOUNDS);
    let on_silence = Rules {
        failover: Failover::Silence,
        ..all
    };
    two_run_after("failover of a silent node", 8, on_silence, BOUNDS);
    two_run_after("proof, but no readmission", 10, WITHOUT_ADMISSION, BOUNDS);
    let after_stop = Rules {
        raise: Raise::AfterStop,
        ..all
    };
    two_run_after("the floor raised after the stop", 11, after_stop, BOUNDS);
    let unstamped = Rules { stamped: false, ..all };
    two_run_after("calls without the admission", 13, unstamped, BOUNDS);
    let hasty = Rules { waits: false, ..all };
    two_run_after(
        "an agent that does not wait for the node's admission",
        10,
        hasty,
        BOUNDS,
    );
    let forgetful = Rules { durable: false, ..all };
    two_run_after("all rules, floors in memory", 13, forgetful, BOUNDS);
    let uncompared = Rules {
        release_compares: false,
        ..all
    };
    two_run_after("a release that does not compare the fence", 14, uncompared, BOUNDS);
    let unnoticed = Rules {
        lost_is_noticed: false,
        ..all
    };
    let bounds = Bounds { losses: 1, ..BOUNDS };
    two_run_after("a lost ledger that nobody notices", 13, unnoticed, bounds);
}
