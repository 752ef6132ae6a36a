//! Networks of the parts: one namespace each, on one bridge, and what is cut between them.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// What cuts are made with: a table that is nobody else's.
const TABLE: &str = "cut";

/// The network of one part. Its name is a letter and a number: `e1`, `m2`, `n5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Space(pub &'static str);

impl Space {
    /// Its address: 10.77.0.1 and on for etcd, .11 for managers, .21 for nodes.
    ///
    /// # Panics
    /// When its name is none of these.
    #[must_use]
    pub fn address(self) -> String {
        let (letter, number) = self.0.split_at(1);
        let first = match letter {
            "e" => 0,
            "m" => 10,
            "n" => 20,
            other => panic!("{other} is no part"),
        };
        let number: u8 = number.parse().expect("a number");
        format!("10.77.0.{}", first + number)
    }

    /// Its file.
    #[must_use]
    pub fn file(self) -> String {
        format!("/run/netns/{}", self.0)
    }

    /// Makes it, with the link to the bridge. Its MAC is always the same: a server that comes up again has its old one.
    pub fn make(self) {
        let (name, address) = (self.0, self.address());
        let last: u8 = address
            .rsplit('.')
            .next()
            .and_then(|last| last.parse().ok())
            .unwrap_or_default();
        shell(&format!(
            "ip link del v-{name} 2>/dev/null; set -e; ip netns add {name}
             ip link add name v-{name} type veth peer name eth0 address 02:77:00:00:00:{last:02x} netns {name}
             ip link set v-{name} master br0 up
             nsenter --net={} sh -c 'ip link set lo up; ip addr add {address}/24 dev eth0; ip link set eth0 up'",
            self.file()
        ));
    }

    /// Removes it, with all links in it.
    pub fn remove(self) {
        shell(&format!(
            "ip netns del {0}; ip link del v-{0} 2>/dev/null; true",
            self.0
        ));
    }

    /// The names of the links in it, sorted.
    ///
    /// # Panics
    /// When they can't be looked at.
    #[must_use]
    pub fn links(self) -> Vec<String> {
        let mut ip = Command::new("nsenter");
        ip.arg(format!("--net={}", self.file())).args(["ip", "-o", "link"]);
        let output = ip.stdin(Stdio::null()).output().expect("nsenter runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // `2: eth0@if3: <…`
        let name = |line: &str| Some(line.split(": ").nth(1)?.split('@').next()?.to_owned());
        let mut names: Vec<String> = text.lines().filter_map(name).collect();
        names.sort();
        names
    }

    /// Lets nothing through any more from here to these parts. One way: what they send arrives.
    pub fn cut_to(self, others: &[Self]) {
        self.rules(&format!("add rule inet {TABLE} out ip daddr {} drop", list(others)));
    }

    /// Lets nothing through any more between here and these parts.
    pub fn cut(self, others: &[Self]) {
        self.rules(&format!(
            "add rule inet {TABLE} out ip daddr {0} drop; add rule inet {TABLE} in ip saddr {0} drop",
            list(others)
        ));
    }

    /// Lets nothing through any more from and to here.
    pub fn cut_off(self) {
        self.rules(&format!(
            "add rule inet {TABLE} out oif != lo drop; add rule inet {TABLE} in iif != lo drop"
        ));
    }

    /// Lets everything through again. Nothing when nothing was cut.
    pub fn heal(self) {
        shell(&format!(
            "nsenter --net={} nft delete table inet {TABLE} 2>/dev/null; true",
            self.file()
        ));
    }

    fn rules(self, rules: &str) {
        let text = format!(
            "add table inet {TABLE}
             add chain inet {TABLE} out {{ type filter hook output priority 0; }}
             add chain inet {TABLE} in {{ type filter hook input priority 0; }}\n{}\n",
            rules.replace("; ", "\n")
        );
        let mut nft = Command::new("nsenter");
        nft.arg(format!("--net={}", self.file())).args(["nft", "-f", "-"]);
        let mut child = nft.stdin(Stdio::piped()).spawn().expect("nsenter runs");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(text.as_bytes()).expect("nft reads");
        drop(stdin);
        assert!(child.wait().expect("it ends").success(), "{}: {text}", self.0);
    }
}

fn list(spaces: &[Space]) -> String {
    let addresses: Vec<String> = spaces.iter().map(|space| space.address()).collect();
    format!("{{ {} }}", addresses.join(", "))
}

/// Runs a line of shell, which must succeed.
pub(super) fn shell(line: &str) {
    let line = format!("PATH=$PATH:/usr/sbin:/sbin; {line}");
    let output = Command::new("sh").args(["-c", &line]).stdin(Stdio::null()).output();
    let output = output.expect("there is a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {said}");
}
