//! The ledger as a whole: what it refuses, what survives.

use std::path::Path;

use cap_std::ambient_authority;

use super::*;

const OBJECT: &str = "volume/01890a5d-ac96-774b-bcce-b302099a8057";

fn open(folder: &Path) -> Result<Ledger, LedgerError> {
    let ledger = Ledger::open(Dir::open_ambient_dir(folder, ambient_authority()).unwrap())?;
    ledger.hear(None);
    Ok(ledger)
}

fn stamp(epoch: u64, generation: u64) -> Stamp {
    Stamp {
        epoch: Epoch(epoch),
        generation: Generation(generation),
        ..Stamp::default()
    }
}

fn of_tenure(tenure: u64, admission: u64) -> Stamp {
    Stamp {
        tenure: Tenure(tenure),
        admission: Admission(admission),
        ..stamp(1, 1)
    }
}

#[tokio::test]
async fn floors_outlive_the_agent_and_never_sink() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).unwrap();
    ledger.act(object(), of_tenure(2, 0)).await.unwrap();
    // A release is a call with a tenure of its own: what comes late of the placement before is refused for ever.
    ledger.act(object(), of_tenure(3, 0)).await.unwrap();
    ledger.raise(object(), Tenure(1)).await;
    drop(ledger);
    for _ in 0..2 {
        let ledger = reopen(folder.path());
        assert_eq!(ledger.floor(object()), Tenure(3));
        let kind = |tenure| {
            ledger
                .check(object(), of_tenure(tenure, 0))
                .map_err(|failure| failure.kind)
        };
        assert_eq!(kind(2), Err(FailureKind::StaleTenure));
        assert_eq!(kind(3), Ok(()));
        drop(ledger);
    }
}

#[tokio::test]
async fn nothing_is_done_before_the_nodes_admission_was_heard_and_is_the_agents() {
    let folder = tempfile::tempdir().unwrap();
    let dir = || Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
    let ledger = Ledger::open(dir()).unwrap();
    let kind = |ledger: &Ledger, admission| {
        let checked = ledger.check(object(), of_tenure(1, admission));
        checked.map_err(|failure| failure.kind)
    };
    assert_eq!(kind(&ledger, 0), Err(FailureKind::StaleTenure));
    ledger.hear(Some(Admission(1)));
    assert_eq!(kind(&ledger, 0), Err(FailureKind::StaleTenure));
    assert_eq!(kind(&ledger, 1), Err(FailureKind::StaleTenure));
    ledger.admit(Admission(1)).await;
    assert_eq!(kind(&ledger, 1), Ok(()));
    assert_eq!(kind(&ledger, 0), Err(FailureKind::StaleTenure));
    // It was fenced since, and hears so.
    ledger.hear(Some(Admission(2)));
    assert_eq!(kind(&ledger, 1), Err(FailureKind::StaleTenure));
    drop(ledger);
    // Started again, it has heard nothing: an order from before the fence finds nobody.
    let ledger = loop {
        match Ledger::open(dir()) {
            Err(LedgerError::Locked) => std::thread::yield_now(),
            other => break other.unwrap(),
        }
    };
    assert_eq!(ledger.admission(), Admission(1));
    assert_eq!(kind(&ledger, 1), Err(FailureKind::StaleTenure));
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
    ledger.act(object(), stamp(3, 5)).await.unwrap();
    for _ in 0..2 {
        let ledger = ledger.clone();
        ledger.act(object(), stamp(3, 5)).await.unwrap();
    }
    drop(ledger);
    let ledger = reopen(folder.path());
    assert_eq!(ledger.epoch_seen(), Epoch(3));
    let refusal = |epoch, generation| ledger.check(object(), stamp(epoch, generation)).map_err(|f| f.kind);
    assert_eq!(refusal(2, 9), Err(FailureKind::StaleEpoch));
    assert_eq!(refusal(3, 4), Err(FailureKind::StaleGeneration));
    assert_eq!(refusal(3, 5), Ok(()));
    assert_eq!(refusal(4, 6), Ok(()));
}

#[tokio::test]
async fn repetitions_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).unwrap();
    ledger.act(object(), stamp(1, 1)).await.unwrap();
    let length = std::fs::metadata(folder.path().join("ledger")).unwrap().len();
    ledger.act(object(), stamp(1, 1)).await.unwrap();
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
    ledger.act(object(), stamp(1, 1)).await.unwrap();
    ledger.act(object(), stamp(1, 2)).await.unwrap();
    drop(ledger);
    drop(reopen(folder.path()));
    let path = folder.path().join("ledger");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let ledger = reopen(folder.path());
    assert_eq!(ledger.check(object(), stamp(1, 1)), Ok(()));
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
        ledger.act(object(), stamp(generation, generation)).await.unwrap();
    }
    drop(ledger);
    let path = folder.path().join("ledger");
    let ledger = reopen(folder.path());
    assert!(std::fs::metadata(&path).unwrap().len() < 500);
    ledger.act(object(), stamp(101, 101)).await.unwrap();
    drop(ledger);
    let ledger = reopen(folder.path());
    assert_eq!(ledger.epoch_seen(), Epoch(101));
    assert!(ledger.check(object(), stamp(101, 100)).is_err());
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
            tokio::spawn(async move { ledger.act(object(n), stamp(1, 7)).await })
        })
        .collect();
    for act in acts {
        act.await.unwrap().unwrap();
    }
    drop(ledger);
    let ledger = reopen(folder.path());
    assert!((0..1000).all(|n| ledger.check(object(n), stamp(1, 6)).is_err()));
}
