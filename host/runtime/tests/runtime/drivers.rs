//! The drivers that come with symphony, in the sandbox: from intent and facts to steps that pass core's checks.

use symphony_core::digest::Digest;
use symphony_core::image::Format;
use symphony_core::plan::image::Images;
use symphony_core::plan::volume::{Fact, ImageState, ObjectState, Probe, Step, Volumes};
use symphony_core::plan::{Goal, check, check_probes, image, volume};
use symphony_core::volume::ImageSource;
use symphony_runtime::DriverPlugin;
use symphony_runtime::smoke::smoke;

use super::prepare;

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

pub(crate) fn volume_intent(goal: Goal, source: Option<ImageSource>) -> volume::Intent {
    volume::Intent {
        object: ID.parse().unwrap(),
        pool: "default".parse().unwrap(),
        goal,
        size_bytes: 1 << 20,
        source,
    }
}

fn object(state: ObjectState) -> Fact {
    Fact::Object {
        object: ID.into(),
        state,
    }
}

async fn steps(driver: &DriverPlugin<Volumes>, intent: &volume::Intent, facts: &[Fact]) -> Vec<Step> {
    let steps = driver.plan(intent, facts).await.unwrap().unwrap();
    check::<Volumes>(intent, facts, steps).unwrap().steps().to_vec()
}

#[tokio::test]
async fn the_file_driver_makes_keeps_and_removes() {
    let compiled = prepare("file").await.unwrap();
    smoke(&compiled, "{}").await.unwrap();
    let driver = DriverPlugin::<Volumes>::start(&compiled, "{}").await.unwrap();
    let intent = volume_intent(Goal::Present, None);
    let probes = driver.probes(&intent).await.unwrap();
    assert!(probes.contains(&Probe::Object(ID.into())));
    check_probes::<Volumes>(&intent, probes).unwrap();

    let pool = Fact::Pool {
        reflink: false,
        free_bytes: 1 << 40,
    };
    let made = steps(&driver, &intent, &[object(ObjectState::Absent), pool.clone()]).await;
    assert!(
        matches!(made.first(), Some(Step::Allocate { size_bytes, .. }) if *size_bytes == 1 << 20),
        "{made:?}"
    );
    assert_eq!(made.last(), Some(&Step::Publish { object: ID.into() }));
    let present = [object(ObjectState::Present { size_bytes: 1 << 20 }), pool.clone()];
    assert!(
        steps(&driver, &intent, &present).await.is_empty(),
        "what is as it should be is left alone"
    );
    let gone = steps(&driver, &volume_intent(Goal::Absent, None), &present).await;
    assert_eq!(gone, [Step::Remove { object: ID.into() }]);
}

#[tokio::test]
async fn the_file_driver_writes_an_image() {
    let driver = DriverPlugin::<Volumes>::start(&prepare("file").await.unwrap(), "{}")
        .await
        .unwrap();
    let digest = Digest::new([7; 32]);
    let source = ImageSource {
        image: "tiny".parse().unwrap(),
        digest,
        format: Format::Qcow2,
        stored_bytes: 4096,
        virtual_bytes: 1 << 19,
    };
    let intent = volume_intent(Goal::Present, Some(source));
    check_probes::<Volumes>(&intent, driver.probes(&intent).await.unwrap()).unwrap();
    let facts = [
        object(ObjectState::Absent),
        Fact::Image {
            digest: digest.to_string(),
            state: ImageState::Absent,
        },
        Fact::Pool {
            reflink: false,
            free_bytes: 1 << 40,
        },
    ];
    let steps = steps(&driver, &intent, &facts).await;
    assert!(
        steps.contains(&Step::FetchImage {
            digest: digest.to_string()
        }),
        "{steps:?}"
    );
}

#[tokio::test]
async fn the_image_driver_checks_then_publishes() {
    let compiled = prepare("blob").await.unwrap();
    smoke(&compiled, "{}").await.unwrap();
    let driver = DriverPlugin::<Images>::start(&compiled, "{}").await.unwrap();
    let digest = Digest::new([7; 32]);
    let intent = image::Intent {
        upload: ID.parse().unwrap(),
        digest,
        goal: Goal::Present,
        shared: false,
    };
    check_probes::<Images>(&intent, driver.probes(&intent).await.unwrap()).unwrap();
    let facts = |integrity| {
        let header = image::Header {
            format: image::DetectedFormat::Qcow2,
            virtual_bytes: 1 << 20,
            refused: Vec::new(),
        };
        let found = Some(image::Upload {
            digest,
            stored_bytes: 4096,
            header,
            integrity,
        });
        [
            image::Fact::Upload {
                upload: ID.into(),
                found,
            },
            image::Fact::Blob {
                digest: digest.to_string(),
                present: false,
            },
        ]
    };
    let publish = image::Step::Publish {
        upload: ID.into(),
        digest: digest.to_string(),
    };
    for (integrity, published) in [(image::Integrity::Unchecked, false), (image::Integrity::Sound, true)] {
        let steps = driver.plan(&intent, &facts(integrity.clone())).await.unwrap().unwrap();
        let plan = check::<Images>(&intent, &facts(integrity.clone()), steps).unwrap();
        assert!(
            !plan.is_empty() && plan.steps().contains(&publish) == published,
            "{plan:?}"
        );
    }
    let corrupt = facts(image::Integrity::Corrupt("a loop".into()));
    assert!(
        driver.plan(&intent, &corrupt).await.unwrap().is_err(),
        "a corrupt upload is refused"
    );
}

/// Nothing is left of one call for the next: each has an instance of its own.
#[tokio::test]
async fn each_call_has_its_own_instance() {
    let compiled = prepare("blob").await.unwrap();
    let driver = DriverPlugin::<Images>::start(&compiled, "{}").await.unwrap();
    let before = compiled.stats().instances;
    let intent = image::Intent {
        upload: ID.parse().unwrap(),
        digest: Digest::new([1; 32]),
        goal: Goal::Absent,
        shared: false,
    };
    for _ in 0..5 {
        driver.probes(&intent).await.unwrap();
    }
    assert_eq!(compiled.stats().instances - before, 5);
}
