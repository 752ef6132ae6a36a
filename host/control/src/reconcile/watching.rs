//! Long calls: what an agent says of its progress becomes the resource's condition, once a second at most; and an agent
//! that says nothing new for too long is not waited for any more.

use std::time::Duration;

use futures_util::future::BoxFuture;
use symphony_core::quantity::Bytes;
use symphony_protocol::{Failure, FailureKind, Outcome, Progress};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::agents::Request;

use super::Context;

/// How often progress is written down.
const EVERY: Duration = Duration::from_secs(1);

/// How long a call may go on without news. The longest steps that say nothing of themselves are a guest's shutdown, which
/// has a deadline of a minute, and the flush of a large volume.
const QUIET_MAX: Duration = Duration::from_secs(30 * 60);

/// When there was news last.
struct Quiet {
    last: Option<Progress>,
    since: Instant,
}

impl Quiet {
    fn is_over(&mut self, news: Option<&Progress>, now: Instant) -> bool {
        if news != self.last.as_ref() {
            self.last = news.cloned();
            self.since = now;
        }
        now.saturating_duration_since(self.since) >= QUIET_MAX
    }
}

/// Calls an agent; `tell` is given a sentence about the progress now and then.
pub(crate) async fn call(
    context: &Context,
    request: Request<'_>,
    tell: &(dyn Fn(String) -> BoxFuture<'static, ()> + Sync),
) -> Result<Outcome, Failure> {
    let (sender, progress) = watch::channel(None);
    let node = request.node;
    let mut quiet = Quiet {
        last: None,
        since: Instant::now(),
    };
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
                if quiet.is_over(progress.borrow().as_ref(), Instant::now()) {
                    let message = format!("node {node} has said nothing of it for {} minutes", QUIET_MAX.as_secs() / 60);
                    return Err(Failure::new(FailureKind::Deadline, message));
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_and_nothing_else_keep_a_call_alive() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let progress = |done_bytes| Progress {
            call: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            step: 0,
            action: "write-image".to_owned(),
            done_bytes,
            total_bytes: 100,
        };
        let limit = QUIET_MAX.as_secs();
        let mut quiet = Quiet {
            last: None,
            since: begun,
        };
        assert!(!quiet.is_over(None, at(limit - 1)));
        assert!(!quiet.is_over(Some(&progress(1)), at(limit)));
        assert!(
            !quiet.is_over(Some(&progress(1)), at(2 * limit - 1)),
            "news was heard in between"
        );
        assert!(
            quiet.is_over(Some(&progress(1)), at(2 * limit)),
            "the same again is no news"
        );
        assert!(!quiet.is_over(Some(&progress(2)), at(2 * limit)));
    }
}
