//! Step `check`: the whole structure of an upload, before it is called an image.

use symphony_agent::StepError;
use symphony_agent::jail::{Finished, Jail, JailError, Job};
use symphony_core::id::UploadId;
use symphony_core::plan::image::{DetectedFormat, Integrity, Upload};

use crate::store::{Store, complete};

/// `qemu-img check`: nothing wrong; only space that nobody uses is lost.
const SOUND: [i32; 2] = [0, 3];

/// Finds out whether an upload is sound.
pub(crate) async fn check(
    store: &Store,
    jail: &Jail,
    upload: UploadId,
    found: &Upload,
) -> Result<Integrity, StepError> {
    match found.header.format {
        DetectedFormat::Raw => Ok(raw(found.stored_bytes)),
        // Never shown to a program: what is refused is not checked, and the header says why.
        _ if !found.header.refused.is_empty() => Ok(Integrity::Corrupt(found.header.refused[0].clone())),
        DetectedFormat::Unsupported => Ok(Integrity::Corrupt("its format is not supported".to_owned())),
        DetectedFormat::Qcow2 => qcow2(store, jail, upload, found.stored_bytes).await,
    }
}

fn raw(bytes: u64) -> Integrity {
    if bytes == 0 {
        Integrity::Corrupt("the file is empty".to_owned())
    } else if !bytes.is_multiple_of(512) {
        Integrity::Corrupt(format!(
            "a raw image is a multiple of 512 bytes long, and this one has {bytes}: is it cut?"
        ))
    } else {
        Integrity::Sound
    }
}

async fn qcow2(store: &Store, jail: &Jail, upload: UploadId, stored_bytes: u64) -> Result<Integrity, StepError> {
    let file = store.incoming.path_of(&complete(upload));
    let job = Job {
        dir: &store.dir,
        read: &file,
        write: None,
        arguments: &["check", "-f", "qcow2", &file],
        file_bytes_max: 0,
        work_bytes: stored_bytes,
    };
    verdict(jail.run(job, |_| ()).await)
}

/// Only what the program found itself is held against the image, as that is noted for good. A program that did not come
/// to its end may have been killed by anyone, for any reason: the step failed, and is tried again.
fn verdict(finished: Result<Finished, JailError>) -> Result<Integrity, StepError> {
    match finished {
        Ok(finished) if SOUND.contains(&finished.code) => Ok(Integrity::Sound),
        Ok(finished) => Ok(Integrity::Corrupt(format!("qemu-img check: {}", finished.complaint()))),
        Err(error @ JailError::Deadline(_)) => Err(StepError::Deadline(error.to_string())),
        Err(error @ JailError::NoProgram) => Err(StepError::Missing(error.to_string())),
        Err(JailError::Start(error)) => Err(StepError::io("start qemu-img")(error)),
        Err(error) => Err(StepError::Other(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_images_are_whole_sectors() {
        assert_eq!(raw(512), Integrity::Sound);
        assert!(matches!(raw(0), Integrity::Corrupt(why) if why.contains("empty")));
        assert!(matches!(raw(1000), Integrity::Corrupt(why) if why.contains("512")));
    }

    #[test]
    fn only_the_programs_own_verdict_is_noted() {
        let said = |code| {
            verdict(Ok(Finished {
                code,
                stdout: String::new(),
                stderr: "broken".to_owned(),
            }))
        };
        assert!(matches!(said(0), Ok(Integrity::Sound)));
        assert!(matches!(said(3), Ok(Integrity::Sound)));
        assert!(matches!(said(2), Ok(Integrity::Corrupt(why)) if why.contains("broken")));
        assert!(matches!(verdict(Err(JailError::Killed(9))), Err(StepError::Other(_))));
        assert!(matches!(
            verdict(Err(JailError::Deadline(60))),
            Err(StepError::Deadline(_))
        ));
    }
}
