//! Simulated hours without a violation; the same seed twice is the same; and what is broken on purpose is found.

use std::process::{Command, Output};

/// How much must pass, and how much must go wrong meanwhile.
const HOURS: f64 = 200.0;
const FAULTS: u64 = 20_000;

fn simulate(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_symphony-simulate");
    Command::new(program)
        .args(arguments)
        .output()
        .expect("the simulation runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn two_hundred_hours_pass_without_a_violation() {
    let output = simulate(&["--hours", "200"]);
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    let line = said.lines().find(|line| line.contains(" simulated hours in "));
    let words: Vec<&str> = line.expect("it sums up").split_whitespace().collect();
    assert!(words[0].parse::<f64>().unwrap() >= HOURS, "{said}");
    let faults = words.iter().position(|word| word.starts_with("faults")).unwrap();
    assert!(words[faults - 1].parse::<u64>().unwrap() >= FAULTS, "{said}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 3..11 {
        let run = || said(&simulate(&["--seed", &seed.to_string(), "--minutes", "20"]));
        assert_eq!(run(), run());
    }
}

#[test]
fn a_script_that_fails_is_made_shorter_and_fails_still() {
    let output = simulate(&["--hours", "8", "--mutation", "keeps-all"]);
    let said = said(&output);
    assert!(!output.status.success(), "{said}");
    let shrunk = said.lines().find_map(|line| {
        line.strip_prefix("shrunk to ")?
            .split(' ')
            .next()?
            .parse::<usize>()
            .ok()
    });
    assert!(shrunk.is_some_and(|events| events < 100), "{said}");
    let again = said
        .lines()
        .find(|line| line.starts_with("the same by: cargo xtask simulate --seed "));
    assert!(
        again.is_some_and(|line| line.ends_with("--mutation keeps-all")),
        "{said}"
    );
}

/// Each is found within so many seeds.
fn is_found(mutation: &str, seeds: u32) {
    let finds = |seed: u32| {
        let output = simulate(&["--seed", &seed.to_string(), "--minutes", "60", "--mutation", mutation]);
        let said = said(&output);
        let wrong = [
            " runs on ",
            " is written to by ",
            " is left on ",
            " is served again ",
            " what was acknowledged",
            " was acknowledged and is not there",
        ];
        wrong.iter().any(|wrong| said.contains(wrong))
    };
    assert!((1..=seeds).any(finds), "{mutation} was not found");
}

#[test]
fn a_fence_without_proof_is_found() {
    is_found("fences-without-proof", 40);
}

#[test]
fn a_board_that_lies_is_found() {
    is_found("boards-lie", 40);
}

#[test]
fn a_promise_that_nobody_keeps_is_found() {
    is_found("promises-in-vain", 10);
}

#[test]
fn an_agent_that_ignores_everything_is_found() {
    is_found("ignores-all", 120);
}

#[test]
fn a_generation_that_is_served_again_is_found() {
    is_found("ignores-generations", 120);
}

#[test]
fn a_return_that_ends_nothing_is_found() {
    is_found("keeps-all", 40);
}

#[test]
fn an_agent_that_ignores_its_floors_is_found() {
    is_found("ignores-floors", 120);
}

#[test]
fn an_agent_that_forgets_its_ledger_is_found() {
    is_found("forgets-ledger", 120);
}
