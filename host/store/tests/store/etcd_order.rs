//! Changes become whole revisions, whatever messages they come in; and one that is left out is seen.

use proptest::prelude::*;
use symphony_store::etcd::order::Order;
use symphony_store::{Error, Event, Key, Revision, WatchBatch};

fn change(revision: u64, name: usize) -> Event {
    Event::Delete {
        key: Key::from(name.to_string()),
        mod_revision: Revision(revision),
        prev: None,
    }
}

fn given(order: &mut Order) -> Vec<(u64, usize)> {
    std::iter::from_fn(|| order.pop())
        .map(|WatchBatch { revision, events }| (revision.0, events.len()))
        .collect()
}

#[test]
fn a_missing_revision_is_asked_for_once() {
    let mut order = Order::new(5);
    assert!(order.take([change(4, 0), change(5, 0)], false).unwrap());
    assert_eq!(given(&mut order), [(5, 1)]);
    assert!(!order.take([change(7, 0)], false).unwrap());
    assert_eq!((order.next_revision(), given(&mut order)), (6, vec![]));
    // It comes the second time: nothing was lost.
    order.interrupt();
    assert!(order.take([change(5, 0), change(6, 0), change(7, 0)], false).unwrap());
    assert_eq!(given(&mut order), [(6, 1), (7, 1)]);
    // Another one may be missing later; but not the same one twice.
    assert!(!order.take([change(9, 0)], false).unwrap());
    order.interrupt();
    let error = order.take([change(7, 0), change(9, 0)], false).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Compacted {
                requested: Revision(8),
                compact_revision: Revision(9)
            }
        ),
        "{error:?}"
    );
}

#[test]
fn an_interrupted_revision_begins_anew() {
    let mut order = Order::new(2);
    assert!(order.take([change(2, 0), change(2, 1)], true).unwrap());
    assert_eq!(given(&mut order), []);
    order.interrupt();
    assert_eq!(order.next_revision(), 2);
    assert!(order.take([change(2, 0), change(2, 1), change(2, 2)], false).unwrap());
    assert_eq!(given(&mut order), [(2, 3)]);
}

proptest! {
    /// However the changes are cut into messages, and wherever it is interrupted and goes on from one earlier.
    #[test]
    fn each_revision_comes_once_and_whole(
        sizes in prop::collection::vec(1_usize..6, 1..20),
        cuts in prop::collection::vec((1_usize..8, prop::bool::weighted(0.2)), 1..80),
    ) {
        let changes: Vec<_> = (2..).zip(&sizes)
            .flat_map(|(revision, size)| (0..*size).map(move |name| (revision, name)))
            .collect();
        let mut order = Order::new(2);
        let (mut at, mut all) = (0, Vec::new());
        for (count, interrupted) in cuts.into_iter().cycle().take(2000) {
            let end = (at + count).min(changes.len());
            // The member says that more follows, unless a revision ends here.
            let more = end < changes.len() && changes[end].0 == changes[end - 1].0;
            let events: Vec<_> = changes[at..end].iter().map(|(revision, name)| change(*revision, *name)).collect();
            prop_assert!(order.take(events, more).unwrap());
            all.extend(given(&mut order));
            at = end;
            if interrupted {
                order.interrupt();
                let from = order.next_revision() - 1;
                at = changes.iter().position(|(revision, _)| *revision >= from).unwrap_or(changes.len());
            }
            if at == changes.len() && order.next_revision() == sizes.len() as u64 + 2 {
                break;
            }
        }
        let expected: Vec<_> = (2..).zip(sizes).collect();
        prop_assert!(expected.starts_with(&all), "{all:?}");
        prop_assert!(all == expected || order.next_revision() < expected.len() as u64 + 2);
    }
}
