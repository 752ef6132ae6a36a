//! A volume's object on disk: its facts, and the steps that need no image.
//!
//! ```text
//!   absent ──allocate──► partial ──(write-image, clone-image)──► partial, written ──publish──► present
//!     ▲                                                                                           │
//!     └───────────────────────────────────────── remove ──────────────────────────────────────────┘
//! ```
//!
//! A present object is never replaced, shortened or written: steps that make one leave it as it is.

use std::io::{Read as _, Write as _};

use symphony_agent::StepError;
use symphony_core::digest::Digest;
use symphony_core::id::VolumeId;
use symphony_core::plan::volume::{Fact, ObjectState};

use crate::pool::Pool;

/// The file of a whole volume.
pub(crate) fn whole(object: VolumeId) -> String {
    format!("{object}.raw")
}

/// The file of a volume that is being made.
pub(crate) fn partial(object: VolumeId) -> String {
    format!("{object}.partial")
}

/// Names the image whose content the partial object has.
fn written(object: VolumeId) -> String {
    format!("{object}.written")
}

impl Pool {
    /// The fact of an object.
    pub(crate) fn object_fact(&self, object: VolumeId) -> Result<Fact, StepError> {
        let state = if let Some(size_bytes) = self.whole_bytes(object)? {
            ObjectState::Present { size_bytes }
        } else if let Some(size_bytes) = self.partial_bytes(object)? {
            let written = self.written(object)?.map(|digest| digest.to_string());
            ObjectState::Partial { size_bytes, written }
        } else {
            ObjectState::Absent
        };
        Ok(Fact::Object {
            object: object.to_string(),
            state,
        })
    }

    /// The length of the whole volume; nothing when there is none.
    pub(crate) fn whole_bytes(&self, object: VolumeId) -> Result<Option<u64>, StepError> {
        self.volumes
            .length(&whole(object))
            .map_err(StepError::io("look at the volume"))
    }

    /// The length of the partial object; nothing when there is none.
    pub(crate) fn partial_bytes(&self, object: VolumeId) -> Result<Option<u64>, StepError> {
        self.volumes
            .length(&partial(object))
            .map_err(StepError::io("look at the partial object"))
    }

    /// The image whose content the partial object has, whole and flushed.
    pub(crate) fn written(&self, object: VolumeId) -> Result<Option<Digest>, StepError> {
        let what = "read which image was written";
        let file = written(object);
        if self.volumes.length(&file).map_err(StepError::io(what))?.is_none() {
            return Ok(None);
        }
        let mut text = String::new();
        let opened = self.volumes.open_read(&file).map_err(StepError::io(what))?;
        // A note that was torn by a power cut says nothing.
        let readable = opened.take(200).read_to_string(&mut text).is_ok();
        Ok(text.parse().ok().filter(|_| readable))
    }

    /// Notes durably that the partial object has an image's content. The content must be flushed before.
    pub(crate) fn note_written(&self, object: VolumeId, digest: Digest) -> Result<(), StepError> {
        let what = "note which image was written";
        let mut file = self.volumes.recreate(&written(object)).map_err(StepError::io(what))?;
        file.write_all(digest.to_string().as_bytes())
            .map_err(StepError::io(what))?;
        file.sync_all().map_err(StepError::io(what))?;
        self.volumes.sync().map_err(StepError::io(what))
    }

    /// Makes the partial object anew: empty, of this length. What is known of its content is forgotten first, durably.
    pub(crate) fn renew_partial(&self, object: VolumeId, size_bytes: u64) -> Result<(), StepError> {
        let what = "make the partial object";
        if self.volumes.remove(&written(object)).map_err(StepError::io(what))? {
            self.volumes.sync().map_err(StepError::io(what))?;
        }
        symphony_crash::point("storage.allocate.before_create");
        let file = self.volumes.recreate(&partial(object)).map_err(StepError::io(what))?;
        symphony_crash::point("storage.allocate.after_create");
        file.set_len(size_bytes).map_err(StepError::io(what))?;
        symphony_crash::point("storage.allocate.after_length");
        Ok(())
    }

    /// Step `allocate`.
    pub(crate) fn allocate(&self, object: VolumeId, size_bytes: u64) -> Result<(), StepError> {
        if self.whole_bytes(object)?.is_some() {
            return Ok(());
        }
        self.renew_partial(object, size_bytes)
    }

    /// Step `resize`.
    pub(crate) fn resize(&self, object: VolumeId, size_bytes: u64) -> Result<(), StepError> {
        let (file, bytes, may_shrink) = match (self.whole_bytes(object)?, self.partial_bytes(object)?) {
            (Some(bytes), _) => (whole(object), bytes, false),
            (None, Some(bytes)) => (partial(object), bytes, self.written(object)?.is_none()),
            (None, None) => return Err(StepError::Missing(format!("there is no volume {object} to resize"))),
        };
        if size_bytes < bytes && !may_shrink {
            let text = format!("the volume has {bytes} bytes and never shrinks; {size_bytes} were asked for");
            return Err(StepError::Other(text));
        }
        let what = "resize the volume";
        let opened = self.volumes.open_write(&file).map_err(StepError::io(what))?;
        symphony_crash::point("storage.resize.before_length");
        if size_bytes != bytes {
            opened.set_len(size_bytes).map_err(StepError::io(what))?;
        }
        symphony_crash::point("storage.resize.before_sync");
        opened.sync_all().map_err(StepError::io(what))?;
        symphony_crash::point("storage.resize.after_sync");
        Ok(())
    }

    /// Step `publish`.
    pub(crate) fn publish(&self, object: VolumeId) -> Result<(), StepError> {
        let what = "publish the volume";
        if self.whole_bytes(object)?.is_none() {
            if self.partial_bytes(object)?.is_none() {
                return Err(StepError::Missing(format!(
                    "there is no partial object {object} to publish"
                )));
            }
            symphony_crash::point("storage.publish.before_sync");
            let file = self.volumes.open_write(&partial(object)).map_err(StepError::io(what))?;
            if let Err(error) = file.sync_all() {
                // What is on disk is unknown, and a second flush would say "fine": it has to be made again.
                self.renew_partial(object, 0)?;
                return Err(StepError::io(what)(error));
            }
            symphony_crash::point("storage.publish.before_rename");
            let renamed = self.volumes.rename(&partial(object), &self.volumes, &whole(object));
            renamed.map_err(StepError::io(what))?;
            symphony_crash::point("storage.publish.after_rename");
        }
        self.volumes.remove(&written(object)).map_err(StepError::io(what))?;
        self.volumes.sync().map_err(StepError::io(what))?;
        symphony_crash::point("storage.publish.after_sync");
        Ok(())
    }

    /// Step `remove`.
    pub(crate) fn remove(&self, object: VolumeId) -> Result<(), StepError> {
        let what = "remove the volume";
        symphony_crash::point("storage.remove.before_remove");
        self.volumes.remove(&whole(object)).map_err(StepError::io(what))?;
        symphony_crash::point("storage.remove.after_whole");
        self.volumes.remove(&written(object)).map_err(StepError::io(what))?;
        self.volumes.remove(&partial(object)).map_err(StepError::io(what))?;
        symphony_crash::point("storage.remove.before_sync");
        self.volumes.sync().map_err(StepError::io(what))?;
        symphony_crash::point("storage.remove.after_sync");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
