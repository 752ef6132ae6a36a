//! What a driver would plan, and the calls that it makes.

use std::path::Path;
use std::process::Command;

use sha2::{Digest as _, Sha256};
use symphony_core::digest::Digest;
use symphony_core::id::{UploadId, VolumeId};
use symphony_core::image::Format;
use symphony_core::plan::image::{self, Images, Integrity};
use symphony_core::plan::volume::{self, Fact, ImageState, ObjectState, Probe, Step, Volumes};
use symphony_core::plan::{Goal, Kind as _, Probes, check, check_probes};
use symphony_core::volume::ImageSource;
use symphony_protocol::{Failure, ImageLocation, Outcome, Task, Work};

use crate::cluster;
use crate::manager::{Gone, Session};

/// An image in the test's memory.
pub(crate) struct Picture {
    pub(crate) stored: Vec<u8>,
    pub(crate) raw: Vec<u8>,
    pub(crate) digest: Digest,
    pub(crate) format: Format,
}

impl Picture {
    pub(crate) fn of(stored: Vec<u8>, raw: Vec<u8>, format: Format) -> Self {
        let digest = Digest::new(Sha256::digest(&stored).into());
        Self {
            stored,
            raw,
            digest,
            format,
        }
    }

    /// A disk of `mebibytes`, with data, zeros, and data that looks like another format's header.
    pub(crate) fn raw(mebibytes: usize) -> Self {
        let mut raw = vec![0; mebibytes << 20];
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for (position, chunk) in raw.chunks_mut(64 << 10).enumerate() {
            if position % 3 == 2 {
                continue;
            }
            for word in chunk.chunks_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.copy_from_slice(&state.to_le_bytes());
            }
        }
        raw[..512].fill(0xeb);
        Self::of(raw.clone(), raw, Format::Raw)
    }

    /// The same as a qcow2 file, made by qemu-img.
    pub(crate) fn qcow2(mebibytes: usize) -> Self {
        let raw = Self::raw(mebibytes).raw;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.raw"), &raw).unwrap();
        qemu_img(
            folder.path(),
            &["convert", "-c", "-f", "raw", "-O", "qcow2", "a.raw", "a.qcow2"],
        );
        Self::of(
            std::fs::read(folder.path().join("a.qcow2")).unwrap(),
            raw,
            Format::Qcow2,
        )
    }

    pub(crate) fn source(&self) -> ImageSource {
        ImageSource {
            image: "img".parse().unwrap(),
            digest: self.digest,
            format: self.format,
            stored_bytes: self.stored.len() as u64,
            virtual_bytes: self.raw.len() as u64,
        }
    }

    pub(crate) fn location(&self, data_url: &str) -> ImageLocation {
        let stored_bytes = self.stored.len() as u64;
        ImageLocation {
            digest: self.digest,
            data_url: data_url.to_owned(),
            stored_bytes,
        }
    }
}

pub(crate) fn qemu_img(folder: &Path, arguments: &[&str]) {
    let output = Command::new("qemu-img")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A volume that is wanted.
pub(crate) struct Wanted<'a> {
    pub(crate) id: VolumeId,
    pub(crate) size_bytes: u64,
    pub(crate) picture: Option<(&'a Picture, &'a str)>,
    pub(crate) clone: bool,
    pub(crate) goal: Goal,
}

impl<'a> Wanted<'a> {
    pub(crate) fn empty(size_bytes: u64) -> Self {
        let id = VolumeId::new(uuid::Uuid::now_v7());
        Self {
            id,
            size_bytes,
            picture: None,
            clone: false,
            goal: Goal::Present,
        }
    }

    pub(crate) fn from_picture(picture: &'a Picture, data_url: &'a str) -> Self {
        Self {
            picture: Some((picture, data_url)),
            ..Self::empty(picture.raw.len() as u64 + (1 << 20))
        }
    }

    pub(crate) fn object(&self) -> String {
        format!("volume/{}", self.id)
    }

    pub(crate) fn file(&self, folder: &crate::process::Folder) -> std::path::PathBuf {
        folder.pool.join("volumes").join(format!("{}.raw", self.id))
    }

    pub(crate) fn intent(&self) -> volume::Intent {
        volume::Intent {
            object: self.id,
            pool: "default".parse().unwrap(),
            goal: self.goal,
            size_bytes: self.size_bytes,
            source: self.picture.map(|(picture, _)| picture.source()),
        }
    }

    pub(crate) fn probes(&self) -> Probes<Volumes> {
        let image = self
            .picture
            .map(|(picture, _)| Probe::Image(picture.digest.to_string()));
        let probes = [Probe::Pool].into_iter().chain(image).collect();
        check_probes::<Volumes>(&self.intent(), probes).unwrap()
    }

    pub(crate) fn facts_work(&self) -> Work {
        Work::Volume {
            pool: self.intent().pool,
            images: Vec::new(),
            task: Task::Facts { probes: self.probes() },
        }
    }

    pub(crate) fn steps_work(&self, facts: &[Fact], steps: Vec<Step>) -> Work {
        let plan = check::<Volumes>(&self.intent(), facts, steps).unwrap();
        let images = self
            .picture
            .iter()
            .map(|(picture, url)| picture.location(url))
            .collect();
        let then = self.probes();
        Work::Volume {
            pool: self.intent().pool,
            images,
            task: Task::Steps { plan, then },
        }
    }

    /// As the driver `file` plans.
    pub(crate) fn plan(&self, facts: &[Fact]) -> Vec<Step> {
        let object = self.id.to_string();
        let state = object_state(facts);
        if self.goal == Goal::Absent {
            return if state == ObjectState::Absent {
                vec![]
            } else {
                vec![Step::Remove { object }]
            };
        }
        let size_bytes = self.size_bytes;
        let resize = Step::Resize {
            object: object.clone(),
            size_bytes,
        };
        let publish = Step::Publish { object: object.clone() };
        match state {
            ObjectState::Present { size_bytes: found } if found >= size_bytes => vec![],
            ObjectState::Present { .. } => vec![resize],
            ObjectState::Partial { written: Some(_), .. } => vec![resize, publish],
            ObjectState::Absent | ObjectState::Partial { .. } => {
                let mut steps = Vec::new();
                if let Some((picture, _)) = self.picture {
                    let (digest, format) = (picture.digest.to_string(), picture.format);
                    let virtual_bytes = picture.raw.len() as u64;
                    // Smaller at first, so that a resize has something to do.
                    steps.push(Step::FetchImage { digest: digest.clone() });
                    steps.push(Step::Allocate {
                        object: object.clone(),
                        size_bytes: virtual_bytes,
                    });
                    if self.clone {
                        steps.push(Step::UnpackImage {
                            digest: digest.clone(),
                            format,
                            virtual_bytes,
                        });
                        steps.push(Step::CloneImage { object, digest });
                    } else {
                        steps.push(Step::WriteImage {
                            object,
                            digest,
                            format,
                            virtual_bytes,
                        });
                    }
                    steps.push(resize);
                } else {
                    steps.push(Step::Allocate { object, size_bytes });
                }
                steps.push(publish);
                steps
            }
        }
    }

    pub(crate) async fn facts(&self, session: &mut Session) -> Result<Result<Vec<Fact>, Failure>, Gone> {
        Ok(session
            .call(&self.object(), 1, self.facts_work())
            .await?
            .map(volume_facts))
    }

    /// Facts, plan, steps, until nothing is left; or the first failure.
    pub(crate) async fn make(&self, session: &mut Session) -> Result<Result<(), Failure>, Gone> {
        for _ in 0..10 {
            let facts = match self.facts(session).await? {
                Ok(facts) => facts,
                Err(failure) => return Ok(Err(failure)),
            };
            let steps = self.plan(&facts);
            if steps.is_empty() {
                assert!(Volumes::met(&self.intent(), &facts).is_some());
                return Ok(Ok(()));
            }
            if let Err(failure) = session.call(&self.object(), 1, self.steps_work(&facts, steps)).await? {
                return Ok(Err(failure));
            }
        }
        panic!("the plan never ends");
    }

    pub(crate) async fn run(&self, session: &mut Session, steps: Vec<Step>) -> Result<Vec<Fact>, Failure> {
        session
            .call(&self.object(), 1, self.steps_work(&[], steps))
            .await
            .unwrap()
            .map(volume_facts)
    }

    /// Whether the volume has the image's bytes, and zeros behind them.
    pub(crate) fn assert_bytes(&self, folder: &crate::process::Folder) {
        let bytes = std::fs::read(self.file(folder)).unwrap();
        assert_eq!(bytes.len() as u64, self.size_bytes);
        let raw = self.picture.map_or(&[][..], |(picture, _)| &picture.raw);
        assert!(bytes[..raw.len()] == *raw, "the volume has other bytes than the image");
        assert!(bytes[raw.len()..].iter().all(|byte| *byte == 0));
    }
}

pub(crate) fn object_state(facts: &[Fact]) -> ObjectState {
    let state = facts.iter().find_map(|fact| match fact {
        Fact::Object { state, .. } => Some(state.clone()),
        _ => None,
    });
    state.expect("no fact of the object")
}

pub(crate) fn image_state(facts: &[Fact]) -> ImageState {
    let state = facts.iter().find_map(|fact| match fact {
        Fact::Image { state, .. } => Some(*state),
        _ => None,
    });
    state.expect("no fact of the image")
}

pub(crate) fn volume_facts(outcome: Outcome) -> Vec<Fact> {
    match outcome {
        Outcome::Volume(seen) => seen.facts,
        _ => panic!("{outcome:?}"),
    }
}

/// An image that is wanted in the image service.
pub(crate) struct Import<'a> {
    pub(crate) picture: &'a Picture,
    pub(crate) upload: UploadId,
    pub(crate) goal: Goal,
}

impl<'a> Import<'a> {
    pub(crate) fn new(picture: &'a Picture) -> Self {
        Self {
            picture,
            upload: UploadId::new(uuid::Uuid::now_v7()),
            goal: Goal::Present,
        }
    }

    fn intent(&self) -> image::Intent {
        image::Intent {
            upload: self.upload,
            digest: self.picture.digest,
            goal: self.goal,
            shared: false,
        }
    }

    pub(crate) async fn call(
        &self,
        session: &mut Session,
        steps: Option<Vec<image::Step>>,
    ) -> Result<Result<Vec<image::Fact>, Failure>, Gone> {
        let probes = vec![image::Probe::Upload(self.upload.to_string())];
        let probes = check_probes::<Images>(&self.intent(), probes).unwrap();
        let task = match steps {
            None => Task::Facts { probes },
            Some(steps) => Task::Steps {
                plan: check::<Images>(&self.intent(), &[], steps).unwrap(),
                then: probes,
            },
        };
        let answer = session
            .call(&format!("image/{}", self.upload), 1, Work::Image { task })
            .await?;
        Ok(answer.map(|outcome| match outcome {
            Outcome::Image(seen) => seen.facts,
            _ => panic!("{outcome:?}"),
        }))
    }

    /// Streams the bytes in; nothing when the agent died meanwhile.
    pub(crate) async fn put(&self, data_url: &str) -> Option<(u16, String)> {
        let sha256 = self.picture.digest.hex();
        let request = client().put(format!("{data_url}/data/v1/uploads/{}?sha256={sha256}", self.upload));
        put(request, self.picture.stored.clone()).await
    }

    /// Uploads, checks, publishes, or takes it all away again.
    pub(crate) async fn make(&self, session: &mut Session, data_url: &str) -> Result<Result<(), Failure>, Gone> {
        let (upload, digest) = (self.upload.to_string(), self.picture.digest.to_string());
        for _ in 0..10 {
            let facts = match self.call(session, None).await? {
                Ok(facts) => facts,
                Err(failure) => return Ok(Err(failure)),
            };
            let (found, present) = states(&facts);
            let step = match (self.goal, found, present) {
                (Goal::Present, None, true) | (Goal::Absent, None, false) => return Ok(Ok(())),
                (Goal::Absent, Some(_), _) => image::Step::Discard { upload: upload.clone() },
                (Goal::Absent, None, true) => image::Step::Remove { digest: digest.clone() },
                (Goal::Present, None, false) => match self.put(data_url).await {
                    Some((201 | 409, _)) => continue,
                    Some(other) => panic!("{other:?}"),
                    None => return Err(Gone),
                },
                (Goal::Present, Some(found), _) if found.integrity == Integrity::Unchecked => {
                    image::Step::Check { upload: upload.clone() }
                }
                (Goal::Present, Some(_), _) => image::Step::Publish {
                    upload: upload.clone(),
                    digest: digest.clone(),
                },
            };
            if let Err(failure) = self.call(session, Some(vec![step])).await? {
                return Ok(Err(failure));
            }
        }
        panic!("the plan never ends");
    }
}

pub(crate) fn states(facts: &[image::Fact]) -> (Option<image::Upload>, bool) {
    let mut states = (None, false);
    for fact in facts {
        match fact {
            image::Fact::Upload { found, .. } => states.0.clone_from(found),
            image::Fact::Blob { present, .. } => states.1 = *present,
        }
    }
    states
}

/// As a manager.
pub(crate) fn client() -> reqwest::Client {
    cluster::client_of(cluster::manager())
}

/// Sends bytes as a stream of unknown length.
pub(crate) async fn put(request: reqwest::RequestBuilder, bytes: Vec<u8>) -> Option<(u16, String)> {
    let chunks: Vec<_> = bytes
        .chunks(100_000)
        .map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()))
        .collect();
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let answer = request.body(body).send().await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}
