//! The steps from what is on disk to what is wanted.

use symphony_sdk::driver::Refusal;
use symphony_sdk::driver::volume::{
    Allocate, CloneImage, ImageSource, ImageState, Intent, ObjectState, PartialObject, Resize, Step, UnpackImage,
    WriteImage,
};

use crate::{Seen, lacks};

/// Nothing is to be left.
pub(crate) fn absent(intent: &Intent, object: &ObjectState) -> Vec<Step> {
    match object {
        ObjectState::Absent => Vec::new(),
        ObjectState::Partial(_) | ObjectState::Present(_) => vec![Step::Remove(intent.object.clone())],
    }
}

/// It is to be there, whole and of its size.
pub(crate) fn present(intent: &Intent, seen: &Seen<'_>) -> Result<Vec<Step>, Refusal> {
    check(intent)?;
    match seen.object {
        ObjectState::Present(size) => grow(intent, *size),
        ObjectState::Partial(partial) if is_written(intent, partial) => Ok(finish(intent, partial.size_bytes)),
        ObjectState::Partial(_) | ObjectState::Absent => match &intent.source {
            None => Ok(vec![allocate(intent, intent.size_bytes), publish(intent)]),
            Some(source) => fill(intent, source, seen),
        },
    }
}

/// What can never be met, whatever is on disk.
fn check(intent: &Intent) -> Result<(), Refusal> {
    if intent.size_bytes == 0 || !intent.size_bytes.is_multiple_of(512) {
        return Err(Refusal::Invalid(format!(
            "a size of {} bytes is not a multiple of 512",
            intent.size_bytes
        )));
    }
    match &intent.source {
        Some(source) if source.virtual_bytes > intent.size_bytes => Err(Refusal::Invalid(format!(
            "the image needs {} bytes, the volume has {}",
            source.virtual_bytes, intent.size_bytes
        ))),
        _ => Ok(()),
    }
}

/// A published volume is only ever made larger.
fn grow(intent: &Intent, size: u64) -> Result<Vec<Step>, Refusal> {
    if size > intent.size_bytes {
        return Err(Refusal::Invalid(format!(
            "the volume has {size} bytes and never shrinks; {} are wanted",
            intent.size_bytes
        )));
    }
    Ok(if size < intent.size_bytes {
        vec![resize(intent)]
    } else {
        Vec::new()
    })
}

/// Whether a partial object has its whole content. Without an image there is nothing to lose: it is started over.
fn is_written(intent: &Intent, partial: &PartialObject) -> bool {
    intent.source.as_ref().is_some_and(|source| {
        partial.written.as_ref() == Some(&source.digest)
            && (source.virtual_bytes..=intent.size_bytes).contains(&partial.size_bytes)
    })
}

/// The content is whole; the size and the name are left.
fn finish(intent: &Intent, size: u64) -> Vec<Step> {
    let resize = (size != intent.size_bytes).then(|| resize(intent));
    resize.into_iter().chain([publish(intent)]).collect()
}

/// From the image, by sharing its blocks where the file system can, else by writing them.
fn fill(intent: &Intent, source: &ImageSource, seen: &Seen<'_>) -> Result<Vec<Step>, Refusal> {
    let image = seen.image.ok_or_else(|| lacks("the state of the image"))?;
    let pool = seen.pool.ok_or_else(|| lacks("the pool's abilities"))?;
    let digest = || source.digest.clone();
    let object = || intent.object.clone();
    let (format, virtual_bytes) = (source.format, source.virtual_bytes);
    let mut steps = Vec::new();
    if image == ImageState::Absent {
        steps.push(Step::FetchImage(digest()));
    }
    // A clone, too, starts from an empty object: what an earlier attempt left must not shine through.
    if pool.reflink {
        if image != ImageState::Unpacked {
            steps.push(Step::UnpackImage(UnpackImage {
                digest: digest(),
                format,
                virtual_bytes,
            }));
        }
        steps.push(allocate(intent, virtual_bytes));
        steps.push(Step::CloneImage(CloneImage {
            object: object(),
            digest: digest(),
        }));
    } else {
        steps.push(allocate(intent, virtual_bytes));
        steps.push(Step::WriteImage(WriteImage {
            object: object(),
            digest: digest(),
            format,
            virtual_bytes,
        }));
    }
    steps.extend(finish(intent, virtual_bytes));
    Ok(steps)
}

fn allocate(intent: &Intent, size_bytes: u64) -> Step {
    Step::Allocate(Allocate {
        object: intent.object.clone(),
        size_bytes,
    })
}

fn resize(intent: &Intent) -> Step {
    Step::Resize(Resize {
        object: intent.object.clone(),
        size_bytes: intent.size_bytes,
    })
}

fn publish(intent: &Intent) -> Step {
    Step::Publish(intent.object.clone())
}
