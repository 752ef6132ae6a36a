//! A scheduler at work: one resident instance on a thread of its own, and a handle that asks it.
//!
//! The instance holds the candidates between calls; a stamp on every answer proves that it holds the right ones. Any
//! doubt (a fault, a wrong stamp, an answer that nobody waited for) ends the instance; the next call loads a fresh one,
//! which costs 0.1 ms for 10,000 candidates. Dropping the handle lets the call under way end; so a swap drops nothing.

mod columns;
mod decisions;
mod resident;

use symphony_core::place::{Answer, Candidates, Request, Verdict};
use tokio::sync::{mpsc, oneshot};

use crate::fault::{FaultKind, PluginFault};
use crate::inspect::Manifest;
use crate::runtime::Compiled;
use crate::smoke::Descriptor;
use resident::Resident;

/// Most requests in one batch.
pub const BATCH_MAX: usize = 4096;
/// Several times the stack that wasm may use.
const THREAD_STACK_BYTES: usize = 4 << 20;

type Reply<T> = oneshot::Sender<Result<T, PluginFault>>;

enum Job {
    Place {
        candidates: Candidates,
        requests: Vec<Request>,
        seed: u64,
        reply: Reply<Vec<Answer>>,
    },
    Explain {
        candidates: Candidates,
        before: Vec<Request>,
        request: Request,
        reply: Reply<Option<Vec<Verdict>>>,
    },
}

/// A running scheduler.
#[derive(Debug)]
pub struct SchedulerPlugin {
    compiled: Compiled,
    descriptor: Descriptor,
    jobs: mpsc::Sender<Job>,
}

impl SchedulerPlugin {
    /// Starts its thread and its first instance, with a configuration (JSON; `{}` for none).
    ///
    /// # Errors
    /// When no instance comes up, it describes itself wrongly, or it refuses the configuration.
    pub async fn start(compiled: &Compiled, config: &str) -> Result<Self, PluginFault> {
        let shared = &compiled.shared;
        let (jobs, queue) = mpsc::channel(shared.limits.scheduler_queue);
        let (ready, started) = oneshot::channel();
        let mut resident = Resident::new(compiled.clone(), config.to_owned());
        let work = move || match resident.start() {
            Ok(descriptor) => {
                if ready.send(Ok(descriptor)).is_ok() {
                    serve(resident, queue);
                }
            }
            Err(fault) => drop(ready.send(Err(fault))),
        };
        let thread = std::thread::Builder::new()
            .name(format!("plugin-{}", shared.manifest.name))
            .stack_size(THREAD_STACK_BYTES);
        // The thread ends by itself when the queue is closed and the call under way is over; fuel bounds that.
        thread
            .spawn(work)
            .map_err(|error| shared.fault("instantiate", FaultKind::Host(error.to_string())))?;
        let descriptor = wait(compiled, "instantiate", async { started.await.ok() }).await?;
        Ok(Self {
            compiled: compiled.clone(),
            descriptor,
            jobs,
        })
    }

    /// What the component is.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        self.compiled.manifest()
    }

    /// What it said of itself.
    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The component: counters, log, and faults of refused choices.
    #[must_use]
    pub fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// Decides for each request, in order; each sees those before it. One answer per request, none of them NaN; whether a
    /// choice is legal is for [`symphony_core::place::check::choice`]. At most [`BATCH_MAX`] requests.
    ///
    /// # Errors
    /// The fault; nothing of the batch was decided.
    pub async fn place(
        &self,
        candidates: &Candidates,
        requests: Vec<Request>,
        seed: u64,
    ) -> Result<Vec<Answer>, PluginFault> {
        let candidates = candidates.clone();
        self.ask("place", requests.len(), |reply| Job::Place {
            candidates,
            requests,
            seed,
            reply,
        })
        .await
    }

    /// Says of every candidate what became of it for `request`, after booking `before` as [`Self::place`] does. None when
    /// the plugin can't explain.
    ///
    /// # Errors
    /// The fault.
    pub async fn explain(
        &self,
        candidates: &Candidates,
        before: Vec<Request>,
        request: Request,
    ) -> Result<Option<Vec<Verdict>>, PluginFault> {
        if !self.descriptor.explains {
            return Ok(None);
        }
        let candidates = candidates.clone();
        self.ask("explain", before.len() + 1, |reply| Job::Explain {
            candidates,
            before,
            request,
            reply,
        })
        .await
    }

    async fn ask<T>(
        &self,
        call: &'static str,
        requests: usize,
        job: impl FnOnce(Reply<T>) -> Job,
    ) -> Result<T, PluginFault> {
        if requests > BATCH_MAX {
            let text = format!("{requests} requests were given at once, over the limit of {BATCH_MAX}");
            return Err(self.compiled.shared.fault(call, FaultKind::Host(text)));
        }
        let (reply, answer) = oneshot::channel();
        let job = job(reply);
        wait(&self.compiled, call, async {
            self.jobs.send(job).await.ok()?;
            answer.await.ok()
        })
        .await
    }
}

/// Waits for an answer until the deadline. An answer that comes later finds nobody; the thread then drops its instance.
async fn wait<T>(
    compiled: &Compiled,
    call: &'static str,
    answer: impl Future<Output = Option<Result<T, PluginFault>>>,
) -> Result<T, PluginFault> {
    let deadline = compiled.shared.role().deadline_of(call);
    match tokio::time::timeout(deadline, answer).await {
        Ok(Some(result)) => result,
        Ok(None) => Err(compiled
            .shared
            .fault(call, FaultKind::Host("its thread has ended".to_owned()))),
        Err(_) => Err(compiled.shared.fault(call, FaultKind::Deadline(deadline.as_millis()))),
    }
}

fn serve(mut resident: Resident, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        let taken = match job {
            // Nobody waits any more: not worth the fuel.
            Job::Place { reply, .. } if reply.is_closed() => true,
            Job::Explain { reply, .. } if reply.is_closed() => true,
            Job::Place {
                candidates,
                requests,
                seed,
                reply,
            } => reply.send(resident.place(&candidates, &requests, seed)).is_ok(),
            Job::Explain {
                candidates,
                mut before,
                request,
                reply,
            } => {
                before.push(request);
                reply.send(resident.explain(&candidates, &before)).is_ok()
            }
        };
        if !taken {
            resident.drop_instance();
        }
    }
}
