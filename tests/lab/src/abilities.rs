//! What this server can do. Found out by doing it, in namespaces of its own that end with the try; never by names or
//! versions.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// What this server can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is found out by itself")]
pub struct Abilities {
    /// We are root.
    pub root: bool,
    /// Processes can have mounts, networks and process ids of their own.
    pub namespaces: bool,
    /// Bridges and virtual links can be made.
    pub bridges: bool,
    /// Machines can have network interfaces: `/dev/net/tun`.
    pub tun: bool,
    /// Packets can be filtered by port of a bridge.
    pub filters: bool,
    /// Addresses can be given: `dnsmasq`.
    pub dhcp: bool,
    /// The processor runs machines: `/dev/kvm`.
    pub kvm: bool,
    /// Machines can be run, if slowly without [`kvm`](Self::kvm).
    pub qemu: bool,
    /// `libvirtd` is there.
    pub libvirt: bool,
}

impl Abilities {
    /// Looks, once for a process: it takes a tenth of a second.
    #[must_use]
    pub fn here() -> &'static Self {
        static HERE: OnceLock<Abilities> = OnceLock::new();
        HERE.get_or_init(Self::find)
    }

    fn find() -> Self {
        Self {
            root: succeeds("test \"$(id -u)\" = 0"),
            namespaces: succeeds("unshare --net --mount --pid --fork true"),
            bridges: succeeds(
                "unshare --net sh -c 'ip link add name try0 type bridge && ip link add name try1 type veth && ip link set try1 master try0'",
            ),
            tun: succeeds("unshare --net ip tuntap add name try0 mode tap"),
            filters: succeeds("unshare --net nft add table bridge try"),
            dhcp: succeeds("dnsmasq --version"),
            kvm: OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok(),
            qemu: succeeds("qemu-system-x86_64 --version"),
            libvirt: succeeds("libvirtd --version"),
        }
    }

    /// What is lacking for machines to run; empty when they can.
    #[must_use]
    pub fn lacking_for_machines(&self) -> Vec<&'static str> {
        lacking([
            (self.root, "not root"),
            (self.namespaces, "no namespaces"),
            (self.qemu, "no qemu"),
            (self.libvirt, "no libvirtd"),
        ])
    }

    /// What is lacking for machines to have networks; empty when they can.
    #[must_use]
    pub fn lacking_for_networks(&self) -> Vec<&'static str> {
        let more = lacking([
            (self.bridges, "no bridges"),
            (self.tun, "no /dev/net/tun"),
            (self.filters, "no nftables"),
            (self.dhcp, "no dnsmasq"),
        ]);
        [self.lacking_for_machines(), more].concat()
    }

    /// Whether qemu can boot a guest here, by itself. When not, it says so in one loud line that no test harness swallows.
    #[must_use]
    pub fn guests(&self) -> bool {
        can("guests", &lacking([(self.qemu, "no qemu")]))
    }

    /// Whether machines can run here. When not, it says so in one loud line that no test harness swallows.
    #[must_use]
    pub fn machines(&self) -> bool {
        can("machines", &self.lacking_for_machines())
    }

    /// Whether machines can have networks here. When not, it says so in one loud line that no test harness swallows.
    #[must_use]
    pub fn networks(&self) -> bool {
        can("networks", &self.lacking_for_networks())
    }
}

fn lacking<const N: usize>(tries: [(bool, &'static str); N]) -> Vec<&'static str> {
    let failed = tries.into_iter().filter(|(works, _)| !works);
    failed.map(|(_, lack)| lack).collect()
}

fn can(what: &str, lacking: &[&str]) -> bool {
    if !lacking.is_empty() {
        // Not by the macro: what a passing test prints with it is not shown.
        let lacking = lacking.join(", ");
        let _ = writeln!(
            std::io::stderr(),
            "!!! NO {} ON THIS SERVER ({lacking}): WHAT NEEDS THEM IS SKIPPED",
            what.to_uppercase()
        );
    }
    lacking.is_empty()
}

/// Whether a line of shell succeeds; the folders of the administrator's programs are looked in as well.
fn succeeds(line: &str) -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("PATH=$PATH:/usr/sbin:/sbin; {line}")]);
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Abilities = Abilities {
        root: true,
        namespaces: true,
        bridges: true,
        tun: true,
        filters: true,
        dhcp: true,
        kvm: true,
        qemu: true,
        libvirt: true,
    };

    #[test]
    fn networks_need_machines_and_machines_need_no_networks() {
        assert!(ALL.lacking_for_networks().is_empty());
        let without = Abilities { tun: false, ..ALL };
        assert!(without.lacking_for_machines().is_empty());
        assert_eq!(without.lacking_for_networks(), ["no /dev/net/tun"]);
        let without = Abilities { qemu: false, ..ALL };
        assert_eq!(without.lacking_for_machines(), ["no qemu"]);
        assert_eq!(without.lacking_for_networks(), ["no qemu"]);
        // Slow is not unable.
        assert!(Abilities { kvm: false, ..ALL }.lacking_for_networks().is_empty());
    }

    #[test]
    fn a_try_that_fails_is_no_ability() {
        assert!(succeeds("true") && !succeeds("false") && !succeeds("surely-no-such-program"));
    }
}
