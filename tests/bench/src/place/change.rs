//! Keeping the resident instance up to date: a few rows, or all of them. The calls place nothing; what such a call costs
//! by itself is taken off.

use std::error::Error;
use std::time::Instant;

use symphony_core::counter::Revision;
use symphony_core::place::Candidates;
use symphony_runtime::SchedulerPlugin;

use super::field::Field;
use super::sandbox::Sandbox;
use crate::timing::{median, micros};

/// A call that decides nothing, in microseconds.
async fn call(plugin: &SchedulerPlugin, candidates: &Candidates) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    plugin.place(candidates, Vec::new(), 0).await?;
    Ok(micros(start.elapsed()))
}

/// One changed row, in microseconds: a thousand change, to and fro.
pub(crate) async fn update(sandbox: &Sandbox, field: &Field) -> Result<f64, Box<dyn Error>> {
    const CHANGED: u32 = 1_000;
    let (before, mut after) = (&field.candidates, field.candidates.clone());
    let step = u32::try_from(before.rows().len())? / CHANGED;
    for row in (0..CHANGED).map(|number| number * step) {
        let free = before.rows()[row as usize].free_bytes;
        after = after.with_free_bytes(Revision(2), row, free + 512);
    }
    let plugin = sandbox.start().await?;
    call(&plugin, before).await?;
    let mut costs = Vec::new();
    for round in 0..100 {
        let candidates = if round % 2 == 0 { &after } else { before };
        let changed = call(&plugin, candidates).await?;
        let unchanged = call(&plugin, candidates).await?;
        costs.push((changed - unchanged) / f64::from(CHANGED));
    }
    Ok(median(costs))
}

/// All rows, in milliseconds.
pub(crate) async fn snapshot(sandbox: &Sandbox, field: &Field) -> Result<f64, Box<dyn Error>> {
    let mut costs = Vec::new();
    for _ in 0..40 {
        let plugin = sandbox.start().await?;
        let first = call(&plugin, &field.candidates).await?;
        let second = call(&plugin, &field.candidates).await?;
        costs.push((first - second) / 1e3);
    }
    Ok(median(costs))
}
