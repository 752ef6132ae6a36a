//! Images: the intent, the facts and the steps of `wit/image-driver.wit`, and the check on a plan.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::UploadId;
use crate::image::Image;

use super::{Goal, PROBES_MAX, PlanFault, STEPS_MAX};

/// What is wanted of one image at one image service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The upload that brought the bytes.
    pub upload: UploadId,
    /// The stored bytes.
    pub digest: Digest,
    /// Whether they should be there.
    pub goal: Goal,
    /// Whether another image has the same bytes.
    pub shared: bool,
}

impl Intent {
    /// What is wanted of an image.
    #[must_use]
    pub fn of(image: &Image, shared: bool) -> Self {
        let goal = if image.meta.is_deleting() {
            Goal::Absent
        } else {
            Goal::Present
        };
        Self {
            upload: image.spec.upload,
            digest: image.spec.digest,
            goal,
            shared,
        }
    }
}

/// A fact that a driver needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// The state of an upload.
    Upload(String),
    /// The state of a blob.
    Blob(String),
}

/// What an image service saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// Of an upload.
    Upload {
        /// Which.
        upload: String,
        /// What is there; none: no such upload.
        found: Option<Upload>,
    },
    /// Of a blob.
    Blob {
        /// Which.
        digest: String,
        /// Whether it is there.
        present: bool,
    },
}

/// A complete upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Of its bytes, computed while they came in.
    pub digest: Digest,
    /// How many.
    pub stored_bytes: u64,
    /// What its header says.
    pub header: Header,
    /// Whether its structure is sound.
    pub integrity: Integrity,
}

/// What a file's own header says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The format.
    pub format: DetectedFormat,
    /// Size of the disk that it describes.
    pub virtual_bytes: u64,
    /// Other files that it refers to, or abilities that are refused.
    pub refused: Vec<String>,
}

/// A format that was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DetectedFormat {
    /// No known header: the bytes are the disk.
    Raw,
    /// QEMU's.
    Qcow2,
    /// Known, and not taken.
    Unsupported,
}

/// The result of a full check of a file's structure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Integrity {
    /// Not done yet.
    Unchecked,
    /// Nothing wrong.
    Sound,
    /// What is wrong.
    Corrupt(String),
}

/// One action of an image service; see `wit/image-driver.wit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Checks the structure of an upload.
    Check {
        /// Which.
        upload: String,
    },
    /// Makes the upload a blob.
    Publish {
        /// Which.
        upload: String,
        /// Under which name.
        digest: String,
    },
    /// Removes an upload.
    Discard {
        /// Which.
        upload: String,
    },
    /// Removes a blob.
    Remove {
        /// Which.
        digest: String,
    },
}

impl Step {
    /// What it does, in a word.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Check { .. } => "check",
            Self::Publish { .. } => "publish",
            Self::Discard { .. } => "discard",
            Self::Remove { .. } => "remove",
        }
    }
}

/// Probes that passed [`check_probes`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Probes(Vec<Probe>);

/// A plan that passed [`check`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Plan(Vec<Step>);

impl Probes {
    /// The probes.
    #[must_use]
    pub fn as_slice(&self) -> &[Probe] {
        &self.0
    }
}

impl Plan {
    /// The steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Checks what a driver asks for: only what belongs to the intent.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_probes(intent: &Intent, mut probes: Vec<Probe>) -> Result<Probes, PlanFault> {
    if probes.len() > PROBES_MAX {
        return Err(PlanFault::TooManyProbes(probes.len()));
    }
    for (step, probe) in probes.iter().enumerate() {
        let (Probe::Upload(object) | Probe::Blob(object)) = probe;
        if !is_own(intent, object) {
            return Err(PlanFault::ForeignObject {
                step,
                object: object.clone(),
            });
        }
    }
    // What the host itself must see before it believes that an image is stored or gone.
    let own = Probe::Blob(intent.digest.to_string());
    if !probes.contains(&own) {
        probes.push(own);
    }
    Ok(Probes(probes))
}

/// Whether the facts show that the intent is met, whatever the driver says.
#[must_use]
pub fn is_met(intent: &Intent, facts: &[Fact]) -> bool {
    let blob = facts.iter().find_map(|fact| match fact {
        Fact::Blob { digest, present } if *digest == intent.digest.to_string() => Some(*present),
        _ => None,
    });
    match intent.goal {
        Goal::Present => blob == Some(true),
        Goal::Absent => blob == Some(false) || (intent.shared && blob.is_some()),
    }
}

/// Checks a plan: every step is on this image's upload or bytes, and works towards the goal. Bytes that another image
/// shares are never removed.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(intent: &Intent, steps: Vec<Step>) -> Result<Plan, PlanFault> {
    if steps.len() > STEPS_MAX {
        return Err(PlanFault::TooManySteps(steps.len()));
    }
    for (position, step) in steps.iter().enumerate() {
        let objects: &[&String] = match step {
            Step::Check { upload } | Step::Discard { upload } => &[upload],
            Step::Publish { upload, digest } => &[upload, digest],
            Step::Remove { digest } => &[digest],
        };
        if let Some(object) = objects.iter().find(|object| !is_own(intent, object)) {
            return Err(PlanFault::ForeignObject {
                step: position,
                object: (*object).clone(),
            });
        }
        let against = match (intent.goal, step) {
            (Goal::Present, Step::Remove { .. }) | (Goal::Absent, Step::Publish { .. } | Step::Check { .. }) => true,
            (Goal::Absent, Step::Remove { .. }) => intent.shared,
            _ => false,
        };
        if against {
            return Err(PlanFault::AgainstIntent {
                step: position,
                action: step.action(),
            });
        }
    }
    Ok(Plan(steps))
}

fn is_own(intent: &Intent, object: &str) -> bool {
    object == intent.upload.to_string() || object == intent.digest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPLOAD: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn intent(goal: Goal, shared: bool) -> Intent {
        Intent {
            upload: UPLOAD.parse().unwrap(),
            digest: Digest::new([1; 32]),
            goal,
            shared,
        }
    }

    #[test]
    fn shared_bytes_stay() {
        let remove = vec![Step::Remove {
            digest: Digest::new([1; 32]).to_string(),
        }];
        assert!(check(&intent(Goal::Absent, false), remove.clone()).is_ok());
        assert_eq!(
            check(&intent(Goal::Absent, true), remove.clone()),
            Err(PlanFault::AgainstIntent {
                step: 0,
                action: "remove"
            })
        );
        assert!(check(&intent(Goal::Present, false), remove).is_err());
    }

    #[test]
    fn only_own_uploads_and_bytes() {
        let foreign = Digest::new([2; 32]).to_string();
        let publish = vec![Step::Publish {
            upload: UPLOAD.into(),
            digest: foreign,
        }];
        assert!(matches!(
            check(&intent(Goal::Present, false), publish),
            Err(PlanFault::ForeignObject { step: 0, .. })
        ));
        assert!(check_probes(&intent(Goal::Present, false), vec![Probe::Upload("..".into())]).is_err());
    }
}
