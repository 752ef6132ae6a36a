//! Drivers at work: each call on a fresh instance, so that nothing of one resource is left for the next.

mod image;
mod volume;

pub use image::ImageDriverPlugin;
pub use volume::VolumeDriverPlugin;

use std::sync::Arc;

use symphony_core::plan::{Goal, PROBES_MAX, PlanFault, Refusal, STEPS_MAX};

use crate::bindings::volume::symphony::plugin::driving as wit;
use crate::fault::{FaultKind, PluginFault, TEXT_BYTES_MAX, clip};
use crate::runtime::Compiled;

/// Runs one call on a thread of the blocking pool. At most `limits.driver_calls` run at once; the wait for a turn counts
/// against the deadline. A call that is given up at its deadline keeps its turn until fuel has ended it.
async fn run<T: Send + 'static>(
    compiled: &Compiled,
    call: &'static str,
    work: impl FnOnce(&Compiled) -> Result<T, PluginFault> + Send + 'static,
) -> Result<T, PluginFault> {
    let shared = &compiled.shared;
    let deadline = shared.role().deadline_of(call);
    let on_thread = async {
        let turn = Arc::clone(&compiled.driver_calls).acquire_owned().await.ok()?;
        let compiled = compiled.clone();
        let task = move || {
            let _turn = turn;
            work(&compiled)
        };
        tokio::task::spawn_blocking(task).await.ok()
    };
    match tokio::time::timeout(deadline, on_thread).await {
        Ok(Some(result)) => result,
        Ok(None) => Err(shared.fault(call, FaultKind::Host("its thread has ended".to_owned()))),
        Err(_) => Err(shared.fault(call, FaultKind::Deadline(deadline.as_millis()))),
    }
}

fn goal(goal: Goal) -> wit::Goal {
    match goal {
        Goal::Present => wit::Goal::Present,
        Goal::Absent => wit::Goal::Absent,
    }
}

/// What a driver says instead of a plan.
fn refusal(said: wit::Refusal) -> Refusal {
    let text = |text: String| clip(&text, TEXT_BYTES_MAX);
    match said {
        wit::Refusal::Invalid(said) => Refusal::Invalid(text(said)),
        wit::Refusal::Unavailable(said) => Refusal::Unavailable(text(said)),
        wit::Refusal::Other(said) => Refusal::Other(text(said)),
    }
}

/// What a driver says of its configuration when it does not take it.
fn misconfigured(said: wit::Refusal) -> FaultKind {
    FaultKind::Config(refusal(said).to_string())
}

fn few_probes(count: usize) -> Result<(), FaultKind> {
    if count > PROBES_MAX {
        Err(FaultKind::Plan(PlanFault::TooManyProbes(count)))
    } else {
        Ok(())
    }
}

fn few_steps(count: usize) -> Result<(), FaultKind> {
    if count > STEPS_MAX {
        Err(FaultKind::Plan(PlanFault::TooManySteps(count)))
    } else {
        Ok(())
    }
}
