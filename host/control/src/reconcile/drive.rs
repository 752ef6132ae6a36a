//! One resource driven to what its intent says: the flow that is the same for every kind.
//!
//! ```text
//!   driver: probes ─► check ─► agent: facts ─► driver: plan ─► check ─► agent: steps ─► facts ─► … until nothing is left
//! ```
//!
//! What differs from kind to kind is [`Driven`]. Nothing is written down here but the faults of the driver.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use symphony_core::counter::Generation;
use symphony_core::name::Name;
use symphony_core::plan::{self, Kind, PlanFault, Refusal};
use symphony_protocol::{Outcome, Seen, Task, Work};
use symphony_runtime::{DriverPlugin, Hosted, PluginFault};

use crate::agents::Request;

use super::outcome::PassError;
use super::{Context, ROUNDS_MAX, watching};

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

    /// A task, with what the kind's executor needs beside it.
    fn work(&self, task: Task<Self::Kind>) -> Work;

    /// What was seen, out of an answer; nothing when the answer is of another kind.
    fn seen(outcome: Outcome) -> Option<Seen<Self::Kind>>;

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
    let first = Task::Facts { probes: probes.clone() };
    let mut facts = call(context, driven, first).await?.facts;
    for _ in 0..ROUNDS_MAX {
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
        symphony_crash::point_of(&["control.", D::Kind::NAME, ".before_steps"]);
        let then = probes.clone();
        let seen = call(context, driven, Task::Steps { plan, then }).await?;
        symphony_crash::point_of(&["control.", D::Kind::NAME, ".after_steps"]);
        for step in &seen.done {
            tracing::debug!(
                kind = D::Kind::NAME,
                id = driven.id(),
                action = step.action,
                took_ms = step.took_ms,
                "done"
            );
        }
        facts = seen.facts;
    }
    Err(driver.refuse("plan", PlanFault::NoEnd(ROUNDS_MAX)))
}

async fn call<D: Driven>(context: &Context, driven: &D, task: Task<D::Kind>) -> Result<Seen<D::Kind>, PassError> {
    let request = Request {
        node: driven.node(),
        object: format!("{}/{}", D::Kind::NAME, driven.id()),
        generation: driven.generation(),
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
