//! Changing and deleting a volume: new specs, never new states.

use symphony_api::Code;
use symphony_api::v1::PatchVolume;
use symphony_control::clock;
use symphony_core::keys;
use symphony_core::labels::Labels;
use symphony_core::name::Name;
use symphony_core::node::Node;
use symphony_core::place::Ledger;
use symphony_core::project::{Resource, Usage};
use symphony_core::quantity::{Bytes, VolumeSize};
use symphony_core::volume::{Placement, Volume};
use symphony_store::{Compare, Store, Txn};

use crate::app::App;
use crate::event::{Records as _, about, event};
use crate::failure::{Answer, Failure};
use crate::input::{Check, IfMatch};
use crate::quota;
use crate::reading::{Stored, load};
use crate::routes::{TRIES, again, crowded};

/// Changes labels or size.
pub(super) async fn patch(
    app: &App,
    project: &Name,
    name: &str,
    precondition: IfMatch,
    body: &PatchVolume,
) -> Answer<Stored<Volume>> {
    let (labels, size) = read(body)?;
    for _ in 0..TRIES {
        let stored = super::find(&*app.store, project, name).await?;
        precondition.check(stored.revision)?;
        if stored.value.meta.is_deleting() {
            return Err(Failure::new(
                Code::Conflict,
                format!("the volume {name:?} is being deleted"),
            ));
        }
        let mut volume = stored.value.clone();
        let (mut told, mut room) = (Vec::new(), None);
        if let Some(labels) = labels.as_ref().filter(|labels| **labels != volume.meta.labels) {
            volume.meta.labels = labels.clone();
            told.push(event(
                "relabelled",
                about("volume", &volume.meta),
                "its labels were changed",
            ));
        }
        if let Some(size) = size.filter(|size| *size != volume.spec.size) {
            grow(&*app.store, &mut volume, size).await?;
            let more = size.bytes() - stored.value.spec.size.bytes();
            let more = Usage::default().with(Resource::VolumeBytes, more);
            room = Some(quota::to_grow(&*app.store, project, &more).await?);
            let message = format!("{} instead of {} was asked for", size, stored.value.spec.size);
            told.push(event("resize-requested", about("volume", &volume.meta), message));
        }
        if told.is_empty() {
            return Ok(stored);
        }
        let mut txn = replace(&volume, &stored)?;
        if let Some(room) = room {
            txn = room.hold(txn);
        }
        for event in &told {
            txn = txn.tell(event)?;
        }
        symphony_crash::point("api.volume.patch.before_commit");
        let result = app.store.txn(txn).await?;
        symphony_crash::point("api.volume.patch.after_commit");
        if result.succeeded {
            return Ok(Stored {
                value: volume,
                revision: result.revision,
            });
        }
        again(precondition)?;
    }
    Err(crowded())
}

fn read(body: &PatchVolume) -> Answer<(Option<Labels>, Option<VolumeSize>)> {
    let mut check = Check::default();
    let labels = body
        .labels
        .as_ref()
        .map(|labels| check.take("/labels", Labels::try_from(labels.clone())));
    let size = body.spec.as_ref().and_then(|spec| spec.size.as_ref());
    let size = size.map(|size| check.take("/spec/size", size.volume_size()));
    check.end()?;
    Ok((labels.flatten(), size.flatten()))
}

async fn grow(store: &dyn Store, volume: &mut Volume, size: VolumeSize) -> Answer<()> {
    let present = volume.spec.size;
    if size.bytes() < present.bytes() {
        let detail = format!("the volume has {present}, and a volume never gets smaller: make a new one and copy");
        return Err(Failure::field(Code::ShrinkNotSupported, "/spec/size", detail));
    }
    if let Some(placement) = &volume.placement {
        fits(store, placement, size).await?;
    }
    volume.spec.size = size;
    volume.meta.generation = volume.meta.generation.next();
    Ok(())
}

/// Refuses at once what could only wait for ever: a placed volume can't go elsewhere for more room. The claim itself is
/// made by the loops; when room is lost before that, the volume waits as `Resizing`.
async fn fits(store: &dyn Store, placement: &Placement, size: VolumeSize) -> Answer<()> {
    let Some(node) = load::<Node>(store, &keys::node(&placement.node)).await? else {
        return Ok(());
    };
    let Some(pool) = node.value.status.pools.iter().find(|pool| pool.name == placement.pool) else {
        return Ok(());
    };
    let ledger = load::<Ledger>(store, &keys::ledger(&placement.node)).await?;
    let claimed = ledger.map_or(0, |ledger| ledger.value.claimed_bytes(&placement.pool));
    let free = pool.capacity_bytes.saturating_sub(claimed);
    let more = size.bytes().saturating_sub(placement.claimed_bytes);
    if more > free {
        let (node, pool) = (&placement.node, &placement.pool);
        let detail = format!(
            "node {node} has {} free in pool {pool}, and {} more are wanted",
            Bytes(free),
            Bytes(more)
        );
        return Err(Failure::field(Code::Unplaceable, "/spec/size", detail));
    }
    Ok(())
}

/// Asks for its end. Doing so again changes nothing.
pub(super) async fn delete(app: &App, project: &Name, name: &str, precondition: IfMatch) -> Answer<Stored<Volume>> {
    for _ in 0..TRIES {
        let stored = super::find(&*app.store, project, name).await?;
        precondition.check(stored.revision)?;
        if stored.value.meta.is_deleting() {
            return Ok(stored);
        }
        if let Some(holder) = &stored.value.machine {
            let machine = &holder.name;
            let detail =
                format!("the machine {machine} has the volume {name:?}; detach it first, or delete the machine");
            return Err(Failure::new(Code::VolumeInUse, detail));
        }
        let mut volume = stored.value.clone();
        volume.meta.deleting_since = Some(clock::now());
        // A new goal: agents that are still at work for the old one must not win over it.
        volume.meta.generation = volume.meta.generation.next();
        let told = event(
            "deletion-requested",
            about("volume", &volume.meta),
            "its end was asked for",
        );
        symphony_crash::point("api.volume.delete.before_commit");
        let result = app.store.txn(replace(&volume, &stored)?.tell(&told)?).await?;
        symphony_crash::point("api.volume.delete.after_commit");
        if result.succeeded {
            return Ok(Stored {
                value: volume,
                revision: result.revision,
            });
        }
        again(precondition)?;
    }
    Err(crowded())
}

fn replace(volume: &Volume, old: &Stored<Volume>) -> Answer<Txn> {
    let key = keys::volume(&volume.meta.project, &volume.meta.name);
    Ok(Txn::new()
        .when(Compare::mod_revision(&key, old.revision))
        .record(key, volume)?)
}
