//! Our questions in etcd's words, and etcd's answers in ours.

use std::ops::Bound;

use bytes::Bytes;
use etcd_client::proto::{PbKeyValue, PbResponseOp, PbTxnOpResponse};
use etcd_client::{
    Client, CompactionResponse, CompareOp as EtcdOp, DeleteOptions, GetOptions, GetResponse, KvClient,
    LeaseGrantResponse, LeaseRevokeResponse, LeaseTimeToLiveResponse, PutOptions, ResponseHeader, SortOrder,
    SortTarget, StatusResponse, TxnOp, TxnResponse, WatchOptions,
};

use crate::limits::RANGE_BYTES_MAX;
use crate::{
    Compare, CompareOp, Error, Key, KeyValue, Keys, LeaseId, Op, OpResult, Range, RangeResult, Result, Revision,
    Target, Txn, TxnResult,
};

/// Bytes of an answer that are read at all. What a key costs beside its key and value is less than this leaves room for.
const ANSWER_BYTES_MAX: usize = RANGE_BYTES_MAX + 1024 * 1024;
/// The same for a transaction with several reads, each of which is cut.
const TXN_ANSWER_BYTES_MAX: usize = 4 * RANGE_BYTES_MAX;
/// What is counted for each key beside its key and value.
const EACH_BYTES: usize = 64;
/// A span without any key.
const EMPTY: (&[u8], &[u8]) = (&[2], &[1]);

/// An answer that says which cluster it is from; 0 when it does not.
pub(super) trait Answer {
    fn cluster(&self) -> u64;
}

macro_rules! answers {
    ($($answer:ty)+) => {
        $(impl Answer for $answer {
            fn cluster(&self) -> u64 {
                self.header().map_or(0, ResponseHeader::cluster_id)
            }
        })+
    };
}

answers! { GetResponse TxnResponse CompactionResponse LeaseGrantResponse LeaseRevokeResponse LeaseTimeToLiveResponse
StatusResponse }

/// What a member says of its history.
pub(super) struct Oldest {
    cluster: u64,
    pub(super) compact_revision: u64,
}

impl Answer for Oldest {
    fn cluster(&self) -> u64 {
        self.cluster
    }
}

/// What a lease's keep-alive answered.
pub(super) struct Kept {
    pub(super) cluster: u64,
    /// Seconds; 0 when the lease is gone.
    pub(super) ttl: u64,
}

impl Answer for Kept {
    fn cluster(&self) -> u64 {
        self.cluster
    }
}

pub(super) fn kv(client: &Client) -> KvClient {
    client.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX)
}

pub(super) fn kv_txn(client: &Client) -> KvClient {
    client.kv_client().max_decoding_message_size(TXN_ANSWER_BYTES_MAX)
}

/// Asks a member for its compacted revision: only a watch of what is gone is told.
pub(super) async fn oldest(client: &Client) -> Result<Oldest, etcd_client::Error> {
    // First the member must have seen what the others have: this waits for it.
    client
        .kv_client()
        .get("\0", Some(GetOptions::new().with_count_only()))
        .await?;
    let options = WatchOptions::new().with_start_revision(1);
    let mut watch = client.watch_client().watch("\0", Some(options)).await?;
    while let Some(answer) = watch.message().await? {
        if answer.compact_revision() > 0 {
            return Ok(Oldest {
                cluster: answer.header().map_or(0, ResponseHeader::cluster_id),
                compact_revision: unsigned(answer.compact_revision()),
            });
        }
    }
    Err(etcd_client::Error::WatchError(
        "the watch ended without a word".to_owned(),
    ))
}

/// What the client calls revisions, versions and leases; beyond its range it is larger than all there are.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(super) fn header_revision(header: Option<&ResponseHeader>) -> Revision {
    Revision(header.map_or(0, |header| unsigned(header.revision())))
}

pub(super) fn revision(answer: &GetResponse) -> Revision {
    header_revision(answer.header())
}

/// A span as etcd's key and range end.
fn span(keys: &Keys) -> (Vec<u8>, Vec<u8>) {
    // An empty key is no key to etcd: 0 is the first that there is, and as an end it is all that follow.
    let first = |start: &[u8]| if start.is_empty() { vec![0] } else { start.to_vec() };
    match keys.bounds() {
        None => (EMPTY.0.to_vec(), EMPTY.1.to_vec()),
        Some((Bound::Included(start) | Bound::Excluded(start), end)) => match end {
            Bound::Included(_) => (start.to_vec(), Vec::new()),
            Bound::Excluded(end) => (first(start), end.to_vec()),
            Bound::Unbounded => (first(start), vec![0]),
        },
        Some((Bound::Unbounded, _)) => (vec![0], vec![0]),
    }
}

/// Whether only a number is asked for. etcd takes a limit of 0 for none.
fn is_count(range: &Range) -> bool {
    range.count_only || range.limit == Some(0)
}

pub(super) fn get(range: &Range) -> (Vec<u8>, GetOptions) {
    let (key, end) = span(&range.keys);
    let mut options = GetOptions::new().with_range(end);
    if let Some(at) = range.at {
        // Nothing is at 0 and at 1; and 0 is the newest to etcd.
        options = options.with_revision(signed(at.0.max(1)));
    }
    if is_count(range) {
        return (key, options.with_count_only());
    }
    if let Some(limit) = range.limit {
        options = options.with_limit(i64::try_from(limit).unwrap_or(i64::MAX));
    }
    if range.reverse {
        options = options.with_sort(SortTarget::Key, SortOrder::Descend);
    }
    if range.keys_only {
        options = options.with_keys_only();
    }
    (key, options)
}

/// The answer to a range.
pub(super) fn range_result(range: &Range, mut answer: GetResponse) -> Result<RangeResult> {
    let mut result = RangeResult {
        revision: revision(&answer),
        more: answer.more() && !is_count(range),
        kvs: Vec::new(),
        count: None,
    };
    let count = unsigned(answer.count());
    if is_count(range) {
        result.more = !range.count_only && count > 0;
    } else {
        result.kvs = answer.take_kvs().into_iter().map(|kv| key_value(kv.0)).collect();
        if fitting(&result.kvs) < result.kvs.len() {
            return Err(Error::TooLarge {
                what: "answer",
                max: RANGE_BYTES_MAX,
            });
        }
    }
    result.count = (!result.more).then_some(count);
    Ok(result)
}

/// How many of the keys fit into one answer.
fn fitting(kvs: &[KeyValue]) -> usize {
    let mut bytes = 0;
    let fits = |kv: &&KeyValue| {
        bytes += kv.key.as_bytes().len() + kv.value.len() + EACH_BYTES;
        bytes <= RANGE_BYTES_MAX
    };
    kvs.iter().take_while(fits).count()
}

pub(super) fn key_value(kv: PbKeyValue) -> KeyValue {
    KeyValue {
        key: Key::from(kv.key),
        value: Bytes::from(kv.value),
        create_revision: Revision(unsigned(kv.create_revision)),
        mod_revision: Revision(unsigned(kv.mod_revision)),
        version: unsigned(kv.version),
        lease: (kv.lease != 0).then(|| LeaseId(unsigned(kv.lease))),
    }
}

pub(super) fn txn(txn: &Txn) -> etcd_client::Txn {
    let compares: Vec<_> = txn.compares.iter().map(compare).collect();
    let success: Vec<_> = txn.success.iter().map(operation).collect();
    let failure: Vec<_> = txn.failure.iter().map(operation).collect();
    etcd_client::Txn::new()
        .when(compares)
        .and_then(success)
        .or_else(failure)
}

fn compare(compare: &Compare) -> etcd_client::Compare {
    let (key, end) = span(&compare.keys);
    let op = match compare.op {
        CompareOp::Equal => EtcdOp::Equal,
        CompareOp::NotEqual => EtcdOp::NotEqual,
        CompareOp::Greater => EtcdOp::Greater,
        CompareOp::Less => EtcdOp::Less,
    };
    let compare = match &compare.target {
        Target::Value(value) => etcd_client::Compare::value(key, op, &value[..]),
        Target::Version(version) => etcd_client::Compare::version(key, op, signed(*version)),
        Target::CreateRevision(revision) => etcd_client::Compare::create_revision(key, op, signed(revision.0)),
        Target::ModRevision(revision) => etcd_client::Compare::mod_revision(key, op, signed(revision.0)),
        Target::Lease(lease) => etcd_client::Compare::lease(key, op, lease.map_or(0, |lease| signed(lease.0))),
    };
    if end.is_empty() {
        compare
    } else {
        compare.with_range(end)
    }
}

fn operation(op: &Op) -> TxnOp {
    match op {
        Op::Put { key, value, lease } => {
            let options = lease.map(|lease| PutOptions::new().with_lease(signed(lease.0)));
            TxnOp::put(key.as_bytes(), &value[..], options)
        }
        // etcd is not asked to delete a span that ends before it begins.
        Op::Delete { keys } if keys.bounds().is_none() => {
            let (key, options) = get(&Range::new(keys.clone()).count_only());
            TxnOp::get(key, Some(options))
        }
        Op::Delete { keys } => {
            let (key, end) = span(keys);
            TxnOp::delete(key, Some(DeleteOptions::new().with_range(end)))
        }
        Op::Get { range } => {
            let (key, options) = get(&range.in_txn());
            TxnOp::get(key, Some(options))
        }
    }
}

/// The answer to a transaction.
pub(super) fn txn_result(txn: &Txn, answer: TxnResponse) -> Result<TxnResult> {
    let succeeded = answer.succeeded();
    let revision = header_revision(answer.header());
    let ops = if succeeded { &txn.success } else { &txn.failure };
    let answers = answer.0.responses;
    if answers.len() != ops.len() {
        return Err(odd("another number of answers than of operations"));
    }
    let results = ops
        .iter()
        .zip(answers)
        .map(|(op, answer)| op_result(op, answer, revision));
    Ok(TxnResult {
        succeeded,
        revision,
        results: results.collect::<Result<_>>()?,
    })
}

fn op_result(op: &Op, answer: PbResponseOp, revision: Revision) -> Result<OpResult> {
    match (op, answer.response) {
        (Op::Put { .. }, Some(PbTxnOpResponse::ResponsePut(_))) => Ok(OpResult::Put),
        (Op::Delete { .. }, Some(PbTxnOpResponse::ResponseDeleteRange(answer))) => Ok(OpResult::Delete {
            deleted: unsigned(answer.deleted),
        }),
        (Op::Delete { .. }, Some(PbTxnOpResponse::ResponseRange(_))) => Ok(OpResult::Delete { deleted: 0 }),
        (Op::Get { range }, Some(PbTxnOpResponse::ResponseRange(answer))) => {
            let range = range.in_txn();
            let count = unsigned(answer.count);
            if is_count(&range) {
                let more = !range.count_only && count > 0;
                return Ok(OpResult::Get(RangeResult {
                    revision,
                    kvs: Vec::new(),
                    more,
                    count: (!more).then_some(count),
                }));
            }
            let mut kvs: Vec<_> = answer.kvs.into_iter().map(key_value).collect();
            let fitting = fitting(&kvs);
            let more = answer.more || fitting < kvs.len();
            kvs.truncate(fitting);
            Ok(OpResult::Get(RangeResult {
                revision,
                kvs,
                more,
                count: (!more).then_some(count),
            }))
        }
        _ => Err(odd("another kind of answer than of operation")),
    }
}

fn odd(what: &str) -> Error {
    Error::Corrupt {
        what: format!("etcd gave {what}"),
    }
}
