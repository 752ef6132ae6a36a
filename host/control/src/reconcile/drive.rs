//! One resource driven to what its intent says: the flow that is the same for every kind.
//!
//! ```text
//!   driver: probes ─► check ─► agent: facts ─► driver: plan ─► check ─► agent: steps ─► facts ─► … until nothing is left
//! ```
//!
//! What differs from kind to kind is [`Driven`]. Nothing is written down here but the faults of the driver.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use symphony_core::counter::{Admission, Generation, Tenure};
use symphony_core::event::{Event, Severity, Subject};
use symphony_core::name::Name;
use symphony_core::plan::{self, Kind, PlanFault, Refusal};
use symphony_protocol::{Outcome, Seen, StepDone, Task, Work};
use symphony_runtime::{DriverPlugin, Hosted, PluginFault};

use symphony_store::Txn;

use crate::agents::Request;
use crate::events::{event, with};
use crate::write::TxnRecords as _;

use super::outcome::PassError;
use super::{Context, ROUNDS_MAX, watching};

/// Most steps of one plan that are told of.
const EVENTS_MAX: usize = 32;

/// One resource of a kind, as far as driving it needs to know it.
pub(super) trait Driven: Sync {
    /// The kind.
    type Kind: Hosted;

    /// The node that it is on.
    fn node(&self) -> &Name;

    /// Its id.
    fn id(&self) -> String;

    /// The generation that this pass is for.
    fn generation(&self) -> Generation;

    /// Its tenure, and its node's admission, as they were together in the store when this pass began; nothing for what
    /// never moves.
    fn stamp(&self) -> Option<(Tenure, Admission)> {
        None
    }

    /// A task, with what the kind's executor needs beside it.
    fn work(&self, task: Task<Self::Kind>) -> Work;

    /// What was seen, out of an answer; nothing when the answer is of another kind.
    fn seen(outcome: Outcome) -> Option<Seen<Self::Kind>>;

    /// What of the intent depends on what was seen: whether a machine that died is started again.
    ///
    /// # Errors
    /// Ends the pass: what was seen can't be worked on now.
    fn adapt(
        &self,
        intent: &mut <Self::Kind as Kind>::Intent,
        facts: &[<Self::Kind as Kind>::Fact],
    ) -> Result<(), PassError> {
        let _ = (intent, facts);
        Ok(())
    }

    /// Whether it has a life of its own. Then it is not its driver's fault when plans have no end.
    fn lives(&self) -> bool {
        false
    }

    /// Takes note that steps are about to be done.
    fn begins(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }

    /// A step as it is told; nothing when steps are not worth an event each.
    fn story(&self, step: Event) -> Option<Event> {
        let _ = step;
        None
    }

    /// Whom events are about.
    fn subject(&self) -> Subject;

    /// Takes note of how far a long step is, about once a second.
    fn tell(&self, message: String) -> BoxFuture<'static, ()> {
        let _ = message;
        std::future::ready(()).boxed()
    }
}

/// How driving ends well.
pub(super) enum End<M> {
    /// The intent is met; what is known then.
    Met(M),
    /// It can never be met as asked.
    Impossible(String),
}

/// What is known once the intent of this kind of resource is met.
pub(super) type MetOf<D> = <<D as Driven>::Kind as Kind>::Met;

/// Plans and steps, until nothing is left to do.
pub(super) async fn drive<D: Driven>(
    context: &Context,
    driven: &D,
    intent: &<D::Kind as Kind>::Intent,
) -> Result<End<MetOf<D>>, PassError> {
    let driver = Driver::<D::Kind> {
        context,
        plugin: context.slots.driver().ok_or(PassError::NoDriver)?,
    };
    let probes = driver.plugin.probes(intent).await;
    let probes = probes.map_err(|fault| driver.report(fault))?;
    let probes = plan::check_probes::<D::Kind>(intent, probes).map_err(|fault| driver.refuse("probes", fault))?;
    let stamp = driven.stamp();
    let stamp = stamp.unwrap_or_else(|| (Tenure(0), context.view.read().admission(driven.node())));
    let first = Task::Facts { probes: probes.clone() };
    let mut facts = call(context, driven, stamp, first).await?.facts;
    for _ in 0..ROUNDS_MAX {
        let mut intent = intent.clone();
        driven.adapt(&mut intent, &facts)?;
        let intent = &intent;
        let answer = driver.plugin.plan(intent, &facts).await;
        let steps = match answer.map_err(|fault| driver.report(fault))? {
            Ok(steps) => steps,
            Err(Refusal::Invalid(why)) => return Ok(End::Impossible(why)),
            Err(refusal) => return Err(PassError::Waits(refusal)),
        };
        let plan = plan::check::<D::Kind>(intent, &facts, steps).map_err(|fault| driver.refuse("plan", fault))?;
        if plan.is_empty() {
            let met = D::Kind::met(intent, &facts);
            let met = met.ok_or_else(|| driver.refuse("plan", PlanFault::NothingDone))?;
            return Ok(End::Met(met));
        }
        driven.begins().await;
        symphony_crash::point_of(&["control.", D::Kind::NAME, ".before_steps"]);
        let then = probes.clone();
        let seen = call(context, driven, stamp, Task::Steps { plan, then }).await?;
        symphony_crash::point_of(&["control.", D::Kind::NAME, ".after_steps"]);
        tell_steps(context, driven, &seen.done).await;
        facts = seen.facts;
    }
    if driven.lives() {
        return Err(PassError::Unsteady);
    }
    Err(driver.refuse("plan", PlanFault::NoEnd(ROUNDS_MAX)))
}

/// Tells of each step with the time it took. A story that can't be written is no reason to stop.
async fn tell_steps<D: Driven>(context: &Context, driven: &D, done: &[StepDone]) {
    let told = done.iter().take(EVENTS_MAX).filter_map(|step| {
        let message = format!("{} on node {} took {} ms", step.action, driven.node(), step.took_ms);
        let told = event(Severity::Normal, "step", driven.subject(), message);
        driven.story(with(with(told, "action", &step.action), "took_ms", step.took_ms))
    });
    let told: Vec<Event> = told.collect();
    if told.is_empty() {
        return;
    }
    let txn = told.iter().try_fold(Txn::new(), |txn, told| txn.tell(told));
    match txn {
        Ok(txn) => {
            if let Err(error) = context.writer.commit(txn).await {
                tracing::debug!(%error, "steps were not told");
            }
        }
        Err(error) => tracing::debug!(%error, "steps were not told"),
    }
}

async fn call<D: Driven>(
    context: &Context,
    driven: &D,
    (tenure, admission): (Tenure, Admission),
    task: Task<D::Kind>,
) -> Result<Seen<D::Kind>, PassError> {
    let request = Request {
        node: driven.node(),
        object: format!("{}/{}", D::Kind::NAME, driven.id()),
        generation: driven.generation(),
        tenure,
        admission,
        work: driven.work(task),
    };
    let outcome = watching::call(context, request, &|message| driven.tell(message)).await?;
    D::seen(outcome).ok_or(PassError::WrongAnswer)
}

/// The driver that serves, and where its faults are told.
struct Driver<'a, K: Hosted> {
    context: &'a Context,
    plugin: std::sync::Arc<DriverPlugin<K>>,
}

impl<K: Hosted> Driver<'_, K> {
    fn report(&self, fault: PluginFault) -> PassError {
        self.context.slots.report(K::SLOT, fault.clone());
        PassError::Driver(fault)
    }

    fn refuse(&self, call: &'static str, fault: PlanFault) -> PassError {
        let told = self.plugin.compiled().refuse_plan(call, fault.clone());
        self.context.slots.report(K::SLOT, told);
        PassError::Plan(fault)
    }
}
