//! The agent's life: start, end, losing its manager, and what it refuses to start with.

use symphony_core::plan::volume::ObjectState;
use symphony_protocol::FailureKind;

use crate::manager::Manager;
use crate::process::Folder;
use crate::work::{Import, Picture, Wanted, object_state};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_cleanly_when_asked_in_either_way() {
    let manager = Manager::start().await;
    let folder = Folder::new(&manager.address);
    let agent = folder.start();
    let mut session = manager.session().await;
    assert_eq!(session.hello.data_url, agent.data_url);
    // Idle, the aim is 30 MiB; a debug build has more.
    assert!(session.heartbeat().await.memory_bytes < 40 << 20);
    assert!(agent.end().success());
    assert!(session.next().await.is_err());
    let agent = folder.start();
    let _session = manager.session().await;
    assert!(agent.terminate().success());
    let alone = Folder::new("127.0.0.1:1").start();
    assert!(alone.end().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_comes_back_after_whatever_its_manager_does() {
    let manager = Manager::start().await;
    let folder = Folder::new(&manager.address);
    let _agent = folder.start();
    drop(manager.session().await);
    manager.babble(b"rubbish".to_vec()).await;
    manager.babble(vec![b'1'; 2 << 20]).await;
    manager.babble(b"\"heartbeat\"".to_vec()).await;
    manager.refuse("not today").await;
    let mut session = manager.session().await;
    let wanted = Wanted::empty(4096);
    wanted.make(&mut session).await.unwrap().unwrap();
    assert!(folder.log().contains("not today"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_far_the_store_was_is_remembered_and_shown() {
    let manager = Manager::start().await;
    let folder = Folder::new(&manager.address);
    let agent = folder.start();
    let mut session = manager.session().await;
    assert_eq!(session.hello.revision_seen, 0);
    for revision in [700, 600] {
        session
            .tell(symphony_protocol::Members {
                revision: Some(revision),
                ..symphony_protocol::Members::default()
            })
            .await;
    }
    // What came before it on the same session was taken before it.
    Wanted::empty(4096).make(&mut session).await.unwrap().unwrap();
    agent.kill();
    let _agent = folder.start();
    assert_eq!(manager.session().await.hello.revision_seen, 700);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_manager_is_left() {
    let manager = Manager::start().await;
    let folder = Folder::new(&manager.address);
    let _agent = folder.start();
    let held = manager.ignore().await;
    let mut session = manager.session().await;
    drop(held);
    Wanted::empty(4096).make(&mut session).await.unwrap().unwrap();
    assert!(folder.log().contains("nothing was heard of the manager"));
}

/// What the agent says itself in the meantime is no sign of life of its manager.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_falls_silent_after_its_welcome_is_left() {
    let manager = Manager::start().await;
    let folder = Folder::new(&manager.address);
    let _agent = folder.start();
    let held = manager.fall_silent().await;
    let mut session = manager.session().await;
    drop(held);
    Wanted::empty(4096).make(&mut session).await.unwrap().unwrap();
    assert!(folder.log().contains("nothing was heard of the manager"));
}

/// A program that outlived its agent would go on writing into what the next one makes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_die_with_the_agent() {
    let manager = Manager::start().await;
    let folder = Folder::new(&manager.address);
    let agent = folder.start();
    let data_url = agent.data_url.clone();
    let mut session = manager.session().await;
    let picture = Picture::qcow2(32);
    Import::new(&picture)
        .make(&mut session, &agent.data_url)
        .await
        .unwrap()
        .unwrap();
    // Stopped as soon as it is seen, so that it can't end by itself; the next volume when it was too fast.
    let (wanted, child) = 'caught: loop {
        let wanted = Wanted::from_picture(&picture, &data_url);
        let steps = wanted.plan(&wanted.facts(&mut session).await.unwrap().unwrap());
        let call = session.call_of(&wanted.object(), 1, wanted.steps_work(&[], steps));
        session.send(&call).await;
        while !wanted.file(&folder).exists() {
            for pid in agent.children() {
                // Before that it is the jail's helper, which looks for its agent when it goes on.
                let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                if name.trim() != "qemu-img" {
                    continue;
                }
                let pid = rustix::process::Pid::from_raw(pid).unwrap();
                if rustix::process::kill_process(pid, rustix::process::Signal::STOP).is_ok() {
                    break 'caught (wanted, pid);
                }
            }
        }
        session.answer(&call).await.unwrap().unwrap();
    };
    agent.kill();
    while rustix::process::test_kill_process(child).is_ok() && !is_zombie(child) {
        tokio::task::yield_now().await;
    }
    let agent = folder.start();
    let mut session = manager.session().await;
    let wanted = Wanted {
        picture: Some((&picture, &agent.data_url)),
        ..wanted
    };
    wanted.make(&mut session).await.unwrap().unwrap();
    wanted.assert_bytes(&folder);
}

/// Dead, and nobody has asked for its exit code yet.
fn is_zombie(pid: rustix::process::Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_without_its_manager_and_nothing_starts_alone() {
    let manager = Manager::start().await;
    let folder = Folder::new(&manager.address);
    let agent = folder.start();
    let mut session = manager.session().await;
    let picture = Picture::qcow2(16);
    Import::new(&picture)
        .make(&mut session, &agent.data_url)
        .await
        .unwrap()
        .unwrap();
    let wanted = Wanted::from_picture(&picture, &agent.data_url);
    let steps = wanted.plan(&wanted.facts(&mut session).await.unwrap().unwrap());
    let call = session.call_of(&wanted.object(), 1, wanted.steps_work(&[], steps));
    session.send(&call).await;
    // Sent behind it on the same stream: when this is answered, the call was taken.
    let probe = Wanted::empty(4096);
    let second = session.call_of(&probe.object(), 1, probe.facts_work());
    session.send(&second).await;
    while !matches!(session.next().await.unwrap(), symphony_protocol::ToManager::Answer(answer) if answer.call == second.id)
    {
    }
    drop(session);
    let mut session = manager.session().await;
    // Busy while it is under way, and then whole; no answer of the old session comes into the new one.
    loop {
        match wanted.facts(&mut session).await.unwrap() {
            Ok(facts) if matches!(object_state(&facts), ObjectState::Present { .. }) => break,
            Ok(facts) => panic!("the call was dropped: {facts:?}"),
            Err(failure) => assert_eq!(failure.kind, FailureKind::Busy),
        }
    }
    wanted.assert_bytes(&folder);
    assert_eq!(folder.names("volumes").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_ledger_is_cut_and_a_damaged_one_is_not_started_with() {
    let manager = Manager::start().await;
    let folder = Folder::new(&manager.address);
    let agent = folder.start();
    let mut session = manager.session().await;
    let volumes = [Wanted::empty(4096), Wanted::empty(4096)];
    for wanted in &volumes {
        wanted.make(&mut session).await.unwrap().unwrap();
    }
    agent.kill();
    let ledger = folder.path().join("ledger");
    let whole = std::fs::read(&ledger).unwrap();
    std::fs::write(&ledger, [&whole[..], &whole[..whole.len() / 2]].concat()).unwrap();
    let damaged = folder.try_start(&[]).err().expect("frames out of order are damage");
    assert!(!damaged.success() && folder.log().contains("the ledger is damaged at byte"));
    std::fs::write(&ledger, [&whole[..], &whole[..30]].concat()).unwrap();
    let agent = folder.start();
    let mut session = manager.session().await;
    assert_eq!(session.hello.epoch_seen.0, 1);
    volumes[0].make(&mut session).await.unwrap().unwrap();
    assert!(folder.log().contains("cut the torn tail"));
    agent.kill();
    let mut flipped = whole.clone();
    flipped[25] ^= 1;
    std::fs::write(&ledger, &flipped).unwrap();
    assert!(folder.try_start(&[]).is_err());
    assert_eq!(std::fs::read(&ledger).unwrap(), flipped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_work_is_said_at_the_start() {
    let folder = Folder::new("127.0.0.1:1");
    let _agent = folder.start();
    assert!(folder.try_start(&[]).is_err());
    assert!(
        folder.log().contains("is in use: another agent runs in this folder"),
        "{}",
        folder.log()
    );
    let text = std::fs::read_to_string(folder.path().join("agent.toml")).unwrap();
    for (from, to, said) in [
        (
            "[programs]",
            "[compute]\nhypervisor = \"xen\"\n[programs]",
            "unknown variant `xen`",
        ),
        (
            "name = \"n1\"",
            "name = \"n2\"",
            "this node was let in as n1, and its configuration says name = \"n2\"; a node keeps its name",
        ),
        ("name = \"n1\"", "nome = \"n1\"", "unknown field `nome`"),
        (
            "listen = \"127.0.0.1:0\"",
            "listen = \"192.0.2.1:0\"",
            "the data port can't listen on 192.0.2.1:0",
        ),
    ] {
        let folder = Folder::new("127.0.0.1:1");
        let text = text.replace(&format!("{:?}", self::pool_of(&text)), &format!("{:?}", folder.pool));
        std::fs::write(folder.path().join("agent.toml"), text.replace(from, to)).unwrap();
        assert!(folder.try_start(&[]).is_err());
        assert!(folder.log().contains(said), "{said}: {}", folder.log());
    }
}

fn pool_of(text: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix("path = \"")).unwrap();
    line.trim_end_matches('"').to_owned()
}
