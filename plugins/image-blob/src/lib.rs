//! Images as blobs, named by their digest: an upload is checked once, then published for good.
//!
//! An image that refers to other files, is of a format that symphony does not take, or is damaged never becomes a blob.
//! A blob that another image shares stays when one of the two goes.

#[cfg(test)]
mod tests;

use symphony_sdk::ImageDriver;
use symphony_sdk::driver::image::{DetectedFormat, Fact, FoundUpload, Integrity, Intent, Probe, Publish, Step};
use symphony_sdk::driver::{Goal, Refusal};

/// The driver.
#[derive(Debug, Default)]
pub struct Blob;

impl ImageDriver for Blob {
    const NAME: &'static str = "blob";

    fn probes(&self, intent: &Intent) -> Vec<Probe> {
        let upload = (!intent.upload.is_empty()).then(|| Probe::Upload(intent.upload.clone()));
        upload.into_iter().chain([Probe::Blob(intent.digest.clone())]).collect()
    }

    fn plan(&self, intent: &Intent, facts: &[Fact]) -> Result<Vec<Step>, Refusal> {
        let seen = Seen::new(intent, facts)?;
        match intent.goal {
            Goal::Present => present(intent, &seen),
            Goal::Absent => Ok(absent(intent, &seen)),
        }
    }
}

symphony_sdk::export_image_driver!(Blob);

/// The facts that concern this intent.
struct Seen<'a> {
    upload: Option<&'a FoundUpload>,
    blob: bool,
}

impl<'a> Seen<'a> {
    fn new(intent: &Intent, facts: &'a [Fact]) -> Result<Self, Refusal> {
        // Without an upload's name there is none to be reported.
        let mut upload = intent.upload.is_empty().then_some(None);
        let mut blob = None;
        for fact in facts {
            match fact {
                Fact::Upload(fact) if fact.upload == intent.upload => upload = Some(fact.found.as_ref()),
                Fact::Blob(fact) if fact.digest == intent.digest => blob = Some(fact.present),
                Fact::Upload(_) | Fact::Blob(_) => {}
            }
        }
        match (upload, blob) {
            (Some(upload), Some(blob)) => Ok(Self { upload, blob }),
            (None, _) => Err(Refusal::Unavailable(
                "the image service did not report the upload".to_owned(),
            )),
            (_, None) => Err(Refusal::Unavailable(
                "the image service did not report the blob".to_owned(),
            )),
        }
    }
}

/// The blob is to be there.
fn present(intent: &Intent, seen: &Seen<'_>) -> Result<Vec<Step>, Refusal> {
    let discard = || Step::Discard(intent.upload.clone());
    let Some(upload) = seen.upload else {
        // The upload became the blob, or the same bytes were here before it.
        let lost = || Refusal::Unavailable("the image service has neither the upload nor the blob".to_owned());
        return if seen.blob { Ok(Vec::new()) } else { Err(lost()) };
    };
    acceptable(intent, upload)?;
    if seen.blob {
        return Ok(vec![discard()]);
    }
    Ok(match upload.integrity {
        // Whether it is sound decides what comes next, so the plan ends here until it is known.
        Integrity::Unchecked => vec![Step::Check(intent.upload.clone())],
        _ => vec![Step::Publish(Publish {
            upload: intent.upload.clone(),
            digest: intent.digest.clone(),
        })],
    })
}

/// Says why an upload can never become this image.
fn acceptable(intent: &Intent, upload: &FoundUpload) -> Result<(), Refusal> {
    let invalid = |what: String| Err(Refusal::Invalid(what));
    if upload.digest != intent.digest {
        return invalid(format!("the upload is {}, not {}", upload.digest, intent.digest));
    }
    if upload.header.format == DetectedFormat::Unsupported {
        return invalid("the format is none that is taken; convert it to raw or qcow2".to_owned());
    }
    if !upload.header.refused.is_empty() {
        return invalid(format!(
            "the image uses what is refused: {}",
            upload.header.refused.join(", ")
        ));
    }
    if let Integrity::Corrupt(what) = &upload.integrity {
        return invalid(format!("the image is damaged: {what}"));
    }
    Ok(())
}

/// Nothing of it is to be left, but for what another image shares.
fn absent(intent: &Intent, seen: &Seen<'_>) -> Vec<Step> {
    let discard = seen.upload.map(|_| Step::Discard(intent.upload.clone()));
    let remove = (seen.blob && !intent.shared).then(|| Step::Remove(intent.digest.clone()));
    discard.into_iter().chain(remove).collect()
}
