//! Fetching: cut, resumed, corrupted, and never a volume before every byte was verified.

use std::time::Duration;

use symphony_core::plan::volume::{ImageState, ObjectState};
use symphony_protocol::FailureKind;

use crate::manager::{Manager, Session};
use crate::process::{Folder, Process};
use crate::service::{Reply, Service};
use crate::work::{Picture, Wanted, image_state, object_state};

async fn bench() -> (Manager, Folder, Process, Session) {
    let manager = Manager::start().await;
    let folder = Folder::new(&manager.address);
    let agent = folder.start();
    let session = manager.session().await;
    (manager, folder, agent, session)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_transfer_goes_on_where_it_ended() {
    let (_manager, folder, _agent, mut session) = bench().await;
    let picture = Picture::raw(2);
    let cuts = [
        Reply::Cut(100_000),
        Reply::Cut(0),
        Reply::Status(503),
        Reply::Cut(200_000),
        Reply::Whole,
    ];
    let service = Service::start(picture.stored.clone(), &cuts).await;
    let wanted = Wanted::from_picture(&picture, &service.url);
    wanted.make(&mut session).await.unwrap().unwrap();
    wanted.assert_bytes(&folder);
    assert_eq!(service.ranges(), [0, 100_000, 100_000, 100_000, 300_000]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_goes_on_after_a_kill() {
    let (manager, folder, agent, mut session) = bench().await;
    let picture = Picture::raw(4);
    let service = Service::start(picture.stored.clone(), &[Reply::Cut(1_000_000)]).await;
    // Then the service is away for good, until the agent gives up.
    service.next(&[Reply::Status(503); 4]);
    let wanted = Wanted::from_picture(&picture, &service.url);
    let failure = wanted.make(&mut session).await.unwrap().unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert_eq!(failure.step, Some((0, "fetch-image".to_owned())));
    let facts = wanted.facts(&mut session).await.unwrap().unwrap();
    assert_eq!(
        (image_state(&facts), object_state(&facts)),
        (ImageState::Absent, ObjectState::Absent)
    );
    agent.kill();
    let _agent = folder.start();
    let mut session = manager.session().await;
    wanted.make(&mut session).await.unwrap().unwrap();
    wanted.assert_bytes(&folder);
    assert_eq!(
        service.ranges(),
        [0, 1_000_000, 1_000_000, 1_000_000, 1_000_000, 1_000_000]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_bytes_never_become_a_volume() {
    let (_manager, folder, _agent, mut session) = bench().await;
    let picture = Picture::raw(1);
    let cases: [(&[Reply], FailureKind); 6] = [
        (&[Reply::Flip(77)], FailureKind::Corrupt),
        (&[Reply::Cut(500_000), Reply::Flip(77)], FailureKind::Corrupt),
        (&[Reply::Longer], FailureKind::Corrupt),
        (&[Reply::WrongPart], FailureKind::Corrupt),
        (&[Reply::Status(404)], FailureKind::Missing),
        (&[Reply::Status(500); 4], FailureKind::Unreachable),
    ];
    for (replies, kind) in cases {
        let service = Service::start(picture.stored.clone(), replies).await;
        let wanted = Wanted::from_picture(&picture, &service.url);
        let failure = wanted.make(&mut session).await.unwrap().unwrap_err();
        assert_eq!(failure.kind, kind, "{replies:?}: {failure}");
        let facts = wanted.facts(&mut session).await.unwrap().unwrap();
        assert_eq!(
            (image_state(&facts), object_state(&facts)),
            (ImageState::Absent, ObjectState::Absent)
        );
        if kind == FailureKind::Corrupt {
            assert!(folder.names("cache").is_empty(), "{replies:?}: nothing of it is kept");
        }
    }
    // What is too long, too short or other bytes on disk is no beginning of it either.
    let partial = folder
        .pool
        .join("cache")
        .join(format!("{}.src.partial", picture.digest.hex()));
    for (left, works) in [
        (vec![9; 2 << 20], true),
        (vec![9; 1000], false),
        (picture.stored.clone(), true),
    ] {
        std::fs::write(&partial, left).unwrap();
        let service = Service::start(picture.stored.clone(), &[]).await;
        let wanted = Wanted::from_picture(&picture, &service.url);
        let made = wanted.make(&mut session).await.unwrap();
        assert_eq!(made.is_ok(), works, "{made:?}");
        if works {
            wanted.assert_bytes(&folder);
            std::fs::remove_file(partial.with_extension("")).unwrap();
        }
        assert!(!partial.exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_transfer_serves_all_who_wait() {
    let (_manager, folder, _agent, mut session) = bench().await;
    let picture = Picture::qcow2(4);
    let service = Service::start(picture.stored.clone(), &[]).await;
    let volumes: Vec<_> = (0..8).map(|_| Wanted::from_picture(&picture, &service.url)).collect();
    for wanted in &volumes {
        let absent = symphony_core::plan::volume::Fact::Object {
            object: wanted.id.to_string(),
            state: ObjectState::Absent,
        };
        let steps = wanted.plan(&[absent]);
        let call = session.call_of(&wanted.object(), 1, wanted.steps_work(&[], steps));
        session.send(&call).await;
    }
    for _ in &volumes {
        match session.next().await.unwrap() {
            symphony_protocol::ToManager::Answer(answer) => assert!(answer.result.is_ok(), "{answer:?}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(service.ranges(), [0]);
    for wanted in &volumes {
        wanted.assert_bytes(&folder);
    }
    tokio::time::timeout(Duration::from_secs(60), session.heartbeat())
        .await
        .unwrap();
}
