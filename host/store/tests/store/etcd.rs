//! The store in a real etcd of one member: what it refuses, what it asks for, and when its room or history is gone.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use symphony_store::conformance::members::{self, Running, etcdctl, on_loopback};
use symphony_store::etcd::is_old_version;
use symphony_store::limits::{DELETE_KEYS_MAX, OPS_MAX};
use symphony_store::member::{Member, MemberTls};
use symphony_store::{
    Alarm, Error, Etcd, EtcdOptions, EtcdTls, Range, Revision, Secret, Store as _, StoreExt as _, Txn, Watch, read_all,
};
use tempfile::TempDir;

use crate::etcd_story::soon;

struct Lab {
    members: Vec<Running>,
    _folder: TempDir,
}

impl Lab {
    async fn start(change: impl Fn(&mut Member)) -> Option<Self> {
        if !members::can_run() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        Some(Self {
            members: on_loopback(folder.path(), 1, change).await,
            _folder: folder,
        })
    }

    fn endpoint(&self) -> String {
        self.members[0].member.endpoint()
    }

    fn options(&self) -> EtcdOptions {
        EtcdOptions::new([self.endpoint()])
    }

    async fn connect(&self) -> Etcd {
        Etcd::connect(self.options()).await.unwrap()
    }
}

#[test]
fn old_versions_are_known() {
    for old in ["3.4.23", "3.5.1", "3.5.27", "3.6.8", "3.6.0-rc.1", "2.3.8"] {
        assert!(is_old_version(old), "{old}");
    }
    for good in ["3.5.28", "3.5.30", "3.6.9", "3.6.10+git", "3.7.0", "4.0.0", "", "main"] {
        assert!(!is_old_version(good), "{good}");
    }
}

/// What is logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_old_member_is_warned_of_once() {
    let Some(lab) = Lab::start(|_| {}).await else { return };
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let store = lab.connect().await;
    store.put("a", "").await.unwrap();
    drop(guard);
    let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let version = etcdctl(&[], &lab.endpoint(), &["endpoint", "status"]);
    let version = version.split(", ").nth(2).unwrap().to_owned();
    let warned = said.matches("is older than").count();
    assert_eq!(warned, usize::from(is_old_version(&version)), "{version}: {said}");
}

#[tokio::test]
async fn what_cannot_be_reached_is_said() {
    let error = Etcd::connect(EtcdOptions::new::<String>([])).await.unwrap_err();
    assert!(matches!(error, Error::Misconfigured { .. }), "{error:?}");
    let error = Etcd::connect(EtcdOptions::new(["http://not an address"]))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Misconfigured { .. }), "{error:?}");
    let nobody = EtcdOptions::new([members::free_address()]);
    let error = soon(Etcd::connect(nobody)).await.unwrap_err();
    assert!(
        matches!(error, Error::Unavailable { maybe_done: false, .. }),
        "{error:?}"
    );
    assert!(error.is_retryable() && !error.is_ambiguous());
    // One that takes connections and is no etcd.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = EtcdOptions::new([listener.local_addr().unwrap().to_string()]);
    options.deadline = Duration::from_secs(1);
    let error = soon(Etcd::connect(options)).await.unwrap_err();
    assert!(
        matches!(error, Error::Unavailable { maybe_done: false, .. }),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_two_clusters_are_refused() {
    let (Some(one), Some(two)) = (
        Lab::start(|_| {}).await,
        Lab::start(|member| member.token = "other".into()).await,
    ) else {
        return;
    };
    let both = EtcdOptions::new([one.endpoint(), two.endpoint()]);
    let error = Etcd::connect(both.clone()).await.unwrap_err();
    let Error::WrongCluster { endpoint, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*endpoint, two.endpoint());
    // One that could not be asked at first is asked before it gets anything to do.
    let mut two = two;
    two.members[0].kill();
    let store = Etcd::connect(both).await.unwrap();
    two.members[0].restart();
    two.members[0].healthy().await;
    let mut one = one;
    one.members[0].kill();
    let error = soon(store.put("a", "")).await.unwrap_err();
    assert!(
        matches!(error, Error::WrongCluster { .. } | Error::Unavailable { .. }),
        "{error:?}"
    );
    let other = two.connect().await;
    assert_eq!(other.get(&"a".into(), None).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_member_that_restarts_is_waited_for() {
    let Some(mut lab) = Lab::start(|_| {}).await else {
        return;
    };
    let store = lab.connect().await;
    let from = store.put("a", "1").await.unwrap();
    let mut watch = store.watch(Watch::prefix("", from)).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().revision, from);
    let mark = watch.next().await.unwrap().unwrap();
    assert_eq!((mark.revision, mark.events.len()), (from, 0));
    lab.members[0].kill();
    let error = soon(store.put("a", "2")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    lab.members[0].restart();
    lab.members[0].healthy().await;
    let done = soon(async {
        loop {
            match store.put("b", "3").await {
                Ok(revision) => return revision,
                Err(error) => assert!(error.is_retryable(), "{error:?}"),
            }
        }
    })
    .await;
    // The watch goes on by itself, with everything that was written, once.
    let mut next = from.next();
    while next <= done {
        let batch = soon(watch.next()).await.unwrap().unwrap();
        if !batch.events.is_empty() {
            assert_eq!(batch.revision, next);
            next = next.next();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_compaction_overtakes_reads_anew() {
    let Some(lab) = Lab::start(|_| {}).await else { return };
    let mut options = lab.options();
    // Nothing is kept in memory: whoever is behind reads the cluster's history.
    options.recent_revisions = 0;
    let store = Etcd::connect(options).await.unwrap();
    let first = store.put("a", "0").await.unwrap();
    let mut slow = store.watch(Watch::prefix("a", first.next())).await.unwrap();
    let mut fast = store.watch(Watch::prefix("a", first.next())).await.unwrap();
    let mut last = first;
    for n in 0..200 {
        last = store.put("a", n.to_string()).await.unwrap();
    }
    let mut next = first.next();
    while next <= last {
        let batch = soon(fast.next()).await.unwrap().unwrap();
        if !batch.events.is_empty() {
            assert_eq!(batch.revision, next);
            next = next.next();
        }
    }
    store.compact(last).await.unwrap();
    let error = soon(async {
        loop {
            // A mark may come before.
            match slow.next().await.unwrap() {
                Ok(batch) => assert_eq!(batch.events, []),
                Err(error) => return error,
            }
        }
    })
    .await;
    assert!(
        matches!(error, Error::Compacted { compact_revision, .. } if compact_revision == last),
        "{error:?}"
    );
    let all = read_all(&store, Range::prefix("a"), 10).await.unwrap();
    assert_eq!(all.kvs[0].value, "199");
    let mut anew = store.watch(Watch::prefix("a", all.revision.next())).await.unwrap();
    let then = store.put("a", "after").await.unwrap();
    loop {
        let batch = soon(anew.next()).await.unwrap().unwrap();
        if !batch.events.is_empty() {
            assert_eq!(batch.revision, then);
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_that_etcd_does_not_have_are_kept() {
    let Some(lab) = Lab::start(|_| {}).await else { return };
    let mut options = lab.options();
    options.watches_max = 1;
    let store = Etcd::connect(options).await.unwrap();
    let names: Vec<_> = (0..=DELETE_KEYS_MAX).map(|n| format!("k/{n:06}")).collect();
    for names in names.chunks(OPS_MAX) {
        let txn = names.iter().fold(Txn::new(), |txn, name| txn.put(name, ""));
        store.txn(txn).await.unwrap();
    }
    let before = store.status().await.unwrap().revision;
    let error = store.txn(Txn::new().delete_prefix("k/")).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::LimitReached {
                max: DELETE_KEYS_MAX,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(store.delete("k/000000").await.unwrap(), before.next());
    assert!(store.txn(Txn::new().delete_prefix("k/")).await.is_ok());
    let watch = store.watch(Watch::prefix("k/", before)).await.unwrap();
    let error = store.watch(Watch::prefix("k/", before)).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::LimitReached {
                what: "watches",
                max: 1
            }
        ),
        "{error:?}"
    );
    drop(watch);
    assert!(store.watch(Watch::prefix("k/", before)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_space_it_reads_and_deletes_until_room_is_made() {
    let small = |member: &mut Member| {
        member.quota_bytes = 4 * 1024 * 1024;
        member.history_revisions = None;
    };
    let Some(lab) = Lab::start(small).await else { return };
    let store = lab.connect().await;
    let value = Bytes::from(vec![7; 128 * 1024]);
    store.put("small", "kept").await.unwrap();
    let lease = store.grant(Duration::from_secs(600)).await.unwrap();
    let error = loop {
        if let Err(error) = store.put("large", value.clone()).await {
            break error;
        }
    };
    assert!(matches!(error, Error::NoSpace), "{error:?}");
    assert!(error.is_retryable() && error.to_string().contains("defragment"));
    // Also the smallest put, and a lease; but not what reads and what makes room.
    let error = store.put("small", "x").await.unwrap_err();
    assert!(matches!(error, Error::NoSpace), "{error:?}");
    let error = store.grant(Duration::from_secs(60)).await.unwrap_err();
    assert!(matches!(error, Error::NoSpace), "{error:?}");
    assert_eq!(alarms(&store).await, [Alarm::NoSpace]);
    assert_eq!(store.get(&"small".into(), None).await.unwrap().unwrap().value, "kept");
    assert_eq!(store.keep_alive(lease).await.unwrap(), Duration::from_secs(600));
    let deleted = store.delete("large").await.unwrap();
    store.compact(deleted).await.unwrap();
    let control = |arguments: &[&str]| etcdctl(&[], &lab.endpoint(), arguments);
    let _ = control(&["defrag"]);
    let error = store.put("small", "x").await.unwrap_err();
    assert!(matches!(error, Error::NoSpace), "room alone is not enough: {error:?}");
    let _ = control(&["alarm", "disarm"]);
    assert!(store.put("large", value).await.unwrap() > deleted);
    assert_eq!(alarms(&store).await, []);
}

/// What the only member raised.
async fn alarms(store: &Etcd) -> Vec<Alarm> {
    let members = store.members().await.unwrap();
    assert_eq!(members.len(), 1);
    let state = members[0].answer.clone().unwrap();
    assert!(state.leads && state.has_leader && state.size_bytes >= state.used_bytes && state.used_bytes > 0);
    state.alarms
}

/// Certificates of a test: what they are signed with, and one for servers and clients both.
struct Certificates {
    ca: String,
    cert: String,
    key: String,
}

fn certificates() -> Certificates {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "test");
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["127.0.0.1".to_owned(), "etcd.test".to_owned()];
    let cert = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
    Certificates {
        ca: ca.pem(),
        cert: cert.pem(),
        key: key.serialize_pem(),
    }
}

fn write(folder: &Path, certificates: &Certificates) -> MemberTls {
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    MemberTls {
        ca: file("ca.pem", &certificates.ca),
        cert: file("cert.pem", &certificates.cert),
        key: file("key.pem", &certificates.key),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_and_passwords_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let ours = certificates();
    let files = write(folder.path(), &ours);
    let Some(lab) = Lab::start(|member| member.tls = Some(files.clone())).await else {
        return;
    };
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let (ca, cert, key) = (path(&files.ca), path(&files.cert), path(&files.key));
    let control = |arguments: &[&str]| {
        let with = ["--cacert", &ca, "--cert", &cert, "--key", &key];
        let _ = etcdctl(&[], &lab.endpoint(), &[&with[..], arguments].concat());
    };
    control(&["user", "add", "root:right"]);
    control(&["user", "grant-role", "root", "root"]);
    control(&["user", "add", "weak:weak"]);
    control(&["auth", "enable"]);
    let tls = EtcdTls {
        ca: ours.ca.clone().into(),
        identity: Some((ours.cert.clone().into(), Secret::new(&ours.key))),
        domain: None,
    };
    let user = |name: &str, password: &str| Some((name.to_owned(), Secret::new(password)));
    let options = |tls: &EtcdTls, user| {
        let mut options = lab.options();
        (options.tls, options.user) = (Some(tls.clone()), user);
        options.deadline = Duration::from_secs(2);
        options
    };
    let named = EtcdTls {
        domain: Some("etcd.test".to_owned()),
        ..tls.clone()
    };
    for tls in [&tls, &named] {
        let store = soon(Etcd::connect(options(tls, user("root", "right")))).await.unwrap();
        let revision = store.put("a", "1").await.unwrap();
        let mut watch = store.watch(Watch::key("a", revision)).await.unwrap();
        assert_eq!(soon(watch.next()).await.unwrap().unwrap().revision, revision);
        let lease = store.grant(Duration::from_secs(60)).await.unwrap();
        assert_eq!(store.keep_alive(lease).await.unwrap(), Duration::from_secs(60));
        assert!(store.status().await.unwrap().revision >= Revision(2));
    }
    for wrong in [
        user("root", "wrong"),
        user("nobody", "right"),
        user("weak", "weak"),
        None,
    ] {
        let error = soon(Etcd::connect(options(&tls, wrong.clone()))).await.unwrap_err();
        assert!(matches!(error, Error::Denied { .. }), "{wrong:?}: {error:?}");
        assert!(!error.is_retryable());
    }
    let stranger = certificates();
    let nobody = EtcdTls {
        identity: None,
        ..tls.clone()
    };
    let other_ca = EtcdTls {
        ca: stranger.ca.clone().into(),
        ..tls.clone()
    };
    let other_client = EtcdTls {
        identity: Some((stranger.cert.clone().into(), Secret::new(&stranger.key))),
        ..tls.clone()
    };
    let other_name = EtcdTls {
        domain: Some("elsewhere.test".to_owned()),
        ..tls.clone()
    };
    for wrong in [&nobody, &other_ca, &other_client, &other_name] {
        let error = soon(Etcd::connect(options(wrong, user("root", "right"))))
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Unavailable { maybe_done: false, .. }),
            "{wrong:?}: {error:?}"
        );
    }
    let no_pem = EtcdTls {
        ca: b"nonsense".to_vec(),
        ..tls.clone()
    };
    let error = soon(Etcd::connect(options(&no_pem, user("root", "right"))))
        .await
        .unwrap_err();
    assert!(!error.is_ambiguous(), "{error:?}");
    let printed = format!("{:?}", options(&tls, user("root", "right")));
    assert!(!printed.contains("right") && !printed.contains("PRIVATE"), "{printed}");
}
