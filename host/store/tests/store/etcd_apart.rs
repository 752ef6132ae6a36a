//! Three etcd members, each in a network of its own, which are cut off from one another and from us.
//!
//! Each test runs itself again in namespaces of its own (network, mounts, processes): nothing that it makes has a name
//! outside of them, and all of it is gone when it ends, however it ends.

use std::process::{Command, Stdio};

use symphony_store::conformance::members::{PATIENCE, Running, can_be_apart, etcdctl};
use symphony_store::member::Member;
use symphony_store::{Error, Etcd, EtcdOptions, Range, Revision, Store as _, StoreExt as _, Watch, read_all};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::etcd_story::{Story, impatient, soon};

/// Set where the test runs in its namespaces.
const MARK: &str = "SYMPHONY_TEST_APART";

/// A bridge, on which we are 10.77.0.254, and three networks on it with 10.77.0.1 to .3.
const NETWORKS: &str = r#"set -e
PATH=$PATH:/usr/sbin:/sbin
mkdir -p /run/netns && mount -t tmpfs none /run/netns
ip link set lo up
ip link add name br0 type bridge && ip addr add 10.77.0.254/24 dev br0 && ip link set br0 up
for n in 1 2 3; do
  ip netns add m$n && ip link add name v$n type veth peer name eth0 netns m$n && ip link set v$n master br0 up
  ip netns exec m$n sh -c "ip link set lo up && ip addr add 10.77.0.$n/24 dev eth0 && ip link set eth0 up"
done
exec "$@""#;

const CUT_OURSELVES: &str = "nft -f - <<'END'
table inet cut {
  chain in { type filter hook input priority 0; iif != lo ip saddr 10.77.0.0/24 drop; }
  chain out { type filter hook output priority 0; ip daddr 10.77.0.0/24 tcp dport 2379 reject with tcp reset; }
}
END";

/// Runs a test in namespaces of its own; outside of them it starts itself there.
fn apart(name: &str, test: impl Future<Output = ()>) {
    if std::env::var_os(MARK).is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(test);
    }
    if !can_be_apart() {
        return;
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    unshare.args(["--propagation", "private", "sh", "-c", NETWORKS, "sh"]);
    unshare.arg(std::env::current_exe().unwrap());
    unshare.args(["--exact", &format!("etcd_apart::{name}"), "--nocapture"]);
    let output = unshare.env(MARK, "1").stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{errors}");
}

fn shell(line: &str) {
    let line = format!("PATH=$PATH:/usr/sbin:/sbin; {line}");
    let status = Command::new("sh").args(["-c", &line]).status().unwrap();
    assert!(status.success(), "{line}");
}

/// What makes a command run in a member's network.
fn inside(member: usize) -> Vec<String> {
    vec!["nsenter".to_owned(), format!("--net=/run/netns/m{member}")]
}

struct Apart {
    members: Vec<Running>,
    _folder: TempDir,
}

impl Apart {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let addresses: Vec<_> = (1..=3)
            .map(|n| (format!("10.77.0.{n}:2379"), format!("10.77.0.{n}:2380")))
            .collect();
        let addresses = addresses.iter().map(|(client, peer)| (&client[..], &peer[..]));
        let members = Member::all(folder.path(), addresses);
        let members: Vec<_> = (1..)
            .zip(members)
            .map(|(n, member)| Running::start(member, &inside(n)))
            .collect();
        for member in &members {
            member.healthy().await;
        }
        Self {
            members,
            _folder: folder,
        }
    }

    fn options(&self) -> EtcdOptions {
        impatient(self.members.iter().map(|running| running.member.endpoint()))
    }

    fn cut(member: usize) {
        shell(&format!("ip link set v{member} down"));
    }

    async fn heal(&self, member: usize) {
        shell(&format!("ip link set v{member} up"));
        self.members[member - 1].healthy().await;
    }
}

#[test]
fn each_member_is_cut_off_and_healed() {
    apart("each_member_is_cut_off_and_healed", async {
        let apart = Apart::start().await;
        let story = Story::begin(apart.options()).await;
        story.goes_on().await;
        for member in 1..=3 {
            Apart::cut(member);
            story.goes_on().await;
            apart.heal(member).await;
            story.goes_on().await;
        }
        story.end().await;
    });
}

#[test]
fn without_a_majority_it_is_said_until_there_is_one() {
    apart("without_a_majority_it_is_said_until_there_is_one", async {
        let apart = Apart::start().await;
        let story = Story::begin(apart.options()).await;
        story.goes_on().await;
        Apart::cut(2);
        Apart::cut(3);
        story.stands_still().await;
        let errors = [
            soon(story.store.put("x", "")).await.unwrap_err(),
            soon(story.store.get(&"w/000000".into(), None)).await.unwrap_err(),
            soon(story.store.watch(Watch::key("x", Revision(1)))).await.unwrap_err(),
            soon(story.store.status()).await.unwrap_err(),
            soon(Etcd::connect(apart.options())).await.unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
            assert!(error.is_retryable());
        }
        shell("ip link set v2 up && ip link set v3 up");
        for member in &apart.members {
            member.healthy().await;
        }
        story.goes_on().await;
        story.end().await;
    });
}

#[test]
fn a_member_that_only_we_can_reach_is_done_without() {
    apart("a_member_that_only_we_can_reach_is_done_without", async {
        let apart = Apart::start().await;
        let story = Story::begin(apart.options()).await;
        story.goes_on().await;
        for (member, others) in [(1, [2, 3]), (2, [1, 3]), (3, [1, 2])] {
            let route = |verb: &str| {
                for other in others {
                    shell(&format!(
                        "ip netns exec m{member} ip route {verb} blackhole 10.77.0.{other}/32"
                    ));
                }
            };
            route("add");
            story.goes_on().await;
            route("del");
            apart.members[member - 1].healthy().await;
            story.goes_on().await;
        }
        story.end().await;
    });
}

#[test]
fn cut_off_for_longer_than_history_lasts_it_reads_anew() {
    apart("cut_off_for_longer_than_history_lasts_it_reads_anew", async {
        let apart = Apart::start().await;
        let store = Etcd::connect(apart.options()).await.unwrap();
        let first = store.put("a", "0").await.unwrap();
        let mut watch = store.watch(Watch::prefix("a", first)).await.unwrap();
        assert_eq!(soon(watch.next()).await.unwrap().unwrap().revision, first);
        // Nothing comes in, and whatever goes out is refused: after one call the connection that we had is gone.
        shell(CUT_OURSELVES);
        let error = soon(store.get(&"a".into(), None)).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
        let control = |arguments: &[&str]| etcdctl(&inside(1), "http://10.77.0.1:2379", arguments);
        for n in 0..5 {
            let _ = control(&["put", "a", &n.to_string()]);
        }
        let last = Revision(first.0 + 5);
        let _ = control(&["compact", &last.to_string()]);
        shell("nft delete table inet cut");
        let error = timeout(PATIENCE, async {
            loop {
                match watch.next().await.unwrap() {
                    Ok(batch) => assert_eq!(batch.events, [], "the history is gone"),
                    Err(error) => return error,
                }
            }
        })
        .await
        .unwrap();
        assert!(
            matches!(error, Error::Compacted { compact_revision, .. } if compact_revision == last),
            "{error:?}"
        );
        let all = soon(read_all(&store, Range::prefix("a"), 10)).await.unwrap();
        assert_eq!((all.revision, &all.kvs[0].value[..]), (last, &b"4"[..]));
        let mut watch = store.watch(Watch::prefix("a", last.next())).await.unwrap();
        let then = store.put("a", "after").await.unwrap();
        loop {
            let batch = soon(watch.next()).await.unwrap().unwrap();
            if !batch.events.is_empty() {
                assert_eq!(batch.revision, then);
                break;
            }
        }
    });
}
