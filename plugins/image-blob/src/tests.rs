//! The driver against a simulated image service: from every state that a kill can leave.

use symphony_sdk::ImageDriver;
use symphony_sdk::driver::image::{
    BlobFact, DetectedFormat, Fact, FoundUpload, Header, Integrity, Intent, Probe, Step, UploadFact,
};
use symphony_sdk::driver::{Goal, Refusal};

use crate::Blob;

const DIGEST: &str = "sha256:11";

/// An image service in memory.
#[derive(Debug, Clone, PartialEq)]
struct Service {
    upload: Option<FoundUpload>,
    blob: bool,
    /// What a check of the upload will find.
    check: Integrity,
}

impl Service {
    fn facts(&self, probes: &[Probe]) -> Vec<Fact> {
        let fact = |probe: &Probe| match probe {
            Probe::Upload(upload) => Fact::Upload(UploadFact {
                upload: upload.clone(),
                found: self.upload.clone(),
            }),
            Probe::Blob(digest) => Fact::Blob(BlobFact {
                digest: digest.clone(),
                present: self.blob,
            }),
        };
        probes.iter().map(fact).collect()
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Check(_) => {
                if let Some(upload) = &mut self.upload {
                    upload.integrity = self.check.clone();
                }
            }
            Step::Publish(step) => {
                let upload = self.upload.take().expect("an upload to publish");
                assert_eq!(upload.integrity, Integrity::Sound, "only what is sound is published");
                assert_eq!((upload.digest.as_str(), step.digest.as_str()), (DIGEST, DIGEST));
                self.blob = true;
            }
            Step::Discard(_) => self.upload = None,
            Step::Remove(_) => self.blob = false,
        }
    }
}

fn found() -> FoundUpload {
    FoundUpload {
        digest: DIGEST.to_owned(),
        stored_bytes: 512,
        header: Header {
            format: DetectedFormat::Raw,
            virtual_bytes: 512,
            refused: vec![],
        },
        integrity: Integrity::Unchecked,
    }
}

fn intent(goal: Goal, shared: bool) -> Intent {
    Intent {
        upload: "u1".to_owned(),
        digest: DIGEST.to_owned(),
        goal,
        shared,
    }
}

fn plan(intent: &Intent, service: &Service) -> Result<Vec<Step>, Refusal> {
    Blob.plan(intent, &service.facts(&Blob.probes(intent)))
}

/// Runs plans until there is none left.
fn settled(intent: &Intent, mut service: Service) -> Result<Service, Refusal> {
    for _ in 0..4 {
        let steps = plan(intent, &service)?;
        if steps.is_empty() {
            return Ok(service);
        }
        steps.iter().for_each(|step| service.run(step));
    }
    panic!("the plan never ends: {service:?}");
}

fn services() -> Vec<Service> {
    let mut services = Vec::new();
    for integrity in [Integrity::Unchecked, Integrity::Sound] {
        for upload in [
            Some(FoundUpload {
                integrity: integrity.clone(),
                ..found()
            }),
            None,
        ] {
            for blob in [false, true] {
                services.push(Service {
                    upload: upload.clone(),
                    blob,
                    check: Integrity::Sound,
                });
            }
        }
    }
    services
}

#[test]
fn every_state_leads_to_the_blob() {
    for service in services() {
        let end = settled(&intent(Goal::Present, false), service.clone());
        if service.upload.is_none() && !service.blob {
            assert!(matches!(end, Err(Refusal::Unavailable(_))), "{service:?}");
        } else {
            let end = end.unwrap();
            assert_eq!((end.upload, end.blob), (None, true), "{service:?}");
        }
    }
}

#[test]
fn every_state_leads_to_nothing_but_what_is_shared() {
    for service in services() {
        for shared in [false, true] {
            let end = settled(&intent(Goal::Absent, shared), service.clone()).unwrap();
            assert_eq!((end.upload, end.blob), (None, service.blob && shared), "{service:?}");
        }
        // Long after, when nobody knows the upload's name any more.
        let late = Intent {
            upload: String::new(),
            ..intent(Goal::Absent, false)
        };
        assert_eq!(Blob.probes(&late), [Probe::Blob(DIGEST.to_owned())]);
        assert!(!settled(&late, service).unwrap().blob);
    }
}

#[test]
fn what_is_refused_is_never_published() {
    let header = |format, refused: &[&str]| Header {
        format,
        virtual_bytes: 512,
        refused: refused.iter().map(|&what| what.to_owned()).collect(),
    };
    let uploads = [
        FoundUpload {
            digest: "sha256:22".to_owned(),
            ..found()
        },
        FoundUpload {
            header: header(DetectedFormat::Unsupported, &[]),
            ..found()
        },
        FoundUpload {
            header: header(DetectedFormat::Qcow2, &["backing file /etc/passwd"]),
            ..found()
        },
        FoundUpload {
            integrity: Integrity::Corrupt("cut off".to_owned()),
            ..found()
        },
    ];
    for upload in uploads {
        for blob in [false, true] {
            let service = Service {
                upload: Some(upload.clone()),
                blob,
                check: Integrity::Sound,
            };
            let answer = plan(&intent(Goal::Present, false), &service);
            assert!(matches!(answer, Err(Refusal::Invalid(_))), "{upload:?}: {answer:?}");
            let end = settled(&intent(Goal::Absent, blob), service).unwrap();
            assert_eq!((end.upload, end.blob), (None, blob));
        }
    }
}

#[test]
fn damage_found_by_the_check_is_the_answer() {
    let check = Integrity::Corrupt("a table points beyond the end".to_owned());
    let service = Service {
        upload: Some(found()),
        blob: false,
        check,
    };
    let answer = settled(&intent(Goal::Present, false), service);
    assert!(
        matches!(&answer, Err(Refusal::Invalid(what)) if what.contains("beyond the end")),
        "{answer:?}"
    );
}

#[test]
fn a_missing_fact_is_unknown_not_absent() {
    for facts in [
        vec![],
        vec![Fact::Blob(BlobFact {
            digest: DIGEST.to_owned(),
            present: true,
        })],
    ] {
        for goal in [Goal::Present, Goal::Absent] {
            let answer = Blob.plan(&intent(goal, false), &facts);
            assert!(matches!(answer, Err(Refusal::Unavailable(_))), "{answer:?}");
        }
    }
}
