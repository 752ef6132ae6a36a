//! `symphony-simulate`: runs seeds, each in a process of its own, so that each can be run again exactly.

#![expect(clippy::print_stdout, reason = "what it shows is for whoever ran it")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use symphony_simulate::run::{Plan, run};
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

/// How often it is said how far it is.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// After so many failed runs it ends.
const FAILED_MAX: usize = 20;
/// How often a script that failed is tried in a shorter form.
const SHRINK_RUNS: usize = 100;

/// What must have happened in a run of many seeds.
const HAPPENS: &[&str] = &[
    "agent-crashed",
    "agent-cut-off",
    "agent-not-heard",
    "answer-found-in-the-store",
    "answer-of-the-store-lost",
    "call-came-late",
    "call-held-back",
    "call-repeated",
    "device-failed",
    "frame-lost",
    "leader-frozen",
    "ledger-lost",
    "machine-ran",
    "machine-ran-elsewhere",
    "machine-released",
    "manager-crashed",
    "node-fenced",
    "power-cut-by-devices",
    "power-lost",
    "step-failed",
    "step-slow",
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
        let what = kind(&outcome.violations[0]);
        let fails = |events| {
            run(plan(events), &arguments.root)
                .violations
                .iter()
                .any(|other| kind(other) == what)
        };
        shrink(events, arguments.shrink, fails);
    }
    ExitCode::FAILURE
}

/// What is wrong, whichever machine, volume or node it is about: a shorter script must fail by the same.
fn kind(violation: &str) -> String {
    let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_alphabetic() || c == ':');
    violation
        .split(' ')
        .filter(is_word)
        .take(6)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Leaves out parts of the script as long as it fails in the same way without them.
fn shrink(mut events: Vec<Event>, mut runs: usize, fails: impl Fn(Vec<Event>) -> bool) {
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
            if fails(fewer.clone()) {
                events = fewer;
            } else {
                at = end;
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
    // A run is never shorter than its script: so many are enough, and which ones they are does not depend on their speed.
    let runs = (arguments.hours * 60.0 / arguments.minutes as f64).ceil() as usize;
    let kept: Vec<u64> = kept.collect();
    let others = (arguments.from..).filter(|seed| !kept.contains(seed));
    let seeds: Vec<u64> = kept.iter().copied().chain(others).take(runs).collect();
    let (next, sum) = (AtomicUsize::new(0), Mutex::new(Sum::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (succeeded, text) = child(arguments, *seed, 0);
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    sum.add(*seed, succeeded, &text);
                    sum.tell(seeds.len(), began.elapsed());
                    if sum.failed.len() >= FAILED_MAX {
                        return;
                    }
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    let missing = sum.report(began.elapsed());
    if let Some(seed) = sum.failed.iter().min() {
        println!("seed {seed} again, and its script made as short as it fails:");
        print!("{}", child(arguments, *seed, SHRINK_RUNS).1);
        println!(
            "the same by: cargo xtask simulate --seed {seed} --minutes {} --mutation {}",
            arguments.minutes,
            mutation(arguments)
        );
    }
    if sum.failed.is_empty() && missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What came of many runs.
#[derive(Default)]
struct Sum {
    runs: usize,
    millis: u64,
    faults: BTreeMap<String, u64>,
    reached: BTreeMap<String, u64>,
    failed: Vec<u64>,
    told: Duration,
}

impl Sum {
    /// Adds the line of a run.
    fn add(&mut self, seed: u64, succeeded: bool, text: &str) {
        self.runs += 1;
        let line = text.lines().find(|line| line.starts_with("seed=")).unwrap_or_default();
        for word in line.split_whitespace() {
            let reached = word
                .split_once(':')
                .and_then(|(what, count)| Some((what, count.parse::<u64>().ok()?)));
            if let Some((what, count)) = reached {
                *self.reached.entry(what.to_owned()).or_default() += count;
            }
            match word.split_once('=').map(|(key, value)| (key, value.parse::<u64>())) {
                Some(("ms", Ok(value))) => self.millis += value,
                Some(("seed" | "revision" | "trace", _)) | None => {}
                // What became of a fault that is counted already.
                Some((late @ "call-came-late", Ok(count))) => {
                    *self.reached.entry(late.to_owned()).or_default() += count
                }
                Some((fault, Ok(count))) => *self.faults.entry(fault.to_owned()).or_default() += count,
                Some((_, Err(_))) => {}
            }
        }
        if !succeeded {
            self.failed.push(seed);
            println!("{}", text.trim_end());
        }
    }

    fn hours(&self) -> f64 {
        self.millis as f64 / 3_600_000.0
    }

    fn all_faults(&self) -> u64 {
        self.faults.values().sum()
    }

    /// Says now and then how far it is.
    fn tell(&mut self, runs: usize, took: Duration) {
        if took < self.told + TELL_EVERY {
            return;
        }
        self.told = took;
        let left = took.as_secs_f64() / self.runs as f64 * (runs - self.runs) as f64;
        eprintln!(
            "{} of {runs} runs, {:.1} hours, {} faults, {} with violations; {left:.0} s left",
            self.runs,
            self.hours(),
            self.all_faults(),
            self.failed.len()
        );
    }

    /// Prints everything; gives what never happened.
    fn report(&self, took: Duration) -> Vec<&'static str> {
        for (what, count) in self.faults.iter().chain(&self.reached) {
            println!("{count:8} {what}");
        }
        let mut failed = self.failed.clone();
        failed.sort_unstable();
        let seeds = if failed.is_empty() {
            String::new()
        } else {
            format!(" (seeds {failed:?})")
        };
        println!(
            "{:.1} simulated hours in {} runs, {} faults, {} runs with violations{seeds}, {:.0} s",
            self.hours(),
            self.runs,
            self.all_faults(),
            failed.len(),
            took.as_secs_f64()
        );
        let happened = |what: &str| self.faults.contains_key(what) || self.reached.contains_key(what);
        let missing: Vec<&str> = HAPPENS.iter().copied().filter(|what| !happened(what)).collect();
        if !missing.is_empty() {
            println!("this never happened, so nothing is shown of it: {missing:?}");
        }
        missing
    }
}

fn mutation(arguments: &Arguments) -> String {
    let value = clap::ValueEnum::to_possible_value(&arguments.mutation).expect("each has a name");
    value.get_name().to_owned()
}

/// One run, in a process of its own; with `shrink` its script is made shorter for so many runs.
fn child(arguments: &Arguments, seed: u64, shrink: usize) -> (bool, String) {
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program)
        .args(["--seed", &seed.to_string(), "--minutes", &arguments.minutes.to_string()])
        .args(["--shrink", &shrink.to_string()])
        .args(["--mutation", &mutation(arguments), "--root"])
        .arg(&arguments.root)
        .output()
        .expect("this program runs again");
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        text.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    (output.status.success(), text)
}
