//! Volumes: the intent, the facts and the steps of `wit/volume-driver.wit`, and the check on a plan.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::VolumeId;
use crate::image::Format;
use crate::name::Name;
use crate::plugin::Slot;
use crate::volume::{ImageSource, Volume};

use super::{Command, Goal, Kind, PlanFault};

/// What is wanted of one volume on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The volume's object on the node.
    pub object: VolumeId,
    /// The pool that it is placed in.
    pub pool: Name,
    /// Whether it should be there.
    pub goal: Goal,
    /// Its size.
    pub size_bytes: u64,
    /// What it starts with.
    pub source: Option<ImageSource>,
}

impl Intent {
    /// What is wanted of a volume; nothing while it has no place.
    #[must_use]
    pub fn of(volume: &Volume) -> Option<Self> {
        let placement = volume.placement.as_ref()?;
        Some(Self {
            object: volume.meta.id,
            pool: placement.pool.clone(),
            goal: if volume.meta.is_deleting() {
                Goal::Absent
            } else {
                Goal::Present
            },
            // Never more than is claimed: a spec that grew waits for its claim to grow.
            size_bytes: volume.spec.size.bytes().min(placement.claimed_bytes),
            source: volume.spec.source.clone(),
        })
    }
}

/// A fact that a driver needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// The state of a volume's object.
    Object(String),
    /// The state of an image in the node's cache.
    Image(String),
    /// The pool's abilities.
    Pool,
}

/// What an agent saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// Of a volume's object.
    Object {
        /// Which.
        object: String,
        /// What is there.
        state: ObjectState,
    },
    /// Of an image in the node's cache.
    Image {
        /// Which.
        digest: String,
        /// What is there.
        state: ImageState,
    },
    /// Of the pool.
    Pool {
        /// Whether the file system shares blocks between files.
        reflink: bool,
        /// What the file system has left.
        free_bytes: u64,
    },
}

/// What is on disk under a volume's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectState {
    /// Nothing.
    Absent,
    /// Being made; not a volume.
    Partial {
        /// Its length.
        size_bytes: u64,
        /// The image whose content was completely written and flushed.
        written: Option<String>,
    },
    /// Whole.
    Present {
        /// Its length.
        size_bytes: u64,
    },
}

/// What the node's cache holds of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageState {
    /// Nothing.
    Absent,
    /// The stored file, verified.
    Fetched,
    /// A raw copy, verified.
    Unpacked,
}

/// One action of an agent; see `wit/volume-driver.wit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Makes the partial object anew, empty.
    Allocate {
        /// Which.
        object: String,
        /// Its length.
        size_bytes: u64,
    },
    /// Fetches an image's stored file and verifies it.
    FetchImage {
        /// Which.
        digest: String,
    },
    /// Makes the cache's raw copy.
    UnpackImage {
        /// Which.
        digest: String,
        /// How it is stored.
        format: Format,
        /// Size of its disk.
        virtual_bytes: u64,
    },
    /// Converts a fetched image into the partial object.
    WriteImage {
        /// Into which.
        object: String,
        /// Which image.
        digest: String,
        /// How it is stored.
        format: Format,
        /// Size of its disk.
        virtual_bytes: u64,
    },
    /// Makes the partial object share the blocks of the cache's raw copy.
    CloneImage {
        /// Which.
        object: String,
        /// Of which image.
        digest: String,
    },
    /// Sets the length of the object.
    Resize {
        /// Which.
        object: String,
        /// Its new length.
        size_bytes: u64,
    },
    /// Makes the partial object the volume.
    Publish {
        /// Which.
        object: String,
    },
    /// Removes the object.
    Remove {
        /// Which.
        object: String,
    },
    /// Runs a program from the node's allow-list.
    Command(Command),
}

impl Step {
    /// What it does, in a word.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Allocate { .. } => "allocate",
            Self::FetchImage { .. } => "fetch-image",
            Self::UnpackImage { .. } => "unpack-image",
            Self::WriteImage { .. } => "write-image",
            Self::CloneImage { .. } => "clone-image",
            Self::Resize { .. } => "resize",
            Self::Publish { .. } => "publish",
            Self::Remove { .. } => "remove",
            Self::Command(_) => "command",
        }
    }

    fn object(&self) -> Option<&str> {
        match self {
            Self::Allocate { object, .. }
            | Self::WriteImage { object, .. }
            | Self::CloneImage { object, .. }
            | Self::Resize { object, .. }
            | Self::Publish { object }
            | Self::Remove { object } => Some(object),
            Self::FetchImage { .. } | Self::UnpackImage { .. } | Self::Command(_) => None,
        }
    }

    fn digest(&self) -> Option<&str> {
        match self {
            Self::FetchImage { digest }
            | Self::UnpackImage { digest, .. }
            | Self::WriteImage { digest, .. }
            | Self::CloneImage { digest, .. } => Some(digest),
            _ => None,
        }
    }
}

/// The kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volumes;

impl Kind for Volumes {
    const NAME: &'static str = "volume";
    const SLOT: Slot = Slot::VolumeDriver;

    type Intent = Intent;
    type Probe = Probe;
    type Fact = Fact;
    type Step = Step;
    /// The volume's length in bytes; 0 when it is gone as it should be.
    type Met = u64;

    fn goal(intent: &Intent) -> Goal {
        intent.goal
    }

    fn may_probe(intent: &Intent, probe: &Probe) -> Result<(), String> {
        let (own, object) = match probe {
            Probe::Object(object) => (is_own_object(intent, object), object),
            Probe::Image(digest) => (is_own_image(intent, digest), digest),
            Probe::Pool => return Ok(()),
        };
        if own { Ok(()) } else { Err(object.clone()) }
    }

    fn proof(intent: &Intent) -> Vec<Probe> {
        vec![Probe::Object(intent.object.to_string())]
    }

    /// Every step is on this volume or its image, has the intent's sizes, and works towards the goal; a volume that
    /// starts from an image is published with the image's content only. A plan may take a partial object down and start
    /// again; it never removes or shortens a whole volume that should stay.
    fn check(intent: &Intent, facts: &[Fact], steps: &[Step]) -> Result<(), PlanFault> {
        let state = own_state(intent, facts);
        let mut present_bytes = match state {
            Some(ObjectState::Present { size_bytes }) => Some(*size_bytes),
            _ => None,
        };
        let mut content = match state {
            Some(ObjectState::Partial { written, .. }) => written.clone(),
            _ => None,
        };
        let wanted = intent.source.as_ref().map(|source| source.digest.to_string());
        for (position, step) in steps.iter().enumerate() {
            check_step(intent, present_bytes, position, step)?;
            match step {
                Step::Allocate { .. } | Step::Remove { .. } => content = None,
                Step::WriteImage { digest, .. } | Step::CloneImage { digest, .. } => content = Some(digest.clone()),
                Step::Publish { .. } if present_bytes.is_none() && content != wanted => {
                    return Err(PlanFault::WithoutContent { step: position });
                }
                _ => {}
            }
            // A step may publish what a later one must not remove again.
            if matches!(step, Step::Publish { .. }) {
                present_bytes = Some(intent.size_bytes);
            }
        }
        Ok(())
    }

    fn met(intent: &Intent, facts: &[Fact]) -> Option<u64> {
        match (intent.goal, own_state(intent, facts)?) {
            (Goal::Present, ObjectState::Present { size_bytes }) if *size_bytes >= intent.size_bytes => {
                Some(*size_bytes)
            }
            (Goal::Absent, ObjectState::Absent) => Some(0),
            _ => None,
        }
    }

    fn action(step: &Step) -> &'static str {
        step.action()
    }
}

fn own_state<'a>(intent: &Intent, facts: &'a [Fact]) -> Option<&'a ObjectState> {
    facts.iter().find_map(|fact| match fact {
        Fact::Object { object, state } if is_own_object(intent, object) => Some(state),
        _ => None,
    })
}

fn check_step(intent: &Intent, present_bytes: Option<u64>, step: usize, action: &Step) -> Result<(), PlanFault> {
    if let Some(object) = action.object().filter(|object| !is_own_object(intent, object)) {
        return Err(PlanFault::ForeignObject {
            step,
            object: object.to_owned(),
        });
    }
    if let Some(digest) = action.digest().filter(|digest| !is_own_image(intent, digest)) {
        return Err(PlanFault::ForeignObject {
            step,
            object: digest.to_owned(),
        });
    }
    let making = !matches!(action, Step::Remove { .. } | Step::Command(_));
    let against = match intent.goal {
        Goal::Absent => making,
        Goal::Present => matches!(action, Step::Remove { .. }) && present_bytes.is_some(),
    };
    if against {
        return Err(PlanFault::AgainstIntent {
            step,
            action: action.action(),
        });
    }
    let virtual_bytes_wanted = intent.source.as_ref().map(|source| source.virtual_bytes);
    match action {
        Step::Allocate { size_bytes, .. } | Step::Resize { size_bytes, .. } => {
            let shrinks =
                matches!(action, Step::Resize { .. }) && present_bytes.is_some_and(|present| *size_bytes < present);
            if *size_bytes != intent.size_bytes && Some(*size_bytes) != virtual_bytes_wanted
                || shrinks
                || *size_bytes > intent.size_bytes
            {
                return Err(PlanFault::WrongSize {
                    step,
                    bytes: *size_bytes,
                });
            }
        }
        Step::UnpackImage {
            virtual_bytes, format, ..
        }
        | Step::WriteImage {
            virtual_bytes, format, ..
        } => {
            let as_stored = intent.source.as_ref().is_some_and(|source| source.format == *format);
            if Some(*virtual_bytes) != virtual_bytes_wanted || !as_stored {
                return Err(PlanFault::WrongSize {
                    step,
                    bytes: *virtual_bytes,
                });
            }
        }
        Step::Command(command) if !command.is_acceptable() => return Err(PlanFault::Command { step }),
        _ => {}
    }
    Ok(())
}

fn is_own_object(intent: &Intent, object: &str) -> bool {
    object.parse::<VolumeId>().is_ok_and(|id| id == intent.object) && object == intent.object.to_string()
}

fn is_own_image(intent: &Intent, digest: &str) -> bool {
    let own = intent.source.as_ref().map(|source| source.digest);
    digest.parse::<Digest>().is_ok_and(|digest| Some(digest) == own)
}

#[cfg(test)]
mod tests;
