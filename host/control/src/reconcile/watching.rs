//! Long calls: what an agent says of its progress becomes the resource's condition, once a second at most.

use std::time::Duration;

use futures_util::future::BoxFuture;
use symphony_core::quantity::Bytes;
use symphony_protocol::{Failure, Outcome, Progress};
use tokio::sync::watch;

use crate::agents::Request;

use super::Context;

/// How often progress is written down.
const EVERY: Duration = Duration::from_secs(1);

/// Calls an agent; `tell` is given a sentence about the progress now and then.
pub(crate) async fn call(
    context: &Context,
    request: Request<'_>,
    tell: &(dyn Fn(String) -> BoxFuture<'static, ()> + Sync),
) -> Result<Outcome, Failure> {
    let (sender, progress) = watch::channel(None);
    let call = context.agents.call(request, Some(sender));
    tokio::pin!(call);
    let mut tick = tokio::time::interval(EVERY);
    tick.tick().await;
    let mut last = String::new();
    loop {
        // The call is pinned outside the loop: a tick does not cancel it.
        tokio::select! {
            outcome = &mut call => return outcome,
            _ = tick.tick() => {
                let text = progress.borrow().as_ref().map(sentence);
                if let Some(text) = text.filter(|text| *text != last) {
                    tell(text.clone()).await;
                    last = text;
                }
            }
        }
    }
}

fn sentence(progress: &Progress) -> String {
    let action = progress.action.replace('-', " ");
    match (u128::from(progress.done_bytes) * 100).checked_div(u128::from(progress.total_bytes)) {
        Some(percent) => format!("{action}: {percent} % of {}", Bytes(progress.total_bytes)),
        None => action,
    }
}
