use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn on(boots: u64, restart: RestartPolicy) -> Wanted {
    Wanted {
        power: Power::On,
        boots,
        restart,
    }
}

fn seen(state: RunState, boots: u64) -> Option<Seen> {
    Some(Seen { state, boots })
}

#[test]
fn a_machine_that_dies_comes_back_after_growing_pauses() {
    let wanted = on(1, RestartPolicy::OnFailure);
    let mut history = History::default();
    let mut now = 1_000;
    let mut pauses = Vec::new();
    for _ in 0..12 {
        history = decide(wanted, seen(RunState::Running, 1), history, at(now)).history;
        let died = decide(wanted, seen(RunState::Off(Exit::Crashed), 1), history, at(now + 5));
        assert_eq!((died.phase, died.power), (MachinePhase::BackOff, Power::Off));
        let until = died.look_again.unwrap();
        pauses.push(until.as_second() - now - 5);
        let again = decide(wanted, seen(RunState::Off(Exit::Crashed), 1), died.history, until);
        assert_eq!((again.phase, again.power), (MachinePhase::Starting, Power::On));
        history = again.history;
        now = until.as_second() + 1;
    }
    assert_eq!(pauses[..4], [1, 2, 4, 8]);
    assert_eq!(*pauses.last().unwrap(), PAUSE_SECONDS_MAX);
    // After a long quiet run the pauses are short again.
    history = decide(wanted, seen(RunState::Running, 1), history, at(now)).history;
    let died = decide(
        wanted,
        seen(RunState::Off(Exit::Crashed), 1),
        history,
        at(now + STEADY_SECONDS),
    );
    assert_eq!(died.look_again, Some(at(now + STEADY_SECONDS + PAUSE_SECONDS)));
}

#[test]
fn the_restart_policy_decides_what_comes_back() {
    let phase = |policy, exit| {
        let decided = decide(on(1, policy), seen(RunState::Off(exit), 1), History::default(), at(1));
        decided.phase
    };
    assert_eq!(phase(RestartPolicy::Always, Exit::Guest), MachinePhase::BackOff);
    assert_eq!(phase(RestartPolicy::OnFailure, Exit::Guest), MachinePhase::Stopped);
    assert_eq!(phase(RestartPolicy::OnFailure, Exit::Failed), MachinePhase::BackOff);
    assert_eq!(phase(RestartPolicy::Never, Exit::Crashed), MachinePhase::Stopped);
}

#[test]
fn an_order_to_boot_overrides_what_was() {
    // Stopped for good by its policy: a start has a new boot number.
    let stopped = seen(RunState::Off(Exit::Guest), 1);
    let started = decide(on(2, RestartPolicy::Never), stopped, History::default(), at(1));
    assert_eq!((started.phase, started.power), (MachinePhase::Starting, Power::On));
    // A start does not wait for a pause.
    let waiting = decide(on(1, RestartPolicy::Always), stopped, History::default(), at(1));
    let started = decide(on(2, RestartPolicy::Always), stopped, waiting.history, at(1));
    assert_eq!(started.phase, MachinePhase::Starting);
    // A reboot: it runs, with an older number.
    let reboot = decide(
        on(2, RestartPolicy::Always),
        seen(RunState::Running, 1),
        History::default(),
        at(1),
    );
    assert_eq!((reboot.phase, reboot.power), (MachinePhase::Starting, Power::On));
}

#[test]
fn a_nodes_reboot_brings_its_machines_back_at_once() {
    for policy in [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never] {
        let decided = decide(
            on(3, policy),
            seen(RunState::Off(Exit::NeverRan), 3),
            History::default(),
            at(1),
        );
        assert_eq!((decided.phase, decided.power), (MachinePhase::Starting, Power::On));
    }
}

#[test]
fn how_long_it_ran_before_its_node_went_down_does_not_count() {
    let wanted = on(1, RestartPolicy::Always);
    let history = decide(wanted, seen(RunState::Running, 1), History::default(), at(1)).history;
    let back = decide(wanted, seen(RunState::Off(Exit::NeverRan), 1), history, at(5_000));
    assert_eq!(back.history.running_since, None);
    let up = decide(wanted, seen(RunState::Running, 1), back.history, at(5_001));
    assert_eq!(up.history.running_since, Some(at(5_001)));
}

#[test]
fn what_rests_goes_on_resting_when_nobody_remembers_how_it_ended() {
    let off = decide(
        on(1, RestartPolicy::OnFailure),
        seen(RunState::Off(Exit::Guest), 1),
        History::default(),
        at(1),
    );
    let forgotten = seen(RunState::Off(Exit::NeverRan), 1);
    let later = decide(on(1, RestartPolicy::OnFailure), forgotten, off.history, at(2));
    assert_eq!((later.phase, later.power), (MachinePhase::Stopped, Power::Off));
    // Another policy, or an order, wakes it.
    let always = decide(on(1, RestartPolicy::Always), forgotten, off.history, at(2));
    assert_eq!(always.power, Power::On);
    assert_eq!(
        decide(on(2, RestartPolicy::OnFailure), forgotten, off.history, at(2)).power,
        Power::On
    );
}

fn power() -> impl Strategy<Value = Power> {
    prop_oneof![Just(Power::On), Just(Power::Off)]
}

fn policy() -> impl Strategy<Value = RestartPolicy> {
    prop_oneof![
        Just(RestartPolicy::Always),
        Just(RestartPolicy::OnFailure),
        Just(RestartPolicy::Never)
    ]
}

fn state() -> impl Strategy<Value = RunState> {
    prop_oneof![
        Just(RunState::Running),
        Just(RunState::Paused),
        prop_oneof![
            Just(Exit::NeverRan),
            Just(Exit::Guest),
            Just(Exit::Ordered),
            Just(Exit::Crashed),
            Just(Exit::Failed)
        ]
        .prop_map(RunState::Off)
    ]
}

proptest! {
    /// Whatever happens in whatever order: phases follow the table, an off machine is never asked to run, and a machine
    /// that should run and is allowed to come back is asked to within the longest pause.
    #[test]
    fn every_life_keeps_to_the_table(
        events in prop::collection::vec((power(), policy(), 0_u64..2, prop::option::of((state(), 0_u64..2)), 0_i64..700), 1..60)
    ) {
        let (mut phase, mut history, mut now, mut boots) = (MachinePhase::Preparing, History::default(), 1_000, 1);
        for (power, restart, order, saw, passed) in events {
            now += passed;
            boots += order;
            let wanted = Wanted { power, boots, restart };
            let saw = saw.map(|(state, behind)| Seen { state, boots: boots.saturating_sub(behind) });
            let decided = decide(wanted, saw, history, at(now));
            prop_assert!(may_follow(phase, decided.phase), "{phase:?} to {:?}", decided.phase);
            if power == Power::Off {
                prop_assert_eq!(decided.power, Power::Off);
            }
            if let Some(again) = decided.look_again {
                prop_assert!(again.as_second() - now <= PAUSE_SECONDS_MAX);
                let then = decide(wanted, saw, decided.history, again);
                prop_assert_eq!(then.power, Power::On, "the pause ends");
            } else if power == Power::On && restart == RestartPolicy::Always {
                prop_assert_eq!(decided.power, Power::On, "what always comes back is never left off without a time");
            }
            // Deciding again on the same facts changes nothing.
            prop_assert_eq!(decide(wanted, saw, decided.history, at(now)), decided);
            (phase, history) = (decided.phase, decided.history);
        }
    }
}
