//! Images: the intent, the facts and the steps of `wit/image-driver.wit`, and the check on a plan.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::UploadId;
use crate::image::Image;
use crate::plugin::Slot;

use super::{Goal, Kind, PlanFault};

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

/// The kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Images;

impl Kind for Images {
    const NAME: &'static str = "image";
    const SLOT: Slot = Slot::ImageDriver;

    type Intent = Intent;
    type Probe = Probe;
    type Fact = Fact;
    type Step = Step;
    type Met = ();

    fn goal(intent: &Intent) -> Goal {
        intent.goal
    }

    fn may_probe(intent: &Intent, probe: &Probe) -> Result<(), String> {
        let (Probe::Upload(object) | Probe::Blob(object)) = probe;
        if is_own(intent, object) {
            Ok(())
        } else {
            Err(object.clone())
        }
    }

    fn proof(intent: &Intent) -> Vec<Probe> {
        vec![Probe::Blob(intent.digest.to_string())]
    }

    /// Every step is on this image's upload or bytes, and works towards the goal. Bytes that another image shares are
    /// never removed.
    fn check(intent: &Intent, _: &[Fact], steps: &[Step]) -> Result<(), PlanFault> {
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
                (Goal::Present, Step::Remove { .. }) | (Goal::Absent, Step::Publish { .. } | Step::Check { .. }) => {
                    true
                }
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
        Ok(())
    }

    fn met(intent: &Intent, facts: &[Fact]) -> Option<()> {
        let blob = facts.iter().find_map(|fact| match fact {
            Fact::Blob { digest, present } if *digest == intent.digest.to_string() => Some(*present),
            _ => None,
        })?;
        let met = match intent.goal {
            Goal::Present => blob,
            Goal::Absent => !blob || intent.shared,
        };
        met.then_some(())
    }

    fn action(step: &Step) -> &'static str {
        step.action()
    }
}

fn is_own(intent: &Intent, object: &str) -> bool {
    object == intent.upload.to_string() || object == intent.digest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Plan, check_probes};

    const UPLOAD: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn check(intent: &Intent, steps: Vec<Step>) -> Result<Plan<Images>, PlanFault> {
        crate::plan::check::<Images>(intent, &[], steps)
    }

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
        assert!(check_probes::<Images>(&intent(Goal::Present, false), vec![Probe::Upload("..".into())]).is_err());
    }
}
