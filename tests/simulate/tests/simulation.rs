//! Simulated hours without a violation; the same seed twice is the same; and what is broken on purpose is found.

use std::process::{Command, Output};

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
fn simulated_hours_pass_without_a_violation() {
    let output = simulate(&["--hours", "3", "--minutes", "30"]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in ["3", "4", "5"] {
        let run = || said(&simulate(&["--seed", seed, "--minutes", "20"]));
        assert_eq!(run(), run());
    }
}

/// Each is found within some seeds.
fn is_found(mutation: &str, seeds: std::ops::Range<u32>) {
    let finds = |seed: u32| {
        let output = simulate(&["--seed", &seed.to_string(), "--minutes", "60", "--mutation", mutation]);
        let said = said(&output);
        said.contains(" runs on ") || said.contains(" is written to by ") || said.contains(" is left on ")
    };
    assert!(seeds.into_iter().any(finds), "{mutation} was not found");
}

#[test]
fn a_fence_without_proof_is_found() {
    is_found("fences-without-proof", 1..10);
}

#[test]
fn a_return_that_ends_nothing_is_found() {
    is_found("keeps-all", 1..10);
}
