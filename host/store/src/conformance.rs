//! The cases that every backend must pass. A backend's test calls [`run_all`] with a way to make an empty store.
//!
//! Each case has the store for itself and keeps to keys under its own name. None depends on the revision at which a
//! store begins, and none sleeps: what comes later is awaited, and time is passed through [`Subject::pass`].

#![expect(
    clippy::unwrap_used,
    reason = "these are tests, which a library has to carry so that backends can share them"
)]

mod compaction;
mod compares;
mod leases;
mod limits;
pub mod members;
mod reads;
mod txns;
mod watches;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::{Event, Key, KeyValue, Revision, Store, StoreExt as _, WatchBatch, WatchStream};

/// Lets time pass for a store: a manual clock goes on, a real one is waited for.
pub type PassTime = Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

/// A case that hangs has failed. Far more than any takes, also on a busy machine.
const CASE_DEADLINE: Duration = Duration::from_secs(120);

/// A store under test.
#[derive(Clone)]
pub struct Subject {
    /// The store; empty when a case begins.
    pub store: Arc<dyn Store>,
    time: PassTime,
    case: &'static str,
}

impl Subject {
    fn key(&self, name: &str) -> Key {
        Key::from(format!("{}/{name}", self.case))
    }

    async fn pass(&self, time: Duration) {
        (self.time)(time).await;
    }

    async fn put(&self, name: &str, value: &'static str) -> Revision {
        self.store.put(self.key(name), value).await.unwrap()
    }

    async fn get(&self, name: &str) -> Option<KeyValue> {
        self.store.get(&self.key(name), None).await.unwrap()
    }

    async fn revision(&self) -> Revision {
        self.store.status().await.unwrap().revision
    }

    /// The names of keys, without what stands before them in this case.
    fn names<'k>(&self, kvs: impl IntoIterator<Item = &'k KeyValue>) -> Vec<String> {
        let prefix = format!("{}/", self.case);
        let names = kvs
            .into_iter()
            .map(|kv| kv.key.strip_prefix(&prefix).unwrap().to_owned());
        names.collect()
    }
}

/// The next batch that has events.
async fn next_events(watch: &mut WatchStream) -> WatchBatch {
    loop {
        let batch = watch.next().await.expect("a watch has no end of its own").unwrap();
        if !batch.events.is_empty() {
            return batch;
        }
    }
}

/// The changes of a batch as text: `+name=value` and `-name`.
fn changes(batch: &WatchBatch) -> Vec<String> {
    let name = |key: &Key| {
        let key = key.to_string();
        key.split_once('/').unwrap().1.to_owned()
    };
    let text = |event: &Event| match event {
        Event::Put { kv, .. } => format!("+{}={}", name(&kv.key), String::from_utf8_lossy(&kv.value)),
        Event::Delete { key, .. } => format!("-{}", name(key)),
    };
    batch.events.iter().map(text).collect()
}

/// One case.
struct Case {
    name: &'static str,
    run: fn(Subject) -> BoxFuture<'static, ()>,
}

macro_rules! cases {
    ($($module:ident: $($case:ident)+;)+) => {
        const CASES: &[Case] = &[$($(Case {
            name: concat!(stringify!($module), "::", stringify!($case)),
            run: |subject| Box::pin($module::$case(subject)),
        }),+),+];
    };
}

cases! {
    reads: put_then_get absent_is_none delete_then_put_begins_anew ranges_are_ordered_and_limited
        ranges_without_values prefixes_end_where_they_should reads_at_a_revision ranges_at_a_revision
        the_future_cannot_be_read empty_keys_are_refused pages_are_of_one_revision;
    txns: one_revision_for_all_changes a_false_condition_does_the_other_branch nothing_changed_no_revision
        every_compare_must_hold operations_see_those_before_them a_key_changes_once_only deletes_may_overlap
        concurrent_increments_are_all_there one_creator_wins readers_see_all_or_nothing;
    compares: every_target_with_every_operator an_absent_key_is_zero values_of_absent_keys_never_compare
        a_span_holds_when_each_key_does an_empty_span_is_an_absent_key nothing_under_a_prefix;
    watches: history_first_then_live one_batch_a_revision only_what_is_watched previous_values
        a_mark_when_caught_up from_the_future resumes_at_every_revision no_gap_and_no_repetition_under_load
        a_compacted_beginning_is_an_error a_deletion_after_the_compacted_revision_is_seen;
    leases: keys_go_when_time_is_over keep_alive_extends revoking_deletes_in_one_revision
        an_ended_lease_does_nothing a_put_moves_a_key_between_leases time_to_live_is_limited;
    limits: operations_and_compares sizes_of_keys_and_values size_of_a_request size_of_an_answer
        keys_read_in_a_transaction;
    compaction: before_it_nothing_can_be_read live_keys_survive_it it_goes_forward_only a_closed_store_says_so;
}

/// Runs every case on a store of its own that `open` makes; panics at the end with the names of those that failed.
///
/// # Panics
/// When a case fails or hangs.
pub async fn run_all<F, O>(open: F)
where
    F: Fn() -> O,
    O: Future<Output = (Arc<dyn Store>, PassTime)>,
{
    let mut failed = Vec::new();
    for Case { name, run } in CASES {
        let (store, time) = open().await;
        let subject = Subject {
            store: Arc::clone(&store),
            time,
            case: name.rsplit("::").next().unwrap(),
        };
        // In a task of its own, so that one failure does not hide the others.
        let case = tokio::spawn(tokio::time::timeout(CASE_DEADLINE, run(subject)));
        match case.await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => failed.push(format!("{name} (hangs)")),
            Err(_) => failed.push((*name).to_owned()),
        }
        store.close().await;
    }
    assert!(
        failed.is_empty(),
        "{} of {} cases failed: {}",
        failed.len(),
        CASES.len(),
        failed.join(", ")
    );
}
