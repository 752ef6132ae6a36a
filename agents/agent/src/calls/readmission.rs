//! A node that is let in (again): what it may keep stays, all else ends, and only then there is work.
//!
//! ```text
//!   Readmit ─► calls under way end ─► floors of what is kept ─► discard the rest ─► admission durable ─► Readmitted
//! ```
//!
//! Each step may be repeated; the agent may die between any two. Never here: which objects those are. A node that was not
//! fenced by somebody ends nothing: absence is not an order.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use symphony_core::counter::Tenure;
use symphony_protocol::{Failure, FailureKind, KEEP_MAX, Readmit, Readmitted, ToManager};
use tokio::sync::mpsc;

use crate::ledger::ObjectKey;

use super::Calls;

/// How long the calls of an earlier session have to end. No other can begin meanwhile.
const CALLS_PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const AGAIN: Duration = Duration::from_secs(1);

impl Calls {
    /// Settles what the node may keep, and answers; tries again until it is done or the session is over.
    pub fn readmit(&self, readmit: Readmit, uplink: &mpsc::Sender<ToManager>) {
        let (calls, uplink) = (self.clone(), uplink.clone());
        self.shared.tasks.spawn(async move {
            while !uplink.is_closed() && !calls.shared.abandon.is_cancelled() {
                match calls.settle(&readmit).await {
                    Ok(done) => {
                        symphony_crash::point("agent.readmit.before_answer");
                        let _ = uplink.send(ToManager::Readmitted(done)).await;
                        return;
                    }
                    Err(failure) => {
                        tracing::warn!(%failure, "the node could not settle what it may keep; trying again")
                    }
                }
                tokio::select! {
                    () = tokio::time::sleep(AGAIN) => {}
                    () = calls.shared.abandon.cancelled() => {}
                }
            }
        });
    }

    async fn settle(&self, readmit: &Readmit) -> Result<Readmitted, Failure> {
        let _one_at_a_time = self.shared.settling.lock().await;
        let ledger = &self.shared.ledger;
        // What another session said is over; what is settled already is not settled again: there is work since.
        if ledger.heard() != Some(readmit.admission) {
            return Err(Failure::new(
                FailureKind::StaleTenure,
                "another admission was heard of since",
            ));
        }
        if ledger.admission() >= readmit.admission {
            return Ok(Readmitted {
                admission: ledger.admission(),
                destroyed: Vec::new(),
            });
        }
        let keep = read(readmit)?;
        self.until_idle().await?;
        symphony_crash::point("agent.readmit.before_floors");
        join_all(keep.iter().map(|(object, tenure)| ledger.raise(*object, *tenure))).await;
        let destroyed = if readmit.confirmed {
            self.discard_but(&keep).await?
        } else {
            Vec::new()
        };
        symphony_crash::point("agent.readmit.before_admission");
        ledger.admit(readmit.admission).await;
        tracing::info!(admission = %readmit.admission, kept = keep.len(), destroyed = destroyed.len(), "let in");
        Ok(Readmitted {
            admission: readmit.admission,
            destroyed,
        })
    }

    /// Ends what is not to be kept; gives what that was.
    async fn discard_but(&self, keep: &HashMap<ObjectKey, Tenure>) -> Result<Vec<String>, Failure> {
        let mut destroyed = Vec::new();
        for executor in self.shared.executors() {
            for object in executor.owned().await? {
                let key = object.parse::<ObjectKey>();
                let key = key.map_err(|error| Failure::new(FailureKind::Other, error.to_string()))?;
                if keep.contains_key(&key) {
                    continue;
                }
                // Its own floor goes up first: what was placed here is over, whatever comes late.
                let ledger = &self.shared.ledger;
                ledger.raise(key, ledger.floor(key).next()).await;
                symphony_crash::point("agent.readmit.before_discard");
                executor.discard(&object).await?;
                tracing::warn!(%object, "was placed elsewhere while this node was out; ended here");
                if destroyed.len() < KEEP_MAX {
                    destroyed.push(object);
                }
            }
        }
        Ok(destroyed)
    }

    /// Waits for the calls of earlier sessions. There are no new ones: the node has not settled.
    async fn until_idle(&self) -> Result<(), Failure> {
        let idle = async {
            loop {
                let ended = self.shared.ended.notified();
                tokio::pin!(ended);
                ended.as_mut().enable();
                if self.under_way() == 0 {
                    return;
                }
                ended.await;
            }
        };
        let late = |_| Failure::new(FailureKind::Deadline, "calls from before are still under way");
        tokio::time::timeout(CALLS_PATIENCE, idle).await.map_err(late)
    }
}

/// All of it, or nothing: what can't be read is not taken for absent.
fn read(readmit: &Readmit) -> Result<HashMap<ObjectKey, Tenure>, Failure> {
    let bad = |text: String| Failure::new(FailureKind::Other, text);
    if readmit.keep.len() > KEEP_MAX {
        return Err(bad(format!(
            "{} objects to keep; {KEEP_MAX} at most",
            readmit.keep.len()
        )));
    }
    let mut keep = HashMap::new();
    for (object, tenure) in &readmit.keep {
        let key = object.parse::<ObjectKey>().map_err(|error| bad(error.to_string()))?;
        if keep.insert(key, *tenure).is_some() {
            return Err(bad(format!("{object} is to be kept twice")));
        }
    }
    Ok(keep)
}

#[cfg(test)]
mod tests;
