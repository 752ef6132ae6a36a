//! Guests that misbehave: each gets the fault that is its own, by name, and a good plugin works right after it.

use std::time::Duration;

use symphony_core::counter::Revision;
use symphony_core::place::{Answer, Bookings, Candidate, Candidates, check};
use symphony_core::plan::volume::Volumes;
use symphony_core::plan::{self, Goal};
use symphony_runtime::{Compiled, DriverPlugin, Limits, PluginFault, SchedulerPlugin};

use super::drivers::volume_intent;
use super::schedulers::{GIB, Numbers, cluster, request};
use super::{built, child, open, prepare};

/// Misbehaves from its first batch on.
const AT_ONCE: &str = r#"{"after":0}"#;
const REQUESTS: usize = 3;

fn candidates() -> Candidates {
    cluster(1, 5, &mut Numbers(5))
}

async fn place(compiled: &Compiled) -> Result<Vec<Answer>, PluginFault> {
    let plugin = SchedulerPlugin::start(compiled, AT_ONCE).await?;
    plugin
        .place(&candidates(), vec![request(1000 * GIB); REQUESTS], 0)
        .await
}

async fn a_good_one_still_decides() {
    let answers = place(&prepare("guests/well-behaved").await.unwrap()).await.unwrap();
    assert_eq!(answers.len(), REQUESTS);
}

#[tokio::test]
async fn schedulers_that_give_no_usable_answer() {
    for (guest, reason) in [
        ("too-few", "bad-answer"),
        ("too-many", "bad-answer"),
        ("endless-loop", "out-of-fuel"),
        ("memory-bomb", "memory"),
        ("trap", "trap"),
        ("nan-score", "bad-answer"),
        ("stale-forever", "stale"),
        ("wrong-digest", "stale"),
    ] {
        let compiled = prepare(&format!("guests/{guest}")).await.unwrap();
        // A NaN is one only where something was chosen.
        let wants = if guest == "nan-score" { 0 } else { 1000 * GIB };
        let plugin = SchedulerPlugin::start(&compiled, AT_ONCE).await.unwrap();
        let fault = plugin
            .place(&candidates(), vec![request(wants); REQUESTS], 0)
            .await
            .unwrap_err();
        assert_eq!((fault.reason(), fault.plugin.as_str()), (reason, guest), "{fault}");
        assert!(compiled.stats().faults[reason] >= 1, "{guest} is not counted");
        if guest == "trap" {
            let text = fault.to_string();
            assert!(
                text.contains("unreachable") && text.contains("this guest was told to trap") && text.contains(" in "),
                "{text}"
            );
        }
        if reason == "stale" {
            assert_eq!(
                compiled.stats().instances,
                2,
                "{guest}: one more try on a fresh instance, and no more"
            );
        }
        a_good_one_still_decides().await;
    }
}

/// One that behaves for a while: what it does then costs that call only.
#[tokio::test]
async fn a_fault_costs_its_own_call() {
    let compiled = prepare("guests/trap").await.unwrap();
    let plugin = SchedulerPlugin::start(&compiled, r#"{"after":2}"#).await.unwrap();
    let mut outcomes = Vec::new();
    for _ in 0..6 {
        outcomes.push(plugin.place(&candidates(), vec![request(0)], 0).await.is_ok());
    }
    assert_eq!(
        outcomes,
        [true, true, false, true, true, false],
        "each trap is followed by a fresh instance"
    );
}

/// These answer in due form; the checks in core see what is wrong with the choice.
#[tokio::test]
async fn schedulers_that_choose_what_they_may_not() {
    for (guest, wants, reason) in [
        ("unknown-node", 0, "unknown-candidate"),
        ("overcommit", 1000 * GIB, "over-commit"),
    ] {
        let compiled = prepare(&format!("guests/{guest}")).await.unwrap();
        let plugin = SchedulerPlugin::start(&compiled, AT_ONCE).await.unwrap();
        // All rows take work: what is wrong with the choice is the row itself or its room.
        let rows = candidates()
            .rows()
            .iter()
            .map(|row| Candidate {
                schedulable: true,
                ..(**row).clone()
            })
            .collect();
        let candidates = Candidates::from_rows(Revision(1), rows);
        let answers = plugin
            .place(&candidates, vec![request(wants); REQUESTS], 0)
            .await
            .unwrap();
        let Answer::Chosen { row, .. } = answers[0] else {
            panic!("{answers:?}")
        };
        let violation = check::choice(&candidates, &Bookings::default(), &request(wants), row).unwrap_err();
        let fault = compiled.refuse_choice(violation);
        assert_eq!((fault.reason(), fault.call), (reason, "place"), "{fault}");
        assert_eq!(compiled.stats().faults[reason], 1);
        a_good_one_still_decides().await;
    }
}

#[tokio::test]
async fn an_answer_of_100_mb_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut limits = Limits::default();
    // Enough to write it: by default the fuel for a small batch ends first.
    limits.scheduler.fuel.call = limits.scheduler.fuel.call_max;
    let compiled = open(dir.path(), child(), limits)
        .prepare(built("guests/huge-answer"))
        .await
        .unwrap();
    let fault = place(&compiled).await.unwrap_err();
    assert_eq!(fault.reason(), "output-too-large", "{fault}");
    a_good_one_still_decides().await;
}

#[tokio::test]
async fn a_flood_of_log_lines_is_cut() {
    let compiled = prepare("guests/log-flood").await.unwrap();
    // It may run out of fuel over it, or not: what counts is what is kept.
    let _ = place(&compiled).await;
    let lines = compiled.log().lines(0);
    assert_eq!(lines.len(), 32);
    assert!(lines.iter().all(|line| line.text.len() <= 1024 && line.call == "place"));
    assert!(
        compiled.log().dropped() > 100,
        "{} were dropped",
        compiled.log().dropped()
    );
    a_good_one_still_decides().await;
}

#[tokio::test]
async fn nobody_waits_longer_than_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let mut limits = Limits::default();
    limits.scheduler.deadline = Duration::from_millis(1);
    limits.scheduler.fuel.call = 2_000_000_000;
    let compiled = open(dir.path(), child(), limits)
        .prepare(built("guests/endless-loop"))
        .await
        .unwrap();
    let plugin = SchedulerPlugin::start(&compiled, AT_ONCE).await.unwrap();
    let fault = plugin.place(&candidates(), vec![request(0)], 0).await.unwrap_err();
    assert_eq!(fault.reason(), "deadline", "{fault}");
    // The next one queues behind it, and is not kept waiting either.
    assert_eq!(
        plugin
            .place(&candidates(), vec![request(0)], 0)
            .await
            .unwrap_err()
            .reason(),
        "deadline"
    );
    a_good_one_still_decides().await;
}

#[tokio::test]
async fn drivers() {
    let intent = volume_intent(Goal::Present, None);
    for (guest, reason) in [
        ("foreign-object", "foreign-object"),
        ("path-object", "foreign-object"),
        ("too-many-steps", "too-many-steps"),
        ("forbidden-command", "command"),
        ("driver-trap", "trap"),
        ("driver-loop", "out-of-fuel"),
    ] {
        let compiled = prepare(&format!("guests/{guest}")).await.unwrap();
        let driver = DriverPlugin::<Volumes>::start(&compiled, "{}").await.unwrap();
        assert_eq!(driver.probes(&intent).await.unwrap().len(), 1, "{guest}");
        let fault = match driver.plan(&intent, &[]).await {
            Err(fault) => fault,
            Ok(steps) => compiled.refuse_plan(
                "plan",
                plan::check::<Volumes>(&intent, &[], steps.unwrap()).unwrap_err(),
            ),
        };
        assert_eq!(
            (fault.reason(), fault.call, fault.plugin.as_str()),
            (reason, "plan", guest),
            "{fault}"
        );
        assert_eq!(compiled.stats().faults[reason], 1);
        let good = DriverPlugin::<Volumes>::start(&prepare("file").await.unwrap(), "{}")
            .await
            .unwrap();
        assert!(!good.probes(&intent).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_never_gets_as_far_as_running() {
    let refused = prepare("guests/imports-wasi").await.unwrap_err();
    assert_eq!(refused.reason(), "import");
    assert!(refused.to_string().contains("wasi:clocks/monotonic-clock"), "{refused}");
    let refused = prepare("guests/wrong-version").await.unwrap_err();
    assert_eq!(refused.reason(), "interface-version");
    assert!(refused.to_string().contains("0.1.0"), "{refused}");
    for (guest, reason) in [
        ("text", "not-wasm"),
        ("core-module", "core-module"),
        ("truncated", "truncated"),
    ] {
        assert_eq!(prepare(&format!("guests/{guest}")).await.unwrap_err().reason(), reason);
    }
}
