//! Three etcd members on loopback, of which each is killed and frozen in turn, so that the leader is among them.

use std::process::Command;
use std::time::Duration;

use symphony_store::conformance::members::{self, Running, on_loopback};
use symphony_store::{Etcd, EtcdOptions, Store as _};
use tempfile::TempDir;

use crate::etcd_story::{Story, impatient, soon};

async fn three() -> Option<(Vec<Running>, TempDir)> {
    if !members::can_run() {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    Some((on_loopback(folder.path(), 3, |_| {}).await, folder))
}

fn options(members: &[Running]) -> EtcdOptions {
    impatient(members.iter().map(|running| running.member.endpoint()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_member_is_killed_and_restarted() {
    let Some((mut members, _folder)) = three().await else {
        return;
    };
    let story = Story::begin(options(&members)).await;
    story.goes_on().await;
    for member in &mut members {
        member.kill();
        story.goes_on().await;
        member.restart();
        member.healthy().await;
        story.goes_on().await;
    }
    story.end().await;
}

fn signal(member: &Running, signal: &str) {
    let sent = Command::new("kill")
        .args([signal, &member.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_member_is_frozen_and_goes_on() {
    let Some((members, _folder)) = three().await else {
        return;
    };
    let story = Story::begin(options(&members)).await;
    story.goes_on().await;
    for member in &members {
        signal(member, "-STOP");
        story.goes_on().await;
        signal(member, "-CONT");
        member.healthy().await;
        story.goes_on().await;
    }
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_members_are_killed_at_once() {
    let Some((mut members, _folder)) = three().await else {
        return;
    };
    let story = Story::begin(options(&members)).await;
    story.goes_on().await;
    members.iter_mut().for_each(Running::kill);
    story.stands_still().await;
    members.iter_mut().for_each(Running::restart);
    for member in &members {
        member.healthy().await;
    }
    story.goes_on().await;
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_member_says_how_it_is_and_one_that_is_away_is_named() {
    let Some((mut members, _folder)) = three().await else {
        return;
    };
    let store = Etcd::connect(options(&members)).await.unwrap();
    let seen = store.members().await.unwrap();
    let states: Vec<_> = seen.iter().map(|member| member.answer.clone().unwrap()).collect();
    assert_eq!(states.iter().filter(|state| state.leads).count(), 1, "{seen:?}");
    assert!(states.iter().all(|state| state.has_leader && state.alarms.is_empty()));
    members[0].kill();
    let seen = store.members().await.unwrap();
    assert_eq!(seen[0].endpoint, members[0].member.endpoint());
    assert!(seen[0].answer.is_err(), "{seen:?}");
    // The others may be choosing a leader, for a moment.
    let others_answer = async || {
        let seen = store.members().await.unwrap();
        seen[1..].iter().all(|member| member.answer.is_ok())
    };
    soon(async {
        while !others_answer().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}
