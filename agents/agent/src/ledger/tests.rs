//! The ledger as a whole: what it refuses, what survives.

use std::path::Path;

use cap_std::ambient_authority;

use super::*;

const OBJECT: &str = "volume/01890a5d-ac96-774b-bcce-b302099a8057";

fn open(folder: &Path) -> Result<Ledger, LedgerError> {
    Ledger::open(Dir::open_ambient_dir(folder, ambient_authority()).unwrap())
}

/// The lock goes when the writer has ended, a moment after the last handle.
fn reopen(folder: &Path) -> Ledger {
    loop {
        match open(folder) {
            Err(LedgerError::Locked) => std::thread::yield_now(),
            other => return other.unwrap(),
        }
    }
}

fn object() -> ObjectKey {
    OBJECT.parse().unwrap()
}

#[tokio::test]
async fn what_is_over_is_refused_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).unwrap();
    ledger.act(Epoch(3), object(), Generation(5)).await.unwrap();
    for _ in 0..2 {
        let ledger = ledger.clone();
        ledger.act(Epoch(3), object(), Generation(5)).await.unwrap();
    }
    drop(ledger);
    let ledger = reopen(folder.path());
    assert_eq!(ledger.epoch_seen(), Epoch(3));
    let refusal = |epoch, generation| {
        ledger
            .check(Epoch(epoch), object(), Generation(generation))
            .map_err(|f| f.kind)
    };
    assert_eq!(refusal(2, 9), Err(FailureKind::StaleEpoch));
    assert_eq!(refusal(3, 4), Err(FailureKind::StaleGeneration));
    assert_eq!(refusal(3, 5), Ok(()));
    assert_eq!(refusal(4, 6), Ok(()));
}

#[tokio::test]
async fn repetitions_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).unwrap();
    ledger.act(Epoch(1), object(), Generation(1)).await.unwrap();
    let length = std::fs::metadata(folder.path().join("ledger")).unwrap().len();
    ledger.act(Epoch(1), object(), Generation(1)).await.unwrap();
    assert_eq!(std::fs::metadata(folder.path().join("ledger")).unwrap().len(), length);
}

#[tokio::test]
async fn two_agents_in_one_folder_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _ledger = open(folder.path()).unwrap();
    assert!(matches!(open(folder.path()), Err(LedgerError::Locked)));
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_damage_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).unwrap();
    ledger.act(Epoch(1), object(), Generation(1)).await.unwrap();
    ledger.act(Epoch(1), object(), Generation(2)).await.unwrap();
    drop(ledger);
    drop(reopen(folder.path()));
    let path = folder.path().join("ledger");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let ledger = reopen(folder.path());
    assert_eq!(ledger.check(Epoch(1), object(), Generation(1)), Ok(()));
    drop(ledger);
    drop(reopen(folder.path()));
    let mut damaged = whole.clone();
    damaged[30] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    let error = loop {
        match open(folder.path()) {
            Err(LedgerError::Locked) => std::thread::yield_now(),
            other => break other.unwrap_err(),
        }
    };
    assert!(matches!(error, LedgerError::Damaged { offset: 0, .. }), "{error}");
    assert_eq!(
        std::fs::read(&path).unwrap(),
        damaged,
        "a damaged ledger is left for a person to look at"
    );
}

#[tokio::test]
async fn rewriting_keeps_everything_and_makes_it_small() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).unwrap();
    for generation in 1..=100 {
        ledger
            .act(Epoch(generation), object(), Generation(generation))
            .await
            .unwrap();
    }
    drop(ledger);
    let path = folder.path().join("ledger");
    let ledger = reopen(folder.path());
    assert!(std::fs::metadata(&path).unwrap().len() < 500);
    ledger.act(Epoch(101), object(), Generation(101)).await.unwrap();
    drop(ledger);
    let ledger = reopen(folder.path());
    assert_eq!(ledger.epoch_seen(), Epoch(101));
    assert!(ledger.check(Epoch(101), object(), Generation(100)).is_err());
}

#[tokio::test]
async fn many_at_once_share_flushes_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).unwrap();
    let object = |n: usize| {
        format!("volume/00000000-0000-7000-8000-{n:012x}")
            .parse::<ObjectKey>()
            .unwrap()
    };
    let acts: Vec<_> = (0..1000)
        .map(|n| {
            let ledger = ledger.clone();
            tokio::spawn(async move { ledger.act(Epoch(1), object(n), Generation(7)).await })
        })
        .collect();
    for act in acts {
        act.await.unwrap().unwrap();
    }
    drop(ledger);
    let ledger = reopen(folder.path());
    assert!((0..1000).all(|n| ledger.check(Epoch(1), object(n), Generation(6)).is_err()));
}
