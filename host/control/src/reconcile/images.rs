//! One pass over one image.

use std::sync::Arc;

use futures_util::FutureExt as _;
use symphony_core::condition::Truth;
use symphony_core::event::{Event, Severity};
use symphony_core::image::{Image, ImagePhase};
use symphony_core::keys;
use symphony_core::plan::image::{self as plan, Fact, Intent};
use symphony_core::plan::{Goal, PlanFault, Refusal};
use symphony_core::plugin::Slot;
use symphony_protocol::{Outcome, Work};
use symphony_runtime::ImageDriverPlugin;
use symphony_store::{Compare, Txn};

use crate::agents::Request;
use crate::clock;
use crate::events::{about_image, event};
use crate::view::Stored;
use crate::write::{TxnRecords as _, WriteError};

use super::outcome::PassError;
use super::{Context, ROUNDS_MAX, watching};

/// How a pass over an image ends well.
enum End {
    Present,
    Gone,
    Impossible(String),
}

/// Brings one image to what its spec says.
pub(super) async fn pass(context: &Context, stored: Arc<Stored<Image>>) -> Result<(), PassError> {
    let image = &stored.value;
    match drive(context, image).await {
        Ok(End::Present) => {
            let told = event(
                Severity::Normal,
                "ready",
                about_image(image),
                "volumes can be made from it",
            );
            write_status(context, &stored, ImagePhase::Ready, ("made", String::new()), Some(told)).await
        }
        Ok(End::Impossible(why)) => {
            let told = event(Severity::Warning, "failed", about_image(image), why.clone());
            write_status(context, &stored, ImagePhase::Failed, ("refused", why), Some(told)).await
        }
        Ok(End::Gone) => forget(context, &stored).await,
        Err(error) => {
            write_status(context, &stored, image.status.phase, error.condition(), None).await?;
            Err(error)
        }
    }
}

async fn drive(context: &Context, image: &Image) -> Result<End, PassError> {
    let key = (image.meta.project.clone(), image.meta.name.clone());
    let shared = context.view.read().is_shared(&image.spec.digest, &key);
    let intent = Intent::of(image, shared);
    let driver = context.slots.image_driver().ok_or(PassError::NoDriver)?;
    let report = |fault: symphony_runtime::PluginFault| {
        context.slots.report(Slot::ImageDriver, fault.clone());
        PassError::Driver(fault)
    };
    let probes = driver.probes(&intent).await.map_err(report)?;
    let probes = plan::check_probes(&intent, probes).map_err(|fault| refuse(context, &driver, "probes", fault))?;
    let mut facts = call(context, image, Work::ImageFacts { probes: probes.clone() }).await?;
    for _ in 0..ROUNDS_MAX {
        let steps = match driver.plan(&intent, &facts).await.map_err(report)? {
            Ok(steps) => steps,
            Err(Refusal::Invalid(why)) => return Ok(End::Impossible(why)),
            Err(refusal) => return Err(PassError::Waits(refusal)),
        };
        let plan = plan::check(&intent, steps).map_err(|fault| refuse(context, &driver, "plan", fault))?;
        if plan.is_empty() {
            if !plan::is_met(&intent, &facts) {
                return Err(refuse(context, &driver, "plan", PlanFault::NothingDone));
            }
            return Ok(if intent.goal == Goal::Present {
                End::Present
            } else {
                End::Gone
            });
        }
        symphony_crash::point("control.image.before_steps");
        facts = call(
            context,
            image,
            Work::ImageSteps {
                plan,
                then: probes.clone(),
            },
        )
        .await?;
    }
    Err(refuse(context, &driver, "plan", PlanFault::NoEnd(ROUNDS_MAX)))
}

async fn call(context: &Context, image: &Image, work: Work) -> Result<Vec<Fact>, PassError> {
    let object = format!("image/{}", image.meta.id);
    let request = Request {
        node: &image.spec.node,
        object,
        generation: image.meta.generation,
        work,
    };
    match watching::call(context, request, &|_| std::future::ready(()).boxed()).await? {
        Outcome::Image(facts) => Ok(facts),
        Outcome::Volume(_) => Err(PassError::WrongAnswer),
    }
}

fn refuse(context: &Context, driver: &ImageDriverPlugin, call: &'static str, fault: PlanFault) -> PassError {
    context
        .slots
        .report(Slot::ImageDriver, driver.compiled().refuse_plan(call, fault.clone()));
    PassError::Plan(fault)
}

async fn write_status(
    context: &Context,
    stored: &Stored<Image>,
    phase: ImagePhase,
    (reason, message): (&str, String),
    told: Option<Event>,
) -> Result<(), PassError> {
    let mut image = stored.value.clone();
    let was = image.status.phase;
    image.status.phase = phase;
    if matches!(phase, ImagePhase::Ready | ImagePhase::Failed) {
        image.status.observed_generation = image.meta.generation;
    }
    let truth = if phase == ImagePhase::Ready {
        Truth::True
    } else {
        Truth::False
    };
    if !image
        .status
        .conditions
        .set("ready", truth, reason, &message, clock::now())
        && was == phase
    {
        return Ok(());
    }
    let key = keys::image(&image.meta.project, &image.meta.name);
    let mut txn = Txn::new().when(Compare::mod_revision(key.clone(), stored.revision));
    txn = txn.put_record(key, &image).map_err(WriteError::from)?;
    if let Some(told) = &told {
        txn = txn.tell(told).map_err(WriteError::from)?;
    }
    commit(context, txn).await
}

/// Takes the image off the record. Its bytes are gone, or another image's.
async fn forget(context: &Context, stored: &Stored<Image>) -> Result<(), PassError> {
    let meta = &stored.value.meta;
    let key = keys::image(&meta.project, &meta.name);
    let told = event(
        Severity::Normal,
        "deleted",
        about_image(&stored.value),
        "nothing is left of it",
    );
    let txn = Txn::new()
        .when(Compare::mod_revision(key.clone(), stored.revision))
        .delete(key)
        .delete(keys::image_id(meta.id))
        .delete(keys::blob_use(&stored.value.spec.digest, meta.id))
        .tell(&told)
        .map_err(WriteError::from)?;
    commit(context, txn).await
}

async fn commit(context: &Context, txn: Txn) -> Result<(), PassError> {
    symphony_crash::point("control.image.before_commit");
    match context.writer.commit(txn).await {
        Ok(revision) => {
            symphony_crash::point("control.image.after_commit");
            context.view.seen(revision).await;
            Ok(())
        }
        Err(WriteError::Conflict) => Err(PassError::Raced),
        Err(error) => Err(error.into()),
    }
}
