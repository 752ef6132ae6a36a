//! One pass over one volume.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use symphony_core::condition::Truth;
use symphony_core::counter::Generation;
use symphony_core::event::{Event, Severity, Subject};
use symphony_core::keys;
use symphony_core::name::Name;
use symphony_core::plan::Goal;
use symphony_core::plan::volume::{Intent, Volumes};
use symphony_core::volume::{Placement, Volume, VolumePhase};
use symphony_protocol::{ImageLocation, Outcome, Seen, Task, Work};
use symphony_store::{Compare, Txn};

use crate::clock;
use crate::events::{about_volume, event, of_machine};
use crate::view::Stored;
use crate::write::{TxnRecords as _, WriteError};

use super::drive::{Driven, End};
use super::outcome::PassError;
use super::{Context, TRIES, drive, wait_for_change};

/// Brings one volume to what its spec says.
pub(super) async fn pass(context: &Context, stored: Arc<Stored<Volume>>) -> Result<(), PassError> {
    let volume = &stored.value;
    let Some(intent) = Intent::of(volume) else {
        return forget(context, volume).await;
    };
    if let Some(node) = served_to(context, volume, &intent) {
        return Err(PassError::Unready(format!("the end of its service to node {node}")));
    }
    match bring(context, volume, &intent).await {
        Ok(End::Met(_)) if intent.goal == Goal::Absent => forget(context, volume).await,
        Ok(End::Met(bytes)) => made(context, volume, bytes).await,
        Ok(End::Impossible(why)) => failed(context, volume, &why).await,
        Err(error) => {
            let (reason, message) = error.condition();
            let stuck = |volume: &mut Volume| {
                volume
                    .status
                    .conditions
                    .set("ready", Truth::False, reason, &message, clock::now())
            };
            write_status(context, volume, stuck, None).await?;
            Err(error)
        }
    }
}

/// The node that writes to the volume from afar, when its file is to be removed or made longer: that waits.
fn served_to(context: &Context, volume: &Volume, intent: &Intent) -> Option<Name> {
    let is_safe = intent.goal == Goal::Present && volume.status.size_bytes >= volume.spec.size.bytes();
    let state = context.view.read();
    let export = state.exports.get(&volume.meta.id).filter(|_| !is_safe)?;
    export.value.writer.as_ref().map(|writer| writer.node.clone())
}

async fn bring(context: &Context, volume: &Volume, intent: &Intent) -> Result<End<u64>, PassError> {
    // A volume with an intent has a placement.
    let placement = volume.placement.as_ref().ok_or(PassError::Raced)?;
    let one = OneVolume {
        context,
        volume,
        placement,
        images: locations(context, intent)?,
    };
    drive::drive(context, &one, intent).await
}

struct OneVolume<'a> {
    context: &'a Context,
    volume: &'a Volume,
    placement: &'a Placement,
    images: Vec<ImageLocation>,
}

impl Driven for OneVolume<'_> {
    type Kind = Volumes;

    fn node(&self) -> &Name {
        &self.placement.node
    }

    fn id(&self) -> String {
        self.volume.meta.id.to_string()
    }

    fn generation(&self) -> Generation {
        self.volume.meta.generation
    }

    fn work(&self, task: Task<Volumes>) -> Work {
        Work::Volume {
            pool: self.placement.pool.clone(),
            images: self.images.clone(),
            task,
        }
    }

    fn seen(outcome: Outcome) -> Option<Seen<Volumes>> {
        match outcome {
            Outcome::Volume(seen) => Some(seen),
            _ => None,
        }
    }

    fn subject(&self) -> Subject {
        about_volume(self.volume)
    }

    fn story(&self, step: Event) -> Option<Event> {
        // The story of a machine is told step by step; that of a volume alone would be longer than the volume's making.
        self.volume.machine.as_ref().map(|_| of_machine(step, self.volume))
    }

    fn tell(&self, message: String) -> BoxFuture<'static, ()> {
        tell(self.context.clone(), self.volume.clone(), message).boxed()
    }
}

async fn tell(context: Context, volume: Volume, message: String) {
    let progress = |volume: &mut Volume| {
        volume
            .status
            .conditions
            .set("ready", Truth::False, "working", &message, clock::now())
    };
    if let Err(error) = write_status(&context, &volume, progress, None).await {
        tracing::debug!(%error, "progress was not written");
    }
}

/// Where the volume's image can be fetched; nothing when it has none, or is going.
fn locations(context: &Context, intent: &Intent) -> Result<Vec<ImageLocation>, PassError> {
    let Some(source) = intent.source.as_ref().filter(|_| intent.goal == Goal::Present) else {
        return Ok(Vec::new());
    };
    let node = context
        .view
        .read()
        .image_node(&source.digest)
        .ok_or_else(|| PassError::NoImage(source.image.to_string()))?;
    let location = |data_url| ImageLocation {
        digest: source.digest,
        data_url,
        stored_bytes: source.stored_bytes,
    };
    // A service that is away now may not be needed: the node may have the image already.
    Ok(context.agents.data_url(&node).map(location).into_iter().collect())
}

async fn made(context: &Context, seen: &Volume, bytes: u64) -> Result<(), PassError> {
    let change = |volume: &mut Volume| {
        let is_whole = volume.meta.generation == seen.meta.generation && bytes >= volume.spec.size.bytes();
        let shown = |volume: &Volume| {
            let status = &volume.status;
            (status.phase, status.observed_generation, status.size_bytes)
        };
        let before = shown(volume);
        volume.status.size_bytes = bytes;
        let (phase, reason) = if is_whole {
            (VolumePhase::Ready, "made")
        } else {
            (VolumePhase::Resizing, "growing")
        };
        volume.status.phase = phase;
        if is_whole {
            volume.status.observed_generation = volume.meta.generation;
        }
        let truth = if is_whole { Truth::True } else { Truth::False };
        // One that waits for room is looked at again and again, and written once.
        volume.status.conditions.set("ready", truth, reason, "", clock::now()) || shown(volume) != before
    };
    // A pass for a spec that changed meanwhile, or for a claim that has not grown yet, is not the end of the story.
    let is_news = bytes >= seen.spec.size.bytes();
    let reason = if seen.status.size_bytes > 0 { "resized" } else { "ready" };
    let size = symphony_core::quantity::Bytes(bytes);
    let told = is_news.then(|| {
        let message = format!("{size} on node {}", node_of(seen));
        of_machine(event(Severity::Normal, reason, about_volume(seen), message), seen)
    });
    write_status(context, seen, change, told).await?;
    // Not settled, and nothing to do for it until its claim has grown: a pause, not a pass after a pass.
    if is_news { Ok(()) } else { Err(PassError::WaitsForRoom) }
}

async fn failed(context: &Context, seen: &Volume, why: &str) -> Result<(), PassError> {
    let change = |volume: &mut Volume| {
        let was = volume.status.phase;
        volume.status.phase = VolumePhase::Failed;
        volume.status.observed_generation = seen.meta.generation;
        volume
            .status
            .conditions
            .set("ready", Truth::False, "refused", why, clock::now())
            || was != VolumePhase::Failed
    };
    let told = of_machine(event(Severity::Warning, "failed", about_volume(seen), why), seen);
    write_status(context, seen, change, Some(told)).await
}

/// Changes the status of the record as it is now. The event is told when the change changed anything.
async fn write_status(
    context: &Context,
    seen: &Volume,
    change: impl Fn(&mut Volume) -> bool,
    told: Option<Event>,
) -> Result<(), PassError> {
    let name = (seen.meta.project.clone(), seen.meta.name.clone());
    for _ in 0..TRIES {
        let Some(current) = context.view.read().volumes.get(&name).cloned() else {
            return Err(PassError::Raced);
        };
        if current.value.meta.id != seen.meta.id || current.value.meta.is_deleting() != seen.meta.is_deleting() {
            return Err(PassError::Raced);
        }
        let mut volume = current.value.clone();
        if !change(&mut volume) {
            return Ok(());
        }
        let key = keys::volume(&name.0, &name.1);
        let mut txn = Txn::new().when(Compare::mod_revision(key.clone(), current.revision));
        txn = txn.put_record(key, &volume).map_err(WriteError::from)?;
        if let Some(told) = &told {
            txn = txn.tell(told).map_err(WriteError::from)?;
        }
        symphony_crash::point("control.volume.before_status");
        match context.writer.commit(txn).await {
            Ok(revision) => {
                symphony_crash::point("control.volume.after_status");
                context.view.seen(revision).await;
                return Ok(());
            }
            Err(WriteError::Conflict) => wait_for_change(context).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(PassError::Raced)
}

/// Takes the volume off the record, with its claim, in one transaction. Nothing of it is on any node any more.
async fn forget(context: &Context, seen: &Volume) -> Result<(), PassError> {
    let _one_at_a_time = context.releasing.lock().await;
    let name = (seen.meta.project.clone(), seen.meta.name.clone());
    for _ in 0..TRIES {
        let (current, ledger) = {
            let state = context.view.read();
            let Some(current) = state.volumes.get(&name).cloned() else {
                return Ok(());
            };
            let ledger = current
                .value
                .placement
                .as_ref()
                .and_then(|placement| state.ledgers.get(&placement.node).cloned());
            (current, ledger)
        };
        let volume = &current.value;
        if volume.meta.id != seen.meta.id || volume.placement.is_some() != seen.placement.is_some() {
            return Err(PassError::Raced);
        }
        let key = keys::volume(&name.0, &name.1);
        let mut txn = Txn::new()
            .when(Compare::mod_revision(key.clone(), current.revision))
            .delete(key)
            .delete(keys::volume_id(volume.meta.id))
            .delete(keys::decision(volume.meta.id))
            .delete(keys::export(volume.meta.id));
        if let Some(source) = &volume.spec.source {
            txn = txn.delete(keys::image_use(&source.digest, volume.meta.id));
        }
        if let (Some(placement), Some(ledger)) = (&volume.placement, ledger) {
            let mut next = ledger.value.clone();
            if let Err(error) = next.release(&placement.pool, placement.claimed_bytes) {
                tracing::error!(volume = %volume.meta.id, %error, "the ledger lacks a claim that is given back; it stays as it is");
            }
            let ledger_key = keys::ledger(&placement.node);
            txn = txn.when(Compare::mod_revision(ledger_key.clone(), ledger.revision));
            txn = txn.put_record(ledger_key, &next).map_err(WriteError::from)?;
        }
        let told = event(
            Severity::Normal,
            "deleted",
            about_volume(volume),
            "nothing is left of it",
        );
        txn = txn.tell(&told).map_err(WriteError::from)?;
        symphony_crash::point("control.volume.before_forget");
        match context.writer.commit(txn).await {
            Ok(revision) => {
                symphony_crash::point("control.volume.after_forget");
                context.view.seen(revision).await;
                return Ok(());
            }
            Err(WriteError::Conflict) => wait_for_change(context).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(PassError::Raced)
}

fn node_of(volume: &Volume) -> String {
    volume
        .placement
        .as_ref()
        .map_or_else(String::new, |placement| placement.node.to_string())
}
