//! What ends, what stays, and what is written down.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use symphony_core::counter::Admission;
use symphony_protocol::{Call, Outcome, Work};

use crate::executor::{Executor, ProgressSink};
use crate::ledger::{Ledger, LedgerError};

use super::*;

/// A node with machines; the machine of this number can't be ended.
#[derive(Default)]
struct Owner {
    machines: Mutex<BTreeSet<String>>,
    stubborn: Mutex<Option<String>>,
}

#[async_trait]
impl Executor for Owner {
    fn handles(&self, _: &Work) -> bool {
        false
    }

    async fn run(&self, _: Call, _: ProgressSink) -> Result<Outcome, Failure> {
        unreachable!("no call is sent")
    }

    async fn owned(&self) -> Result<Vec<String>, Failure> {
        Ok(self.machines.lock().unwrap().iter().cloned().collect())
    }

    async fn discard(&self, object: &str) -> Result<(), Failure> {
        if self.stubborn.lock().unwrap().as_deref() == Some(object) {
            return Err(Failure::new(FailureKind::Other, "it does not end"));
        }
        self.machines.lock().unwrap().remove(object);
        Ok(())
    }
}

fn machine(number: usize) -> String {
    format!("machine/00000000-0000-7000-8000-{number:012x}")
}

fn owner(machines: usize) -> Arc<Owner> {
    let owner = Owner::default();
    *owner.machines.lock().unwrap() = (0..machines).map(machine).collect();
    Arc::new(owner)
}

fn calls(folder: &Path, owner: &Arc<Owner>, heard: u64) -> (Calls, Ledger) {
    let ledger = loop {
        match Ledger::open(Dir::open_ambient_dir(folder, ambient_authority()).unwrap()) {
            Err(LedgerError::Locked) => std::thread::yield_now(),
            other => break other.unwrap(),
        }
    };
    ledger.hear(Some(Admission(heard)));
    let calls = Calls::new(ledger.clone(), vec![Arc::clone(owner) as Arc<dyn Executor>]);
    (calls, ledger)
}

fn readmit(admission: u64, keep: &[(usize, u64)], confirmed: bool) -> Readmit {
    Readmit {
        admission: Admission(admission),
        keep: keep
            .iter()
            .map(|(number, tenure)| (machine(*number), Tenure(*tenure)))
            .collect(),
        confirmed,
    }
}

#[tokio::test]
async fn what_is_not_kept_ends_and_all_of_it_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let owner = owner(3);
    let (calls, ledger) = calls(folder.path(), &owner, 2);
    let done = calls.settle(&readmit(2, &[(1, 7)], true)).await.unwrap();
    assert_eq!(done.admission, Admission(2));
    assert_eq!(done.destroyed, [machine(0), machine(2)]);
    assert_eq!(*owner.machines.lock().unwrap(), BTreeSet::from([machine(1)]));
    drop((calls, ledger));
    let (calls, ledger) = self::calls(folder.path(), &owner, 2);
    assert_eq!(ledger.admission(), Admission(2));
    assert_eq!(ledger.floor(machine(1).parse().unwrap()), Tenure(7));
    // What it had at its first tenure is over.
    assert_eq!(ledger.floor(machine(0).parse().unwrap()), Tenure(1));
    // Said again, because the answer was lost: there may be work since, so nothing ends.
    owner.machines.lock().unwrap().insert(machine(9));
    let again = calls.settle(&readmit(2, &[(1, 7)], true)).await.unwrap();
    assert_eq!((again.admission, again.destroyed.len()), (Admission(2), 0));
    assert_eq!(owner.machines.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn without_a_word_of_somebody_nothing_ends() {
    let folder = tempfile::tempdir().unwrap();
    let owner = owner(21);
    let (calls, ledger) = calls(folder.path(), &owner, 1);
    let done = calls.settle(&readmit(1, &[], false)).await.unwrap();
    assert!(done.destroyed.is_empty());
    assert_eq!(owner.machines.lock().unwrap().len(), 21);
    assert_eq!(ledger.admission(), Admission(1));
}

#[tokio::test]
async fn an_order_of_another_session_settles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let owner = owner(2);
    let (calls, ledger) = calls(folder.path(), &owner, 3);
    for admission in [2, 4] {
        let failure = calls.settle(&readmit(admission, &[], true)).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::StaleTenure);
    }
    assert_eq!(
        (owner.machines.lock().unwrap().len(), ledger.admission()),
        (2, Admission(0))
    );
}

#[tokio::test]
async fn a_list_that_can_t_be_read_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let owner = owner(2);
    let (calls, _ledger) = calls(folder.path(), &owner, 1);
    let mut unreadable = readmit(1, &[(0, 1)], true);
    unreadable.keep.push(("disk/1".to_owned(), Tenure(1)));
    assert!(calls.settle(&unreadable).await.is_err());
    assert!(calls.settle(&readmit(1, &[(0, 1), (0, 2)], true)).await.is_err());
    let many: Vec<(usize, u64)> = (0..=KEEP_MAX).map(|number| (number, 1)).collect();
    assert!(calls.settle(&readmit(1, &many, true)).await.is_err());
    assert_eq!(owner.machines.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_node_that_can_t_end_a_machine_is_not_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let owner = owner(1);
    *owner.stubborn.lock().unwrap() = Some(machine(0));
    let (calls, ledger) = calls(folder.path(), &owner, 1);
    assert!(calls.settle(&readmit(1, &[], true)).await.is_err());
    assert_eq!(ledger.admission(), Admission(0));
    // It is tried again until it goes.
    let (uplink, mut frames) = mpsc::channel(4);
    calls.readmit(readmit(1, &[], true), &uplink);
    *owner.stubborn.lock().unwrap() = None;
    match frames.recv().await {
        Some(ToManager::Readmitted(done)) => assert_eq!(done.destroyed, [machine(0)]),
        other => panic!("{other:?}"),
    }
    assert_eq!(ledger.admission(), Admission(1));
}
