//! `symphony-simulate`: runs seeds, each in a process of its own, so that each can be run again exactly.

#![expect(clippy::print_stdout, reason = "what it shows is for whoever ran it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Parser;
use symphony_simulate::run::{Outcome, Plan, run};
use symphony_simulate::script::{Event, script};
use symphony_simulate::world::Mutation;

/// Runs simulated clusters.
#[derive(Parser)]
struct Arguments {
    /// This seed alone, in this process.
    #[arg(long)]
    seed: Option<u64>,
    /// The first of many seeds.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Runs seeds until this many simulated hours are over.
    #[arg(long, default_value_t = 1.0)]
    hours: f64,
    /// How long each script is, in simulated minutes.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Something that is wrong on purpose.
    #[arg(long, value_enum, default_value_t = Mutation::None)]
    mutation: Mutation,
    /// Writes down all that happens, into this file.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Looks for the shortest script that fails, for so many runs.
    #[arg(long, default_value_t = 0)]
    shrink: usize,
    /// The folder of the repository.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))]
    root: PathBuf,
}

/// What must have happened in a run of many seeds.
const FAULTS: &[&str] = &[
    "agent-crashed",
    "agent-cut-off",
    "answer-of-the-store-lost",
    "call-came-late",
    "call-held-back",
    "call-repeated",
    "frame-lost",
    "leader-frozen",
    "manager-crashed",
    "node-fenced",
    "power-lost",
    "store-compacted",
    "store-unavailable",
    "watches-lost",
];

fn main() -> ExitCode {
    symphony_simulate::entropy::none();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "off".into()))
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    let arguments = Arguments::parse();
    match arguments.seed {
        Some(seed) => one(&arguments, seed),
        None => many(&arguments),
    }
}

fn one(arguments: &Arguments, seed: u64) -> ExitCode {
    let events = script(seed, Duration::from_secs(arguments.minutes * 60));
    let plan = |events| Plan {
        seed,
        events,
        mutation: arguments.mutation,
        tells: arguments.trace.is_some(),
    };
    let outcome = run(plan(events.clone()), &arguments.root);
    if let Some(path) = &arguments.trace
        && let Err(error) = std::fs::write(path, outcome.told.join("\n"))
    {
        eprintln!("{}: {error}", path.display());
    }
    let faults: Vec<String> = outcome
        .faults
        .iter()
        .map(|(fault, count)| format!("{}={count}", fault.replace(' ', "-")))
        .collect();
    let reached: Vec<String> = outcome
        .reached
        .iter()
        .map(|(what, count)| format!("{}:{count}", what.replace(' ', "-")))
        .collect();
    println!(
        "seed={seed} ms={} trace={:016x} revision={} {} {}",
        outcome.simulated.as_millis(),
        outcome.trace,
        outcome.revision,
        faults.join(" "),
        reached.join(" ")
    );
    for violation in &outcome.violations {
        println!("violation: seed {seed}: {violation}");
    }
    if outcome.violations.is_empty() {
        return ExitCode::SUCCESS;
    }
    if arguments.shrink > 0 {
        shrink(events, arguments.shrink, |events| run(plan(events), &arguments.root));
    }
    ExitCode::FAILURE
}

/// Leaves out parts of the script as long as it fails without them.
fn shrink(mut events: Vec<Event>, mut runs: usize, run: impl Fn(Vec<Event>) -> Outcome) {
    let mut part = events.len() / 2;
    while part > 0 && runs > 0 {
        let mut at = 0;
        while at < events.len() && runs > 0 {
            let mut fewer = events.clone();
            let end = (at + part).min(fewer.len());
            // What stays happens when it did.
            let gap: Duration = fewer.drain(at..end).map(|event| event.after).sum();
            if let Some(next) = fewer.get_mut(at) {
                next.after += gap;
            }
            runs -= 1;
            if run(fewer.clone()).violations.is_empty() {
                at = end;
            } else {
                events = fewer;
            }
        }
        part /= 2;
    }
    println!("shrunk to {} events:", events.len());
    for event in &events {
        println!("  {:?} {:?}", event.after, event.what);
    }
}

fn many(arguments: &Arguments) -> ExitCode {
    let began = Instant::now();
    let kept = std::fs::read_to_string(arguments.root.join("tests/simulate/seeds.txt")).unwrap_or_default();
    let kept = kept
        .lines()
        .filter_map(|line| line.split('#').next()?.trim().parse().ok());
    let (mut millis, mut faults, mut failed, mut runs) = (0_u64, BTreeMap::<String, u64>::new(), Vec::new(), 0);
    for seed in kept.chain(arguments.from..) {
        if millis as f64 >= arguments.hours * 3_600_000.0 {
            break;
        }
        let (succeeded, text) = child(arguments, seed, &arguments.root);
        runs += 1;
        for word in text.split_whitespace() {
            let Some((key, value)) = word.split_once('=') else {
                continue;
            };
            match (key, value.parse::<u64>()) {
                ("ms", Ok(value)) => millis += value,
                ("seed" | "revision" | "trace", _) => {}
                (fault, Ok(count)) => *faults.entry(fault.to_owned()).or_default() += count,
                _ => {}
            }
        }
        if !succeeded {
            failed.push(seed);
            print!("{text}");
            if failed.len() >= 20 {
                break;
            }
        }
    }
    for (fault, count) in &faults {
        println!("{count:8} {fault}");
    }
    println!(
        "{:.1} simulated hours in {runs} runs, {} faults, {} runs with violations{}, {:.0} s",
        millis as f64 / 3_600_000.0,
        faults.values().sum::<u64>(),
        failed.len(),
        if failed.is_empty() {
            String::new()
        } else {
            format!(" (seeds {failed:?})")
        },
        began.elapsed().as_secs_f64()
    );
    let missing: Vec<&&str> = FAULTS.iter().filter(|fault| !faults.contains_key(**fault)).collect();
    if !missing.is_empty() {
        println!("these faults never happened, so nothing is shown of them: {missing:?}");
    }
    if failed.is_empty() && missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn child(arguments: &Arguments, seed: u64, root: &Path) -> (bool, String) {
    let program = std::env::current_exe().expect("this program has a path");
    let mutation = clap::ValueEnum::to_possible_value(&arguments.mutation).expect("each has a name");
    let output = Command::new(program)
        .args(["--seed", &seed.to_string(), "--minutes", &arguments.minutes.to_string()])
        .args(["--mutation", mutation.get_name(), "--root"])
        .arg(root)
        .output()
        .expect("this program runs again");
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        text.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    (output.status.success(), text)
}
