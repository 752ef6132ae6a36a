//! Images, between core's types and those of `wit/image-driver.wit`.

use symphony_core::plan::image::{DetectedFormat, Fact, Images, Integrity, Intent, Probe, Step, Upload};

use crate::bindings::image::exports::symphony::plugin::image_driver as wit;

super::glue::glue!(Images, wit);

fn intent(intent: &Intent) -> wit::Intent {
    wit::Intent {
        upload: intent.upload.to_string(),
        digest: intent.digest.to_string(),
        goal: super::goal(intent.goal),
        shared: intent.shared,
    }
}

fn fact(fact: &Fact) -> wit::Fact {
    match fact {
        Fact::Upload { upload, found } => wit::Fact::Upload(wit::UploadFact {
            upload: upload.clone(),
            found: found.as_ref().map(found_upload),
        }),
        Fact::Blob { digest, present } => wit::Fact::Blob(wit::BlobFact {
            digest: digest.clone(),
            present: *present,
        }),
    }
}

fn found_upload(upload: &Upload) -> wit::FoundUpload {
    let format = match upload.header.format {
        DetectedFormat::Raw => wit::DetectedFormat::Raw,
        DetectedFormat::Qcow2 => wit::DetectedFormat::Qcow2,
        DetectedFormat::Unsupported => wit::DetectedFormat::Unsupported,
    };
    let integrity = match &upload.integrity {
        Integrity::Unchecked => wit::Integrity::Unchecked,
        Integrity::Sound => wit::Integrity::Sound,
        Integrity::Corrupt(what) => wit::Integrity::Corrupt(what.clone()),
    };
    let header = wit::Header {
        format,
        virtual_bytes: upload.header.virtual_bytes,
        refused: upload.header.refused.clone(),
    };
    wit::FoundUpload {
        digest: upload.digest.to_string(),
        stored_bytes: upload.stored_bytes,
        header,
        integrity,
    }
}

fn probe(said: wit::Probe) -> Probe {
    match said {
        wit::Probe::Upload(upload) => Probe::Upload(upload),
        wit::Probe::Blob(digest) => Probe::Blob(digest),
    }
}

fn step(said: wit::Step) -> Step {
    match said {
        wit::Step::Check(upload) => Step::Check { upload },
        wit::Step::Publish(wit::Publish { upload, digest }) => Step::Publish { upload, digest },
        wit::Step::Discard(upload) => Step::Discard { upload },
        wit::Step::Remove(digest) => Step::Remove { digest },
    }
}
