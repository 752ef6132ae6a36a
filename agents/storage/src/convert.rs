//! From an image in the cache to its bytes: `qemu-img convert` in the jail, or shared blocks.

use std::sync::Arc;

use symphony_agent::StepError;
use symphony_agent::folder::Folder;
use symphony_agent::jail::{Finished, Jail, JailError, Job};
use symphony_agent::step::blocking;
use symphony_core::digest::Digest;
use symphony_core::id::VolumeId;
use symphony_core::image::Format;
use symphony_core::quantity::VOLUME_BYTES_MAX;

use crate::flush::Flusher;
use crate::object;
use crate::pool::{self, Pool};

/// Beyond the image's size, for the program's own rounding.
const SLACK_BYTES: u64 = 1 << 20;

/// An image as a step names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    pub(crate) digest: Digest,
    pub(crate) format: Format,
    pub(crate) virtual_bytes: u64,
}

/// Step `write-image`.
pub(crate) async fn write_image(
    pool: &Arc<Pool>,
    jail: &Jail,
    object: VolumeId,
    source: Source,
    progress: impl FnMut(u64),
) -> Result<(), StepError> {
    let prepared = blocking({
        let pool = Arc::clone(pool);
        move || prepare(&pool, object, source)
    });
    let Some(target) = prepared.await? else { return Ok(()) };
    symphony_crash::point("storage.write.before_convert");
    convert(pool, jail, source, (&pool.volumes, &target), progress).await?;
    symphony_crash::point("storage.write.before_note");
    let pool = Arc::clone(pool);
    blocking(move || pool.note_written(object, source.digest)).await?;
    symphony_crash::point("storage.write.after_note");
    Ok(())
}

/// Step `unpack-image`.
pub(crate) async fn unpack_image(
    pool: &Arc<Pool>,
    jail: &Jail,
    source: Source,
    progress: impl FnMut(u64),
) -> Result<(), StepError> {
    let _only = pool.lock_image(source.digest).await;
    let raw = pool::unpacked(source.digest);
    let target = pool::partial(&raw);
    let what = "unpack the image";
    if pool.cache.length(&raw).map_err(StepError::io(what))?.is_some() {
        return Ok(());
    }
    fetched_bytes(pool, source)?;
    let file = pool.cache.recreate(&target).map_err(StepError::io(what))?;
    file.set_len(source.virtual_bytes).map_err(StepError::io(what))?;
    drop(file);
    symphony_crash::point("storage.unpack.before_convert");
    convert(pool, jail, source, (&pool.cache, &target), progress).await?;
    symphony_crash::point("storage.unpack.before_rename");
    pool.cache
        .rename(&target, &pool.cache, &raw)
        .map_err(StepError::io(what))?;
    symphony_crash::point("storage.unpack.after_rename");
    let pool = Arc::clone(pool);
    blocking(move || pool.cache.sync().map_err(StepError::io(what))).await
}

/// Step `clone-image`. Blocking.
pub(crate) fn clone_image(pool: &Pool, object: VolumeId, digest: Digest) -> Result<(), StepError> {
    let what = "clone the image";
    let Some(bytes) = unwritten(pool, object, digest)? else {
        return Ok(());
    };
    if !pool.reflink {
        let text = format!("the file system of pool {} can't share blocks between files", pool.name);
        return Err(StepError::Other(text));
    }
    let raw = pool::unpacked(digest);
    if pool.cache.length(&raw).map_err(StepError::io(what))?.is_none() {
        return Err(StepError::Missing(format!(
            "image {digest} is not unpacked on this node"
        )));
    }
    let from = pool.cache.open_read(&raw).map_err(StepError::io(what))?;
    let image_bytes = from.metadata().map_err(StepError::io(what))?.len();
    if image_bytes > bytes {
        return Err(too_small(bytes, image_bytes));
    }
    pool.renew_partial(object, 0)?;
    let to = pool
        .volumes
        .open_write(&object::partial(object))
        .map_err(StepError::io(what))?;
    symphony_crash::point("storage.clone.before_clone");
    rustix::fs::ioctl_ficlone(&to, &from).map_err(|error| StepError::io(what)(error.into()))?;
    symphony_crash::point("storage.clone.after_clone");
    to.set_len(bytes).map_err(StepError::io(what))?;
    to.sync_all().map_err(StepError::io(what))?;
    symphony_crash::point("storage.clone.before_note");
    pool.note_written(object, digest)?;
    symphony_crash::point("storage.clone.after_note");
    Ok(())
}

/// Makes the partial object empty again: what a cut attempt left would shine through where the image is zero.
fn prepare(pool: &Pool, object: VolumeId, source: Source) -> Result<Option<String>, StepError> {
    let Some(bytes) = unwritten(pool, object, source.digest)? else {
        return Ok(None);
    };
    if source.virtual_bytes > bytes {
        return Err(too_small(bytes, source.virtual_bytes));
    }
    fetched_bytes(pool, source)?;
    pool.renew_partial(object, bytes)?;
    Ok(Some(object::partial(object)))
}

/// The length of the partial object; nothing when there is nothing left to write.
fn unwritten(pool: &Pool, object: VolumeId, digest: Digest) -> Result<Option<u64>, StepError> {
    if pool.whole_bytes(object)?.is_some() {
        return Ok(None);
    }
    let Some(bytes) = pool.partial_bytes(object)? else {
        return Err(StepError::Missing(format!(
            "there is no partial object {object} to write to"
        )));
    };
    Ok((pool.written(object)? != Some(digest)).then_some(bytes))
}

fn too_small(bytes: u64, image_bytes: u64) -> StepError {
    StepError::Other(format!(
        "the volume has {bytes} bytes, and the image needs {image_bytes}"
    ))
}

/// Checks that an image is in the cache; a raw one must have the length that it is said to have.
fn fetched_bytes(pool: &Pool, source: Source) -> Result<(), StepError> {
    let length = pool
        .cache
        .length(&pool::fetched(source.digest))
        .map_err(StepError::io("look at the image"))?;
    match (length, source.format) {
        (None, _) => Err(StepError::Missing(format!(
            "image {} is not fetched to this node",
            source.digest
        ))),
        (Some(bytes), Format::Raw) if bytes != source.virtual_bytes => Err(StepError::Corrupt(format!(
            "image {} has {bytes} bytes, and {} were expected",
            source.digest, source.virtual_bytes
        ))),
        (Some(_), _) => Ok(()),
    }
}

/// Converts into a file that is there, has at least the image's size, and is all zeros; flushes it.
async fn convert(
    pool: &Pool,
    jail: &Jail,
    source: Source,
    (folder, file): (&Folder, &str),
    mut progress: impl FnMut(u64),
) -> Result<(), StepError> {
    let what = "write the image";
    let length = folder.length(file).map_err(StepError::io(what))?;
    let (read, write) = (pool.cache.path_of(&pool::fetched(source.digest)), folder.path_of(file));
    let arguments = [
        "convert",
        "-p",
        "-f",
        format_name(source.format),
        "-O",
        "raw",
        "-n",
        "--target-is-zero",
        &read,
        &write,
    ];
    let mut flusher = Flusher::start(folder.open_write(file).map_err(StepError::io(what))?);
    let job = Job {
        dir: &pool.dir,
        read: &read,
        write: Some(&write),
        arguments: &arguments,
        file_bytes_max: length.unwrap_or(0).max(source.virtual_bytes).min(VOLUME_BYTES_MAX) + SLACK_BYTES,
        work_bytes: source.virtual_bytes,
    };
    let finished = jail
        .run(job, |done| {
            let bytes = done_bytes(done, source.virtual_bytes);
            flusher.written(bytes);
            progress(bytes);
        })
        .await;
    match finished {
        Ok(Finished { code: 0, .. }) => {}
        other => {
            flusher.abandon();
            return Err(failed(other));
        }
    }
    symphony_crash::point("storage.convert.before_sync");
    flusher
        .finish()
        .await
        .map_err(StepError::io("flush what was written"))?;
    symphony_crash::point("storage.convert.after_sync");
    if folder.length(file).map_err(StepError::io(what))? != length {
        return Err(StepError::Corrupt(
            "qemu-img changed the size of what it wrote to".to_owned(),
        ));
    }
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a display"
)]
fn done_bytes(done: f64, total_bytes: u64) -> u64 {
    ((total_bytes as f64 * done) as u64).min(total_bytes)
}

const fn format_name(format: Format) -> &'static str {
    match format {
        Format::Raw => "raw",
        Format::Qcow2 => "qcow2",
    }
}

fn failed(finished: Result<Finished, JailError>) -> StepError {
    match finished {
        Err(error @ JailError::NoProgram) => StepError::Missing(error.to_string()),
        Err(error @ JailError::Deadline(_)) => StepError::Deadline(error.to_string()),
        Err(JailError::Start(error)) => StepError::io("start qemu-img")(error),
        Err(error) => StepError::Other(error.to_string()),
        Ok(finished) if finished.stderr.contains("No space left on device") => {
            StepError::NoSpace("the file system is full".to_owned())
        }
        // The bytes were verified and the header checked: what is left is their structure.
        Ok(finished) => StepError::Corrupt(format!("qemu-img can't convert the image: {}", finished.complaint())),
    }
}
