//! Three etcd members on loopback, of which each is killed and frozen in turn, so that the leader is among them.

use std::process::Command;

use symphony_store::EtcdOptions;
use symphony_store::conformance::members::{self, Running, on_loopback};
use tempfile::TempDir;

use crate::etcd_story::{Story, impatient};

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
