//! The end of an image. Its bytes stay as long as a volume was made from them or another image has the same.

use symphony_api::Code;
use symphony_control::clock;
use symphony_core::digest::Digest;
use symphony_core::image::Image;
use symphony_core::keys;
use symphony_core::name::Name;
use symphony_store::{Compare, Range, Revision, Store, Txn};

use crate::app::App;
use crate::event::{Records as _, about, event};
use crate::failure::{Answer, Failure};
use crate::input::IfMatch;
use crate::reading::{Stored, load};
use crate::routes::{TRIES, again, crowded};

/// Most volumes that are named when an image is in use.
const NAMED_MAX: usize = 5;
/// Most other images with the same bytes that are looked at; more of them than that are as good as one.
const OTHERS_MAX: usize = 100;

/// Asks for its end. Doing so again changes nothing.
pub(super) async fn delete(app: &App, project: &Name, name: &str, precondition: IfMatch) -> Answer<Stored<Image>> {
    for _ in 0..TRIES {
        let found = super::look_up(&*app.store, project, name).await?;
        let stored = found.ok_or_else(|| Failure::missing("image", name))?;
        precondition.check(stored.revision)?;
        if stored.value.meta.is_deleting() {
            return Ok(stored);
        }
        let mut image = stored.value.clone();
        image.meta.deleting_since = Some(clock::now());
        image.meta.generation = image.meta.generation.next();
        let key = keys::image(project, &image.meta.name);
        let told = event(
            "deletion-requested",
            about("image", &image.meta),
            "its end was asked for",
        );
        let txn = Txn::new()
            .when(Compare::mod_revision(&key, stored.revision))
            .record(key, &image)?
            .tell(&told)?;
        // Two images with the same bytes must not each go because the other one stays.
        let txn = match other(&*app.store, &image).await? {
            Some((other, revision)) => txn.when(Compare::mod_revision(other, revision)),
            None => {
                refuse_if_used(&*app.store, &image.spec.digest, name).await?;
                txn.when(Compare::none_under(keys::image_uses(&image.spec.digest)))
            }
        };
        symphony_crash::point("api.image.delete.before_commit");
        let result = app.store.txn(txn).await?;
        symphony_crash::point("api.image.delete.after_commit");
        if result.succeeded {
            return Ok(Stored {
                value: image,
                revision: result.revision,
            });
        }
        again(precondition)?;
    }
    Err(crowded())
}

/// Another image with the same bytes that stays.
async fn other(store: &dyn Store, image: &Image) -> Answer<Option<(String, Revision)>> {
    let uses = store
        .range(Range::prefix(keys::blob_uses(&image.spec.digest)).limit(OTHERS_MAX))
        .await?;
    for kv in uses.kvs {
        let Ok(key) = std::str::from_utf8(&kv.value) else {
            continue;
        };
        let Some(other) = load::<Image>(store, key).await? else {
            continue;
        };
        if other.value.meta.id != image.meta.id && !other.value.meta.is_deleting() {
            return Ok(Some((key.to_owned(), other.revision)));
        }
    }
    Ok(None)
}

async fn refuse_if_used(store: &dyn Store, digest: &Digest, name: &str) -> Answer<()> {
    let uses = store
        .range(Range::prefix(keys::image_uses(digest)).limit(NAMED_MAX))
        .await?;
    if uses.kvs.is_empty() {
        return Ok(());
    }
    let volume = |kv: &symphony_store::KeyValue| {
        let key = std::str::from_utf8(&kv.value).unwrap_or_default();
        key.strip_prefix(keys::VOLUMES).unwrap_or(key).to_owned()
    };
    let named = uses.kvs.iter().map(volume).collect::<Vec<_>>().join(", ");
    let more = if uses.more { " and others" } else { "" };
    let detail = format!("the image {name:?} is in use by {named}{more}; delete those volumes first");
    Err(Failure::new(Code::ImageInUse, detail))
}
