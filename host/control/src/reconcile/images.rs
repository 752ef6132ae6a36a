//! One pass over one image.

use std::sync::Arc;

use symphony_core::condition::Truth;
use symphony_core::counter::Generation;
use symphony_core::event::{Event, Severity, Subject};
use symphony_core::image::{Image, ImagePhase};
use symphony_core::keys;
use symphony_core::name::Name;
use symphony_core::plan::Goal;
use symphony_core::plan::image::{Images, Intent};
use symphony_protocol::{Outcome, Seen, Task, Work};
use symphony_store::{Compare, Txn};

use crate::clock;
use crate::events::{about_image, event};
use crate::view::Stored;
use crate::write::{TxnRecords as _, WriteError};

use super::drive::{Driven, End};
use super::outcome::PassError;
use super::{Context, drive};

/// Brings one image to what its spec says.
pub(super) async fn pass(context: &Context, stored: Arc<Stored<Image>>) -> Result<(), PassError> {
    let image = &stored.value;
    let key = (image.meta.project.clone(), image.meta.name.clone());
    let shared = context.view.read().is_shared(&image.spec.digest, &key);
    let intent = Intent::of(image, shared);
    match drive::drive(context, &OneImage(image), &intent).await {
        Ok(End::Met(())) if intent.goal == Goal::Absent => forget(context, &stored).await,
        Ok(End::Met(())) => {
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
        Err(error) => {
            write_status(context, &stored, image.status.phase, error.condition(), None).await?;
            Err(error)
        }
    }
}

struct OneImage<'a>(&'a Image);

impl Driven for OneImage<'_> {
    type Kind = Images;

    fn node(&self) -> &Name {
        &self.0.spec.node
    }

    fn id(&self) -> String {
        self.0.meta.id.to_string()
    }

    fn generation(&self) -> Generation {
        self.0.meta.generation
    }

    fn work(&self, task: Task<Images>) -> Work {
        Work::Image { task }
    }

    fn subject(&self) -> Subject {
        about_image(self.0)
    }

    fn seen(outcome: Outcome) -> Option<Seen<Images>> {
        match outcome {
            Outcome::Image(seen) => Some(seen),
            _ => None,
        }
    }
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
