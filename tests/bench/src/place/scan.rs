//! Decisions: by looking at every row, and out of the cache.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use scheduler_spread::Spread;
use symphony_core::place::Answer;
use symphony_sdk::scheduler::{Engine, NO_ROW};
use symphony_sdk::testing::Session;

use super::field::{Field, Requests};
use super::sandbox::Sandbox;
use crate::timing::{median, micros};

const ROUNDS: u64 = 60;

/// What a full scan costs.
pub(crate) struct Scan {
    /// Sandbox over native: the median over all rounds.
    pub(crate) tax: f64,
    /// One request natively, in microseconds.
    pub(crate) native_us: f64,
    /// One request in the sandbox, in microseconds.
    pub(crate) sandbox_us: f64,
}

/// Batches of requests that no two are alike, so that each looks at every row. The sandbox side is all that a caller
/// waits for (the thread's queue, columns made and handed over, the answer checked); the native side is the engine alone.
pub(crate) async fn full(sandbox: &Sandbox, field: &Field, batch: u64) -> Result<Scan, Box<dyn Error>> {
    let plugin = sandbox.start().await?;
    let mut native = Session::start(Engine::new(Spread), field.cluster.clone());
    let (mut taxes, mut natives, mut sandboxes) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let sizes = (0..batch).map(|number| (1 << 30) + (round * batch + number) * 512);
        let Requests { of_host, of_sdk } = Requests::of_sizes(sizes);
        let shapes = native.batch(&of_sdk);

        let start = Instant::now();
        let answers = plugin.place(&field.candidates, of_host, round).await?;
        let in_sandbox = start.elapsed();
        let start = Instant::now();
        let decisions = black_box(native.place_batch(shapes));
        let natively = start.elapsed();

        let rows = decisions
            .map_err(|error| format!("the native engine refused: {error:?}"))?
            .rows;
        if rows_of(&answers) != rows {
            return Err("the sandbox and the native engine decided differently".into());
        }
        // The first rounds load, and warm what is cold.
        if round >= 5 {
            taxes.push(in_sandbox.as_secs_f64() / natively.as_secs_f64());
            natives.push(micros(natively) / batch as f64);
            sandboxes.push(micros(in_sandbox) / batch as f64);
        }
    }
    Ok(Scan {
        tax: median(taxes),
        native_us: median(natives),
        sandbox_us: median(sandboxes),
    })
}

fn rows_of(answers: &[Answer]) -> Vec<u32> {
    let row = |answer: &Answer| match answer {
        Answer::Chosen { row, .. } => *row,
        Answer::Unplaceable { .. } => NO_ROW,
    };
    answers.iter().map(row).collect()
}

/// Large batches of few shapes, the same in each: one request, in microseconds.
pub(crate) async fn cached(sandbox: &Sandbox, field: &Field) -> Result<f64, Box<dyn Error>> {
    const BATCH: u64 = 2_048;
    let plugin = sandbox.start().await?;
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let requests = Requests::of_sizes((0..BATCH).map(|number| (1 + number % 8) << 30)).of_host;
        let start = Instant::now();
        plugin.place(&field.candidates, requests, round).await?;
        if round >= 5 {
            times.push(micros(start.elapsed()) / BATCH as f64);
        }
    }
    Ok(median(times))
}
