//! `symphony-bench`: measures the figures that the project gives of itself, and prints them with their aims.
//!
//! `cargo xtask bench` builds everything in release mode and runs this. A missed aim is printed, never a failure: figures
//! are for reading, tests are for failing. Whatever can be is measured as a ratio within one run, the two sides taking
//! turns, so that a busy machine slows both.

mod cloud;
mod create;
mod durable;
mod failover;
mod fanout;
mod figure;
mod machine;
mod memory;
mod nbd;
mod place;
mod report;
mod sessions;
mod timing;
mod write;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use symphony_tests::Cloud;

use figure::{Figure, Values, Wanted};

/// Measures symphony.
#[derive(Parser)]
struct Arguments {
    /// Also write the figures to this file: an object with a number for each name.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure this one, or those below it (`place.scan`); may be given several times. All when absent.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

/// All that can be measured, in the order in which it is.
fn figures() -> impl Iterator<Item = &'static Figure> {
    let all: [&'static [Figure]; 10] = [
        &place::FIGURES,
        &memory::FIGURES,
        &create::FIGURES,
        &durable::FIGURES,
        &fanout::FIGURES,
        &sessions::FIGURES,
        &failover::FIGURES,
        &nbd::FIGURES,
        &write::FIGURES,
        &machine::FIGURES,
    ];
    all.into_iter().flatten()
}

fn main() -> ExitCode {
    // The sandbox compiles components in a child that is this program again.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == symphony_runtime::compile::CHILD_ARGUMENT)
    {
        return symphony_runtime::compile::child_main();
    }
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let wanted = Wanted::new(&arguments.only, figures())?;
    let mut values = Values::default();
    let measured = place::measure(&wanted, &mut values).and_then(|()| end_to_end(&wanted, &mut values));
    // What was measured before an error is worth showing.
    let shown: Vec<&Figure> = figures().filter(|figure| wanted.has(figure)).collect();
    report::table(&shown, &values)?;
    if let Some(file) = &arguments.json {
        report::json(file, &shown, &values)?;
    }
    measured
}

/// What needs a whole cloud. The clouds' folders go at the end only: a file system that has just removed thousands of
/// files can be slow to make others.
#[tokio::main]
async fn end_to_end(wanted: &Wanted, values: &mut Values) -> Result<(), Box<dyn Error>> {
    let mut ended = Vec::new();
    if wanted.any(&memory::FIGURES) {
        ended.push(killed(memory::measure(values).await?));
    }
    if wanted.any(&create::FIGURES) {
        ended.push(killed(create::measure(values).await?));
    }
    if wanted.any(&durable::FIGURES) {
        ended.push(killed(durable::measure(values).await?));
    }
    if wanted.any(&fanout::FIGURES) {
        ended.push(killed(fanout::measure(values).await?));
    }
    if wanted.any(&sessions::FIGURES) {
        ended.push(killed(sessions::measure(values).await?));
    }
    if wanted.any(&nbd::FIGURES)
        && let Some(mut cloud) = nbd::measure(values).await?
    {
        cloud.stop();
        ended.push(cloud);
    }
    if wanted.any(&failover::FIGURES) {
        failover::measure(values).await?;
    }
    if wanted.any(&write::FIGURES) {
        ended.push(killed(write::measure(values).await?));
    }
    if wanted.any(&machine::FIGURES) {
        for mut cloud in machine::measure(wanted, values).await? {
            // Killed, it would leave its machines running.
            cloud.stop();
            ended.push(cloud);
        }
    }
    Ok(())
}

fn killed(mut cloud: Cloud) -> Cloud {
    cloud.kill();
    cloud
}
