//! The resident instance: made when needed, told what changed, dropped at the first doubt.

use std::time::Instant;

use symphony_core::place::mirror::{Change, Mirror, Stamp};
use symphony_core::place::{Answer, Candidates, Request, Verdict, check};

use crate::bindings::scheduler::exports::symphony::plugin::{explain, policy};
use crate::bindings::scheduler::symphony::plugin::scheduling as wit;
use crate::fault::{FaultKind, PluginFault, clip};
use crate::guest::Sandbox;
use crate::runtime::Compiled;
use crate::smoke::Descriptor;

use super::{columns, decisions};

/// Makes instances and holds at most one.
pub(super) struct Resident {
    compiled: Compiled,
    config: String,
    /// Goes up with each instance, so that no stamp is ever seen twice.
    instances: u64,
    live: Option<Live>,
}

/// An instance that took its configuration, and what it holds.
struct Live {
    sandbox: Sandbox,
    policy: policy::Guest,
    explain: Option<explain::Guest>,
    mirror: Mirror,
    calls: u64,
    since: Instant,
}

/// A call's end, as far as the next step hangs on it.
type Result<T> = std::result::Result<T, PluginFault>;

impl Resident {
    pub(super) fn new(compiled: Compiled, config: String) -> Self {
        Self {
            compiled,
            config,
            instances: 0,
            live: None,
        }
    }

    /// Makes a fresh instance; what it said of itself.
    pub(super) fn start(&mut self) -> Result<Descriptor> {
        self.live = None;
        let (live, descriptor) = self.instantiate()?;
        self.live = Some(live);
        Ok(descriptor)
    }

    pub(super) fn drop_instance(&mut self) {
        self.live = None;
    }

    pub(super) fn place(&mut self, candidates: &Candidates, requests: &[Request], seed: u64) -> Result<Vec<Answer>> {
        self.attempt(|resident| resident.try_place(candidates, requests, seed))
    }

    pub(super) fn explain(&mut self, candidates: &Candidates, requests: &[Request]) -> Result<Option<Vec<Verdict>>> {
        self.attempt(|resident| resident.try_explain(candidates, requests))
    }

    /// Runs a call. After any fault the instance goes; when it was stale the call is made once more, on a fresh one.
    fn attempt<T>(&mut self, run: impl Fn(&mut Self) -> Result<T>) -> Result<T> {
        let mut result = run(self);
        if result
            .as_ref()
            .is_err_and(|fault| matches!(fault.kind, FaultKind::Stale(_)))
        {
            self.live = None;
            result = run(self);
        }
        if result.is_err() || self.is_worn() {
            self.live = None;
        }
        result
    }

    fn is_worn(&self) -> bool {
        let limits = &self.compiled.shared.limits;
        let memory_mark = limits.scheduler.memory_bytes / 100 * limits.retire.memory_percent;
        self.live.as_ref().is_some_and(|live| {
            live.calls >= limits.retire.calls
                || live.since.elapsed() >= limits.retire.age
                || live.sandbox.memory_bytes() > memory_mark
        })
    }

    fn instantiate(&mut self) -> Result<(Live, Descriptor)> {
        let shared = &self.compiled.shared;
        let fuel = shared.role().fuel.start;
        let pre = &self.compiled.pre;
        let mut sandbox = Sandbox::new(pre.engine(), shared);
        let (policy, explain) = sandbox.call("instantiate", fuel, |store| {
            let instance = pre.instantiate(&mut *store)?;
            let policy = policy::GuestIndices::new(pre)?.load(&mut *store, &instance)?;
            let explain = match shared.manifest.explains {
                true => Some(explain::GuestIndices::new(pre)?.load(&mut *store, &instance)?),
                false => None,
            };
            Ok((policy, explain))
        })?;
        let said = sandbox.call("describe", fuel, |store| policy.call_describe(store))?;
        let bad = |kind| shared.fault("describe", kind);
        let descriptor = decisions::descriptor(said, explain.is_some()).map_err(bad)?;
        sandbox
            .call("configure", fuel, |store| policy.call_configure(store, &self.config))?
            .map_err(|error| shared.fault("configure", refused(error)))?;
        self.instances += 1;
        let mirror = Mirror::new(
            self.instances << 32,
            &descriptor.candidate_columns,
            &descriptor.request_columns,
        )
        .map_err(|error| bad(FaultKind::Answer(clip(&error.to_string(), 256))))?;
        Ok((
            Live {
                sandbox,
                policy,
                explain,
                mirror,
                calls: 0,
                since: Instant::now(),
            },
            descriptor,
        ))
    }

    /// The instance, holding these candidates.
    fn ready(&mut self, candidates: &Candidates) -> Result<&mut Live> {
        let live = match self.live.take() {
            Some(live) => live,
            None => self.instantiate()?.0,
        };
        // Kept only when it came through: what a failed call left behind is unknown.
        let live = self.live.insert(live);
        let shared = &self.compiled.shared;
        let fuel = shared.role().fuel.load;
        let Live {
            sandbox,
            policy,
            mirror,
            ..
        } = live;
        let (call, answer) = match mirror.follow(candidates) {
            Change::None => return Ok(live),
            Change::Load {
                at,
                symbols,
                rows,
                columns,
            } => {
                let snapshot = wit::Snapshot {
                    at: columns::stamp(at),
                    symbols: columns::symbols(symbols),
                    rows,
                    columns: columns::columns(columns),
                };
                (
                    "load",
                    sandbox.call("load", fuel, |store| policy.call_load(store, &snapshot))?,
                )
            }
            Change::Update {
                base,
                to,
                symbols,
                rows,
                columns,
            } => {
                let delta = wit::Delta {
                    base: columns::stamp(base),
                    to: columns::stamp(to),
                    symbols: columns::symbols(symbols),
                    rows,
                    columns: columns::columns(columns),
                };
                (
                    "update",
                    sandbox.call("update", fuel, |store| policy.call_update(store, &delta))?,
                )
            }
        };
        let held = answer.map_err(|error| shared.fault(call, refused(error)))?;
        same_stamp(held, mirror.stamp()).map_err(|kind| shared.fault(call, kind))?;
        Ok(live)
    }

    fn try_place(&mut self, candidates: &Candidates, requests: &[Request], seed: u64) -> Result<Vec<Answer>> {
        let shared = std::sync::Arc::clone(&self.compiled.shared);
        let live = self.ready(candidates)?;
        let batch = columns::batch(live.mirror.batch(requests), seed);
        let fuel = shared.role().fuel.for_pairs(requests.len(), candidates.rows().len());
        let policy = &live.policy;
        let answer = live
            .sandbox
            .call("place", fuel, |store| policy.call_place(store, &batch))?;
        live.calls += 1;
        let read = || {
            let decisions = answer.map_err(refused)?;
            same_stamp(decisions.at, live.mirror.stamp())?;
            let answers = decisions::answers(requests.len(), decisions)?;
            check::answers(requests.len(), &answers)?;
            Ok(answers)
        };
        read().map_err(|kind| shared.fault("place", kind))
    }

    fn try_explain(&mut self, candidates: &Candidates, requests: &[Request]) -> Result<Option<Vec<Verdict>>> {
        let shared = std::sync::Arc::clone(&self.compiled.shared);
        let live = self.ready(candidates)?;
        let Some(explain) = &live.explain else { return Ok(None) };
        let batch = columns::batch(live.mirror.batch(requests), 0);
        // Texts for every candidate: a scan of numbers for each request, and much more for the last.
        let fuel = shared
            .role()
            .fuel
            .for_pairs(requests.len() + 20, candidates.rows().len());
        let answer = live
            .sandbox
            .call("explain", fuel, |store| explain.call_explain(store, &batch))?;
        live.calls += 1;
        answer
            .map_err(refused)
            .and_then(|verdicts| decisions::verdicts(candidates, verdicts))
            .map(Some)
            .map_err(|kind| shared.fault("explain", kind))
    }
}

fn same_stamp(held: wit::Stamp, wanted: Stamp) -> std::result::Result<(), FaultKind> {
    let held = Stamp {
        epoch: held.epoch,
        revision: held.revision,
        digest: held.digest,
    };
    if held == wanted {
        Ok(())
    } else {
        Err(FaultKind::Stale(format!(
            "it holds {held:?}, and {wanted:?} was asked for"
        )))
    }
}

/// What the plugin says instead of an answer.
fn refused(error: wit::Error) -> FaultKind {
    let text = |text: String| clip(&text, crate::fault::TEXT_BYTES_MAX);
    match error {
        wit::Error::Stale(held) => FaultKind::Stale(format!("it says that it holds {held:?}")),
        wit::Error::Config(said) => FaultKind::Config(text(said)),
        wit::Error::Unsupported(said) | wit::Error::Other(said) => FaultKind::Guest(text(said)),
    }
}
