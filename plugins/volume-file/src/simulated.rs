//! A node in memory that does steps as an agent does them, and refuses what an agent would refuse.

use symphony_sdk::driver::volume::{
    Fact, ImageFact, ImageState, Intent, ObjectFact, ObjectState, PartialObject, PoolFact, Probe, Step,
};

/// One object, one image, one pool: a plan sees no more.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) object: ObjectState,
    pub(crate) image: ImageState,
    pub(crate) reflink: bool,
    /// The content of the object: the digest of an image, or nothing for zeros; garbage when a write was cut off.
    pub(crate) content: Content,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    Zeros,
    Image(String),
    Garbage,
}

impl Node {
    pub(crate) fn new(reflink: bool) -> Self {
        Self {
            object: ObjectState::Absent,
            image: ImageState::Absent,
            reflink,
            content: Content::Zeros,
        }
    }

    pub(crate) fn facts(&self, intent: &Intent, probes: &[Probe]) -> Vec<Fact> {
        let fact = |probe: &Probe| match probe {
            Probe::Object(object) => {
                assert_eq!(*object, intent.object);
                Fact::Object(ObjectFact {
                    object: object.clone(),
                    state: self.object.clone(),
                })
            }
            Probe::Image(digest) => Fact::Image(ImageFact {
                digest: digest.clone(),
                state: self.image,
            }),
            Probe::Pool => Fact::Pool(PoolFact {
                reflink: self.reflink,
                free_bytes: 1 << 40,
            }),
        };
        probes.iter().map(fact).collect()
    }

    /// Does one step. `cut` says that the agent is killed in the middle of it.
    pub(crate) fn run(&mut self, step: &Step, cut: bool) -> Result<(), String> {
        match step {
            Step::Allocate(step) => {
                self.expect_unpublished()?;
                self.object = ObjectState::Partial(PartialObject {
                    size_bytes: step.size_bytes,
                    written: None,
                });
                self.content = Content::Zeros;
            }
            Step::FetchImage(_) if cut => {}
            Step::FetchImage(_) => {
                if self.image == ImageState::Absent {
                    self.image = ImageState::Fetched;
                }
            }
            Step::UnpackImage(_) if cut => {}
            Step::UnpackImage(_) => {
                self.expect_image(ImageState::Fetched)?;
                self.image = ImageState::Unpacked;
            }
            Step::WriteImage(step) => {
                self.expect_image(ImageState::Fetched)?;
                self.fill(&step.digest, step.virtual_bytes, cut)?;
            }
            Step::CloneImage(step) => {
                self.expect_image(ImageState::Unpacked)?;
                if !self.reflink {
                    return Err("the file system shares no blocks".to_owned());
                }
                let ObjectState::Partial(partial) = &self.object else {
                    return Err("no partial object".to_owned());
                };
                let size = partial.size_bytes;
                self.fill(&step.digest, size, cut)?;
            }
            Step::Resize(step) => match &mut self.object {
                ObjectState::Absent => return Err("nothing to resize".to_owned()),
                ObjectState::Partial(partial) => partial.size_bytes = step.size_bytes,
                ObjectState::Present(size) if *size > step.size_bytes => return Err("would shrink".to_owned()),
                ObjectState::Present(size) => *size = step.size_bytes,
            },
            Step::Publish(_) => match &self.object {
                ObjectState::Absent => return Err("nothing to publish".to_owned()),
                ObjectState::Partial(partial) => self.object = ObjectState::Present(partial.size_bytes),
                ObjectState::Present(_) => {}
            },
            Step::Remove(_) => {
                self.object = ObjectState::Absent;
                self.content = Content::Zeros;
            }
            Step::Command(_) => return Err("no program is allowed".to_owned()),
        }
        Ok(())
    }

    fn fill(&mut self, digest: &str, bytes: u64, cut: bool) -> Result<(), String> {
        let ObjectState::Partial(partial) = &mut self.object else {
            return Err("no partial object".to_owned());
        };
        if self.content != Content::Zeros {
            return Err("an image may only be written over zeros".to_owned());
        }
        if partial.size_bytes < bytes {
            return Err("the object is too small for the image".to_owned());
        }
        if cut {
            self.content = Content::Garbage;
        } else {
            partial.written = Some(digest.to_owned());
            self.content = Content::Image(digest.to_owned());
        }
        Ok(())
    }

    fn expect_unpublished(&self) -> Result<(), String> {
        if matches!(self.object, ObjectState::Present(_)) {
            Err("is published".to_owned())
        } else {
            Ok(())
        }
    }

    fn expect_image(&self, at_least: ImageState) -> Result<(), String> {
        let there = match at_least {
            ImageState::Absent => true,
            ImageState::Fetched => self.image != ImageState::Absent,
            ImageState::Unpacked => self.image == ImageState::Unpacked,
        };
        if there {
            Ok(())
        } else {
            Err(format!("the image is {:?}, not {at_least:?}", self.image))
        }
    }
}
