//! A volume whose claim can't grow yet waits; it does not keep the loops and its node busy.

use symphony_core::volume::VolumePhase;
use symphony_store::StoreExt as _;

use super::harness::{Loops, SimulatedAgent};

const GIB: u64 = 1 << 30;

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_room_to_grow_costs_next_to_nothing() {
    let loops = Loops::start().await;
    let agent = SimulatedAgent::connect(&loops.control, "n1", 4 * GIB).await;
    for volume in ["a", "b"] {
        loops.ask_for(volume, 2 * GIB).await;
        loops
            .until(volume, "ready", |volume| volume.status.phase == VolumePhase::Ready)
            .await;
    }
    // Both were let in by a request that saw room; only one could have it, and now nobody does.
    loops.resize("a", 3 * GIB).await;
    let full = |volume: &symphony_core::volume::Volume| {
        volume.status.conditions.of("room").is_some_and(|c| c.reason == "full")
    };
    loops.until("a", "waiting for room", full).await;
    let before = agent.calls();
    // Every write wakes the loops; none of them may start the same pass again and again.
    for number in 0..200 {
        loops.store.put(format!("v1/other/{number}"), "x").await.unwrap();
    }
    let calls = agent.calls() - before;
    assert!(calls < 20, "{calls} calls while nothing changed for the volume");

    // It is looked at again and again, and written once.
    let growing = |volume: &symphony_core::volume::Volume| {
        volume
            .status
            .conditions
            .of("ready")
            .is_some_and(|c| c.reason == "growing")
    };
    loops.until("a", "known to wait", growing).await;
    let ((_, written), looked) = (loops.volume("a").await, agent.calls());
    while agent.calls() < looked + 2 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(loops.volume("a").await.1, written);

    loops.resize("b", 2 * GIB).await;
    let (mut gone, _) = loops.volume("b").await;
    gone.meta.deleting_since = Some(symphony_control::clock::now());
    gone.meta.generation = gone.meta.generation.next();
    loops.put(&gone).await;
    let grown = loops
        .until("a", "larger", |volume| {
            volume.status.phase == VolumePhase::Ready && volume.status.size_bytes == 3 * GIB
        })
        .await;
    assert_eq!(grown.placement.unwrap().claimed_bytes, 3 * GIB);
}
