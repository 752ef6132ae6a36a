//! What this node lacks for the roles that touch the kernel: machines and networks. Found out by doing it, in namespaces
//! that end with the try; never by names or versions. Mends nothing, and decides for no other role.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use symphony_agent::config::Config;
use symphony_core::node::Role;
use symphony_core::plan::machine::Hypervisor;
use tokio::process::Command;

/// How long one try may take, on a node that is very busy.
const TRY: Duration = Duration::from_secs(60);

/// Something that a role needs and that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lack {
    what: &'static str,
    mend: Mend,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mend {
    /// Another user.
    Root,
    /// A package of Debian's.
    Package(&'static str),
    /// Another kernel, or more rights in a container.
    Kernel,
}

const ROOT: Lack = Lack {
    what: "not root",
    mend: Mend::Root,
};

/// Something to try, and what it means when it fails.
type Try = (&'static str, Lack);

const fn package(line: &'static str, what: &'static str, package: &'static str) -> Try {
    let mend = Mend::Package(package);
    (line, Lack { what, mend })
}

const fn kernel(line: &'static str, what: &'static str) -> Try {
    let mend = Mend::Kernel;
    (line, Lack { what, mend })
}

/// For a libvirtd of the agent's own and what it runs.
const MACHINES: [Try; 4] = [
    package(
        "qemu-system-x86_64 --version",
        "no qemu-system-x86_64",
        "qemu-system-x86",
    ),
    package("libvirtd --version", "no libvirtd", "libvirt-daemon-system"),
    package(
        "command -v unshare && command -v mount",
        "no unshare",
        "util-linux mount",
    ),
    kernel(
        "! command -v unshare || unshare --mount --pid --fork true",
        "no namespaces",
    ),
];

/// QEMU without its own processor, on a node whose processor does not help either.
const EMULATION: Try = kernel(
    "! command -v qemu-system-x86_64 || qemu-system-x86_64 -accel help | grep -qx tcg",
    "neither KVM nor TCG",
);

const NETWORKS: [Try; 6] = [
    package("ip -Version", "no ip", "iproute2"),
    package("nft --version", "no nft", "nftables"),
    package("dnsmasq --version", "no dnsmasq", "dnsmasq-base"),
    kernel(
        "! command -v ip || ! command -v unshare || unshare --net sh -c 'ip link add name try0 type bridge && ip link add name try1 type veth && ip link set try1 master try0'",
        "no bridges",
    ),
    kernel(
        "! command -v nft || ! command -v unshare || unshare --net nft add table bridge try",
        "no nftables in the kernel",
    ),
    kernel(
        "! command -v ip || ! command -v unshare || unshare --net ip tuntap add name try0 mode tap",
        "no /dev/net/tun",
    ),
];

/// What the node lacks for a role; empty when it can have it.
pub(crate) async fn lacking(config: &Config, role: Role) -> Vec<Lack> {
    let compute = config.agent.compute.clone().unwrap_or_default();
    let mut tries: Vec<Try> = Vec::new();
    match role {
        // A libvirt that somebody else keeps is somebody else's to provide for.
        Role::Compute if compute.uri.is_some() => return Vec::new(),
        Role::Compute => {
            tries.extend(MACHINES);
            match (compute.hypervisor, symphony_compute::kvm()) {
                (Some(Hypervisor::Kvm), false) => tries.push(kernel("false", "no KVM")),
                (Some(Hypervisor::Qemu), _) | (None, false) => tries.push(EMULATION),
                _ => {}
            }
        }
        Role::Network => tries.extend(NETWORKS),
        Role::Block | Role::Image => return Vec::new(),
    }
    if !symphony_compute::is_root() {
        // Whatever needs root fails without, whether the kernel can or not.
        tries.retain(|(_, lack)| matches!(lack.mend, Mend::Package(_)));
    }
    let mut lacking: Vec<Lack> = (!symphony_compute::is_root()).then_some(ROOT).into_iter().collect();
    for (line, lack) in tries {
        if !succeeds(line).await {
            lacking.push(lack);
        }
    }
    lacking
}

/// What can't be done here, and what would mend it, in one line; nothing when nothing is lacking.
pub(crate) fn sentence(lacking: &[(Role, Vec<Lack>)]) -> Option<String> {
    let said: Vec<String> = lacking
        .iter()
        .filter(|(_, lacks)| !lacks.is_empty())
        .map(|(role, lacks)| {
            let what: Vec<&str> = lacks.iter().map(|lack| lack.what).collect();
            let runs = match role {
                Role::Compute => "machines",
                _ => "networks",
            };
            format!("no {runs} on this node ({})", what.join(", "))
        })
        .collect();
    if said.is_empty() {
        return None;
    }
    let all = || lacking.iter().flat_map(|(_, lacks)| lacks);
    let mut packages: Vec<&str> = all()
        .filter_map(|lack| match lack.mend {
            Mend::Package(package) => Some(package),
            Mend::Root | Mend::Kernel => None,
        })
        .collect();
    packages.dedup();
    let mut mends = Vec::new();
    if !packages.is_empty() {
        mends.push(format!("sudo apt-get install -y {}", packages.join(" ")));
    }
    if all().any(|lack| lack.mend == Mend::Root) {
        mends.push("run it as root, with sudo".to_owned());
    }
    if all().any(|lack| lack.mend == Mend::Kernel) {
        mends.push("give it a kernel, or a container's rights, for the rest".to_owned());
    }
    Some(format!("{}; to have them: {}", said.join(", "), mends.join("; ")))
}

/// Whether a line of shell succeeds; the folders of the administrator's programs are looked in as well.
async fn succeeds(line: &str) -> bool {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("PATH=$PATH:/usr/sbin:/sbin; {line}")]);
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.kill_on_drop(true);
    let run = async { io::Result::Ok(shell.spawn()?.wait().await?.success()) };
    matches!(tokio::time::timeout(TRY, run).await, Ok(Ok(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_what_and_how() {
        assert_eq!(sentence(&[]), None);
        assert_eq!(
            sentence(&[(Role::Compute, Vec::new()), (Role::Network, Vec::new())]),
            None
        );
        let lacks = [
            (Role::Compute, vec![ROOT, MACHINES[0].1, MACHINES[1].1]),
            (Role::Network, vec![ROOT, NETWORKS[1].1]),
        ];
        assert_eq!(
            sentence(&lacks).unwrap(),
            "no machines on this node (not root, no qemu-system-x86_64, no libvirtd), no networks on this node (not root, \
             no nft); to have them: sudo apt-get install -y qemu-system-x86 libvirt-daemon-system nftables; run it as root, \
             with sudo"
        );
        let lacks = [(Role::Network, vec![NETWORKS[4].1])];
        assert!(sentence(&lacks).unwrap().contains("kernel") && !sentence(&lacks).unwrap().contains("apt-get"));
    }

    #[tokio::test]
    async fn a_try_that_fails_is_no_ability() {
        assert!(succeeds("true").await && !succeeds("false").await && !succeeds("surely-no-such-program").await);
    }
}
