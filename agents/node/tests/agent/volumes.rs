//! Volumes: made from images and from nothing, resized, removed; what may not be touched; what is refused.

use std::os::unix::fs::{MetadataExt as _, symlink};

use symphony_core::plan::Goal;
use symphony_core::plan::volume::{Fact, ImageState, ObjectState, Step};
use symphony_protocol::{FailureKind, Task, Work};

use crate::manager::Manager;
use crate::process::Folder;
use crate::work::{Import, Picture, Wanted, image_state, object_state};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_has_the_bytes_of_its_image_raw_and_qcow2() {
    let manager = Manager::start().await;
    let folder = Folder::new(&manager.address);
    let agent = folder.start();
    let mut session = manager.session().await;
    assert_eq!(session.hello.pools[0].capacity_bytes, 10 << 30);
    assert_eq!(session.hello.labels.value("zone"), Some("a"));
    for picture in [Picture::raw(8), Picture::qcow2(8)] {
        Import::new(&picture)
            .make(&mut session, &agent.data_url)
            .await
            .unwrap()
            .unwrap();
        let wanted = Wanted::from_picture(&picture, &agent.data_url);
        wanted.make(&mut session).await.unwrap().unwrap();
        wanted.assert_bytes(&folder);
        let metadata = std::fs::metadata(wanted.file(&folder)).unwrap();
        assert!(
            metadata.blocks() * 512 < metadata.len() * 3 / 4,
            "the file is not sparse"
        );
        let facts = wanted.facts(&mut session).await.unwrap().unwrap();
        assert_eq!(image_state(&facts), ImageState::Fetched);
        // The second one needs no second transfer.
        let again = Wanted::from_picture(&picture, "127.0.0.1:1");
        again.make(&mut session).await.unwrap().unwrap();
        again.assert_bytes(&folder);
        for wanted in [wanted, again] {
            let gone = Wanted {
                goal: Goal::Absent,
                ..wanted
            };
            gone.make(&mut session).await.unwrap().unwrap();
        }
    }
    assert!(folder.names("volumes").is_empty());
    assert_eq!(folder.names("cache").len(), 2);
    assert!(
        session
            .progress
            .iter()
            .all(|progress| progress.done_bytes <= progress.total_bytes)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_may_come_twice_and_a_whole_volume_stays() {
    let manager = Manager::start().await;
    let folder = Folder::new(&manager.address);
    let agent = folder.start();
    let mut session = manager.session().await;
    let picture = Picture::qcow2(2);
    Import::new(&picture)
        .make(&mut session, &agent.data_url)
        .await
        .unwrap()
        .unwrap();
    let wanted = Wanted::from_picture(&picture, &agent.data_url);
    let steps = wanted.plan(&wanted.facts(&mut session).await.unwrap().unwrap());
    let twice = steps.iter().flat_map(|step| [step.clone(), step.clone()]).collect();
    wanted.run(&mut session, twice).await.unwrap();
    wanted.assert_bytes(&folder);
    // The guest writes; an old plan that comes once more changes nothing.
    let file = std::fs::File::options().write(true).open(wanted.file(&folder)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"guest", 4096).unwrap();
    let facts = wanted.run(&mut session, steps).await.unwrap();
    assert_eq!(
        object_state(&facts),
        ObjectState::Present {
            size_bytes: wanted.size_bytes
        }
    );
    assert_eq!(&std::fs::read(wanted.file(&folder)).unwrap()[4096..4101], b"guest");
    assert_eq!(folder.names("volumes").len(), 1);
    // Growing is fine, shrinking is not.
    let larger = Wanted {
        size_bytes: wanted.size_bytes + 512,
        ..Wanted::empty(0)
    };
    let larger = Wanted {
        id: wanted.id,
        ..larger
    };
    larger.make(&mut session).await.unwrap().unwrap();
    let smaller = Wanted {
        id: wanted.id,
        ..Wanted::empty(512)
    };
    let step = Step::Resize {
        object: wanted.id.to_string(),
        size_bytes: 512,
    };
    let failure = smaller.run(&mut session, vec![step]).await.unwrap_err();
    assert!(failure.message.contains("never shrinks"), "{failure}");
    assert_eq!(failure.step, Some((0, "resize".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn symlinks_in_the_pool_are_never_followed() {
    let manager = Manager::start().await;
    let folder = Folder::new(&manager.address);
    let agent = folder.start();
    let mut session = manager.session().await;
    let secret = folder.path().join("secret");
    std::fs::write(&secret, vec![b's'; 4096]).unwrap();
    let volumes = folder.pool.join("volumes");

    // In the place of a volume: damage, left for a person.
    let wanted = Wanted::empty(1 << 20);
    symlink(&secret, wanted.file(&folder)).unwrap();
    assert!(wanted.make(&mut session).await.unwrap().is_err());
    for step in wanted.plan(&[absent(&wanted)]) {
        assert!(wanted.run(&mut session, vec![step]).await.is_err());
    }
    // In the place of one that is being made: the name goes, the target stays.
    let wanted = Wanted::empty(1 << 20);
    symlink(&secret, volumes.join(format!("{}.partial", wanted.id))).unwrap();
    let steps = wanted.plan(&[absent(&wanted)]);
    wanted.run(&mut session, steps).await.unwrap();
    wanted.assert_bytes(&folder);
    // In the place of an image in the cache, and of one that is being fetched.
    let picture = Picture::raw(1);
    Import::new(&picture)
        .make(&mut session, &agent.data_url)
        .await
        .unwrap()
        .unwrap();
    let wanted = Wanted::from_picture(&picture, &agent.data_url);
    let cached = folder.pool.join("cache").join(format!("{}.src", picture.digest.hex()));
    let steps = wanted.plan(&[absent(&wanted)]);
    symlink(&secret, &cached).unwrap();
    assert!(wanted.run(&mut session, steps.clone()).await.is_err());
    std::fs::remove_file(&cached).unwrap();
    symlink(&secret, cached.with_extension("src.partial")).unwrap();
    assert!(wanted.run(&mut session, steps).await.is_err());
    assert_eq!(std::fs::read(&secret).unwrap(), vec![b's'; 4096]);
}

fn absent(wanted: &Wanted<'_>) -> Fact {
    Fact::Object {
        object: wanted.id.to_string(),
        state: ObjectState::Absent,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_the_past_are_refused() {
    let manager = Manager::start().await;
    manager.epoch.store(7, std::sync::atomic::Ordering::SeqCst);
    let folder = Folder::new(&manager.address);
    let agent = folder.start();
    let mut session = manager.session().await;
    let wanted = Wanted::empty(1 << 20);
    let allocate = || {
        let steps = wanted.plan(&[absent(&wanted)]);
        wanted.steps_work(&[], steps)
    };
    session.call(&wanted.object(), 5, allocate()).await.unwrap().unwrap();
    let kind = |answer: Result<_, symphony_protocol::Failure>| {
        answer.map(|_: symphony_protocol::Outcome| ()).map_err(|f| f.kind)
    };
    let stale = session.call(&wanted.object(), 4, allocate()).await.unwrap();
    assert_eq!(kind(stale), Err(FailureKind::StaleGeneration));
    assert_eq!(
        kind(session.call(&wanted.object(), 5, allocate()).await.unwrap()),
        Ok(())
    );
    let mut old = session.call_of(&wanted.object(), 9, allocate());
    old.epoch = symphony_core::counter::Epoch(6);
    session.send(&old).await;
    assert_eq!(kind(session.answer(&old).await.unwrap()), Err(FailureKind::StaleEpoch));
    // It is remembered over a kill, and a deposed manager gets no session at all.
    agent.kill();
    let _agent = folder.start();
    manager.epoch.store(6, std::sync::atomic::Ordering::SeqCst);
    let mut deposed = manager.session().await;
    assert_eq!(deposed.hello.epoch_seen.0, 7);
    assert!(deposed.next().await.is_err());
    manager.epoch.store(7, std::sync::atomic::Ordering::SeqCst);
    let mut session = manager.session().await;
    let stale = session.call(&wanted.object(), 4, allocate()).await.unwrap();
    assert_eq!(kind(stale), Err(FailureKind::StaleGeneration));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_node_does_not_have_is_said() {
    let manager = Manager::start().await;
    let folder = Folder::new(&manager.address);
    let _agent = folder.start();
    let mut session = manager.session().await;
    let wanted = Wanted::empty(1 << 20);
    let elsewhere = Work::Volume {
        pool: "other".parse().unwrap(),
        images: Vec::new(),
        task: Task::Facts {
            probes: wanted.probes(),
        },
    };
    let failure = session.call(&wanted.object(), 1, elsewhere).await.unwrap().unwrap_err();
    assert_eq!(failure.kind, FailureKind::Missing);
    let command = |program: &str| {
        let program = program.to_owned();
        Step::Command(symphony_core::plan::Command {
            program,
            arguments: vec![],
            stdin: String::new(),
            timeout_ms: 60_000,
        })
    };
    wanted.run(&mut session, vec![command("true")]).await.unwrap();
    let failure = wanted
        .run(&mut session, vec![command("true"), command("sh")])
        .await
        .unwrap_err();
    assert_eq!(
        (failure.kind, failure.step),
        (FailureKind::Missing, Some((1, "command".to_owned())))
    );
    let picture = Picture::raw(1);
    let wanted = Wanted::from_picture(&picture, "127.0.0.1:1");
    let clone = Step::CloneImage {
        object: wanted.id.to_string(),
        digest: picture.digest.to_string(),
    };
    let failure = wanted.run(&mut session, vec![clone]).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Missing);
}

/// Thousands of bytes of work at once: each volume is made once, and the agent's memory stays small.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once() {
    let manager = Manager::start().await;
    let folder = Folder::new(&manager.address);
    let _agent = folder.start();
    let mut session = manager.session().await;
    let volumes: Vec<_> = (0..200).map(|_| Wanted::empty(1 << 20)).collect();
    for wanted in &volumes {
        let steps = wanted.plan(&[absent(wanted)]);
        let call = session.call_of(&wanted.object(), 1, wanted.steps_work(&[], steps));
        session.send(&call).await;
    }
    for _ in &volumes {
        match session.next().await.unwrap() {
            symphony_protocol::ToManager::Answer(answer) => assert!(answer.result.is_ok(), "{answer:?}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(folder.names("volumes").len(), 200);
    assert!(session.heartbeat().await.memory_bytes < 60 << 20);
}
