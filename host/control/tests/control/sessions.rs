//! Sessions: the newer one counts, a deposed manager is told so, and stopping ends everything.

use std::time::Duration;

use symphony_core::counter::Epoch;
use symphony_core::volume::VolumePhase;

use super::harness::{Loops, SimulatedAgent, hello};

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_session_takes_the_place_of_the_older() {
    let loops = Loops::start().await;
    let older = SimulatedAgent::connect(&loops.control, "n1", 1 << 30).await;
    let newer = SimulatedAgent::connect(&loops.control, "n1", 1 << 30).await;
    older.ended.await.unwrap();
    loops.ask_for("v", 1 << 20).await;
    loops
        .until("v", "ready", |volume| volume.status.phase == VolumePhase::Ready)
        .await;
    assert!(newer.calls() > 0);
    assert_eq!(loops.control.agents().connected().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_saw_a_later_leader_or_speaks_otherwise_gets_no_session() {
    let loops = Loops::start().await;
    let later = symphony_protocol::Hello {
        epoch_seen: Epoch(99),
        ..hello("n1", 1)
    };
    let refused = loops.control.agents().connect(later).await.err().unwrap();
    assert!(refused.0.contains("does not lead"), "{refused}");
    let other = symphony_protocol::Hello {
        protocol: 99,
        ..hello("n1", 1)
    };
    assert!(loops.control.agents().connect(other).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_put_back_is_told_and_one_that_was_restored_is_taken() {
    let loops = Loops::start().await;
    loops.ask_for("v", 1 << 20).await;
    let newest = loops.store.status().await.unwrap().revision.0;
    let seen = |revision_seen| symphony_protocol::Hello {
        revision_seen,
        ..hello("n1", 1)
    };
    let agents = loops.control.agents();
    let refused = agents.connect(seen(newest + 1_000)).await.err().unwrap();
    assert!(refused.0.contains("put back to an older state"), "{refused}");
    assert!(agents.connected().is_empty());
    // What this manager has not seen yet, and the store has, is no older store.
    assert!(agents.connect(seen(newest)).await.is_ok());
    // Revisions of the life before a restore say nothing.
    let restored = Loops::start_restored().await;
    let agents = restored.control.agents();
    assert!(agents.connect(seen(newest + 1_000)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_with_the_term() {
    let loops = Loops::start().await;
    let first = SimulatedAgent::connect(&loops.control, "n1", 1 << 30).await;
    let second = SimulatedAgent::connect(&loops.control, "n2", 1 << 30).await;
    loops.control.stop().await;
    // An agent that keeps its session with who leads no more is lost to who leads now.
    first.ended.await.unwrap();
    second.ended.await.unwrap();
    let refused = loops.control.agents().connect(hello("n3", 1)).await.err().unwrap();
    assert!(refused.0.contains("does not lead"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_while_much_waits() {
    let loops = Loops::start().await;
    for number in 0..100 {
        loops.ask_for(&format!("v{number}"), 1 << 20).await;
    }
    // The limit only ends a test that would hang for ever.
    tokio::time::timeout(Duration::from_secs(60), loops.control.stop())
        .await
        .expect("the loops end");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_its_term_a_leader_ends_its_sessions_and_gives_no_more() {
    let loops = Loops::start().await;
    let agent = SimulatedAgent::connect(&loops.control, "n1", 1 << 30).await;
    // What ends its term: nothing of the agent's, and not its own end.
    loops.store.close().await;
    tokio::time::timeout(Duration::from_secs(60), agent.ended)
        .await
        .expect("the session ends")
        .unwrap();
    let refused = loops.control.agents().connect(hello("n2", 1)).await.err().unwrap();
    assert!(refused.0.contains("does not lead"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_store_a_manager_ends() {
    let loops = Loops::start().await;
    loops.store.close().await;
    tokio::time::timeout(Duration::from_secs(60), loops.control.ended())
        .await
        .expect("the loops end");
}
