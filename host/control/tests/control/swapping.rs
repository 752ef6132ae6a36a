//! Swaps and rollbacks: a component serves again as it served, and what can't start never serves.

use symphony_control::plugins::ActivateError;
use symphony_core::plugin::Slot;

use super::harness::{Loops, component};

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_brings_the_configuration_back() {
    let loops = Loops::start().await;
    let plugins = loops.control.plugins();
    let guest = plugins.upload(component("guests/well-behaved")).await.unwrap();
    let packs = plugins.upload(component("binpack")).await.unwrap();
    plugins
        .activate(Slot::VolumeScheduler, guest.digest, r#"{"after":7}"#)
        .await
        .unwrap();
    plugins
        .activate(Slot::VolumeScheduler, packs.digest, "{}")
        .await
        .unwrap();
    let back = plugins.rollback(Slot::VolumeScheduler).await.unwrap();
    assert_eq!(
        (back.active, back.config.as_str()),
        (Some(guest.digest), r#"{"after":7}"#)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_start_changes_nothing() {
    let loops = Loops::start().await;
    let plugins = loops.control.plugins();
    let packs = plugins.upload(component("binpack")).await.unwrap();
    let refused = plugins
        .activate(Slot::VolumeScheduler, packs.digest, "not json")
        .await
        .unwrap_err();
    assert!(matches!(refused, ActivateError::Load(_)), "{refused}");
    let elsewhere = plugins
        .activate(Slot::VolumeDriver, packs.digest, "{}")
        .await
        .unwrap_err();
    assert!(matches!(elsewhere, ActivateError::WrongSlot { .. }), "{elsewhere}");
    let nothing = plugins.rollback(Slot::VolumeScheduler).await.unwrap_err();
    assert!(matches!(nothing, ActivateError::NothingBefore(_)), "{nothing}");
}
