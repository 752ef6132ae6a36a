//! The files of the image service, and the steps that only move them.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use symphony_agent::StepError;
use symphony_agent::folder::Folder;
use symphony_core::digest::Digest;
use symphony_core::id::UploadId;
use symphony_core::plan::image::{DetectedFormat, Header, Integrity, Upload};

use crate::header::{self, HEAD_BYTES, TAIL_BYTES};

/// Largest note about an upload, in bytes.
const NOTE_BYTES_MAX: u64 = 64 << 10;
/// Most files in `incoming` that are looked at when the service starts.
const INCOMING_MAX: usize = 1 << 16;

/// Why there is no image service.
#[derive(Debug, thiserror::Error)]
#[error("the images at {path} can't be opened")]
pub struct StoreError {
    /// Where.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// The open folders.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) dir: Dir,
    pub(crate) incoming: Folder,
    pub(crate) blobs: Folder,
}

/// The file of a complete upload.
pub(crate) fn complete(upload: UploadId) -> String {
    upload.to_string()
}

/// While its bytes come in.
pub(crate) fn partial(upload: UploadId) -> String {
    format!("{upload}.partial")
}

fn note(upload: UploadId) -> String {
    format!("{upload}.json")
}

impl Store {
    /// Opens the folders. What was coming in when the agent ended is removed: nobody will send the rest.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError {
            path: path.to_owned(),
            source,
        };
        Dir::create_ambient_dir_all(path, ambient_authority()).map_err(failed)?;
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(failed)?;
        let incoming = Folder::open(&dir, "incoming").map_err(failed)?;
        let blobs = Folder::open(&dir, "blobs").map_err(failed)?;
        let store = Self { dir, incoming, blobs };
        store.sweep().map_err(failed)?;
        Ok(store)
    }

    fn sweep(&self) -> io::Result<()> {
        let names = self.incoming.names(INCOMING_MAX)?;
        for name in &names {
            let orphan = name
                .strip_suffix(".json")
                .is_some_and(|upload| !names.iter().any(|other| other == upload));
            if orphan || name.ends_with(".partial") {
                self.incoming.remove(name)?;
            }
        }
        self.incoming.sync()
    }

    /// What is known of an upload; nothing when it is not here or not complete.
    pub(crate) fn upload(&self, upload: UploadId) -> Result<Option<Upload>, StepError> {
        let what = "look at the upload";
        let length = self.incoming.length(&complete(upload)).map_err(StepError::io(what))?;
        let noted = self.incoming.length(&note(upload)).map_err(StepError::io(what))?;
        let (Some(length), Some(_)) = (length, noted) else {
            return Ok(None);
        };
        let mut text = Vec::new();
        let file = self.incoming.open_read(&note(upload)).map_err(StepError::io(what))?;
        file.take(NOTE_BYTES_MAX)
            .read_to_end(&mut text)
            .map_err(StepError::io(what))?;
        let found: Upload = serde_json::from_slice(&text)
            .map_err(|error| StepError::Corrupt(format!("the note about upload {upload} can't be read: {error}")))?;
        if found.stored_bytes != length {
            let text = format!("upload {upload} has {length} bytes, and {} came in", found.stored_bytes);
            return Err(StepError::Corrupt(text));
        }
        Ok(Some(found))
    }

    /// Whether a blob is here.
    pub(crate) fn has_blob(&self, digest: Digest) -> Result<bool, StepError> {
        Ok(self
            .blobs
            .length(&digest.hex())
            .map_err(StepError::io("look at the blob"))?
            .is_some())
    }

    /// Makes received bytes an upload. Blocking.
    pub(crate) fn accept(&self, upload: UploadId, mut file: File, digest: Digest) -> Result<Upload, StepError> {
        let what = "keep the upload";
        symphony_crash::point("image.upload.before_sync");
        file.sync_all().map_err(StepError::io(what))?;
        symphony_crash::point("image.upload.after_sync");
        let stored_bytes = file.metadata().map_err(StepError::io(what))?.len();
        let header = look(&mut file, stored_bytes).map_err(StepError::io(what))?;
        let found = Upload {
            digest,
            stored_bytes,
            header,
            integrity: Integrity::Unchecked,
        };
        self.write_note(upload, &found)?;
        symphony_crash::point("image.upload.before_rename");
        self.incoming
            .rename(&partial(upload), &self.incoming, &complete(upload))
            .map_err(StepError::io(what))?;
        symphony_crash::point("image.upload.after_rename");
        self.incoming.sync().map_err(StepError::io(what))?;
        symphony_crash::point("image.upload.after_keep");
        Ok(found)
    }

    /// Notes the result of a check.
    pub(crate) fn note_integrity(&self, upload: UploadId, integrity: Integrity) -> Result<(), StepError> {
        let Some(found) = self.upload(upload)? else {
            return Err(gone(upload));
        };
        symphony_crash::point("image.check.before_note");
        self.write_note(upload, &Upload { integrity, ..found })?;
        symphony_crash::point("image.check.after_note");
        Ok(())
    }

    /// Step `publish`.
    pub(crate) fn publish(&self, upload: UploadId, digest: Digest) -> Result<(), StepError> {
        let what = "publish the image";
        if self.has_blob(digest)? {
            return self.discard(upload);
        }
        let Some(found) = self.upload(upload)? else {
            return Err(gone(upload));
        };
        if let Some(why) = unacceptable(&found, digest) {
            return Err(StepError::Corrupt(format!("upload {upload} is not published: {why}")));
        }
        symphony_crash::point("image.publish.before_rename");
        self.incoming
            .rename(&complete(upload), &self.blobs, &digest.hex())
            .map_err(StepError::io(what))?;
        symphony_crash::point("image.publish.after_rename");
        // First where it went to, then where it came from: never in neither.
        self.blobs.sync().map_err(StepError::io(what))?;
        symphony_crash::point("image.publish.after_sync");
        self.discard(upload)
    }

    /// Step `discard`.
    pub(crate) fn discard(&self, upload: UploadId) -> Result<(), StepError> {
        let what = "discard the upload";
        symphony_crash::point("image.discard.before_remove");
        for file in [complete(upload), note(upload), partial(upload)] {
            self.incoming.remove(&file).map_err(StepError::io(what))?;
            symphony_crash::point("image.discard.between_removes");
        }
        self.incoming.sync().map_err(StepError::io(what))?;
        symphony_crash::point("image.discard.after_sync");
        Ok(())
    }

    /// Step `remove`.
    pub(crate) fn remove(&self, digest: Digest) -> Result<(), StepError> {
        let what = "remove the image";
        symphony_crash::point("image.remove.before_remove");
        self.blobs.remove(&digest.hex()).map_err(StepError::io(what))?;
        symphony_crash::point("image.remove.before_sync");
        self.blobs.sync().map_err(StepError::io(what))?;
        symphony_crash::point("image.remove.after_sync");
        Ok(())
    }

    fn write_note(&self, upload: UploadId, found: &Upload) -> Result<(), StepError> {
        let what = "note what was found";
        let text = serde_json::to_vec(found).map_err(|error| StepError::Other(error.to_string()))?;
        let new = format!("{}.partial", note(upload));
        let mut file = self.incoming.recreate(&new).map_err(StepError::io(what))?;
        file.write_all(&text).map_err(StepError::io(what))?;
        file.sync_all().map_err(StepError::io(what))?;
        self.incoming
            .rename(&new, &self.incoming, &note(upload))
            .map_err(StepError::io(what))?;
        self.incoming.sync().map_err(StepError::io(what))
    }
}

/// Why an upload can't become a blob under this digest.
fn unacceptable(found: &Upload, digest: Digest) -> Option<String> {
    if found.digest != digest {
        return Some(format!("its digest is {}, not {digest}", found.digest));
    }
    if let Some(why) = found.header.refused.first() {
        return Some(why.clone());
    }
    match (&found.header.format, &found.integrity) {
        (DetectedFormat::Unsupported, _) => Some("its format is not supported".to_owned()),
        (_, Integrity::Corrupt(why)) => Some(why.clone()),
        (_, Integrity::Unchecked) => Some("it was not checked".to_owned()),
        (_, Integrity::Sound) => None,
    }
}

fn gone(upload: UploadId) -> StepError {
    StepError::Missing(format!("there is no upload {upload}"))
}

fn look(file: &mut File, length: u64) -> io::Result<Header> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES as u64)))?;
    file.take(TAIL_BYTES as u64).read_to_end(&mut tail)?;
    Ok(header::read(&head, &tail, length))
}

#[cfg(test)]
mod tests;
