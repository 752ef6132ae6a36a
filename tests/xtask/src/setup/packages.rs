//! The Debian packages that are needed, each with the proof that it is there: a program or a file, never the package
//! system's word, for what is needed may have come by another way.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::process;

/// A package, and why.
#[derive(Clone, Copy)]
pub(super) struct Package {
    pub(super) name: &'static str,
    pub(super) suite: Suite,
    pub(super) proof: Proof,
    pub(super) need: Need,
    pub(super) what_for: &'static str,
}

/// What a package is needed for, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// To build symphony, and to run it without machines.
    Building,
    /// For machines, their networks, and the tests of both.
    Machines,
    /// For clusters of several managers on this server (`symphony dev --managers`), and the tests of them.
    Clusters,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Building => "BUILDING",
            Self::Machines => "MACHINES",
            Self::Clusters => "CLUSTERS",
        })
    }
}

/// Where a package comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Suite {
    /// The release itself.
    Plain,
    /// The release's backports: the release has it, but too old.
    Backports,
}

/// What is there when the package is.
#[derive(Clone, Copy)]
pub(super) enum Proof {
    /// A program on the path.
    Program(&'static str),
    /// A file below one of the folders for libraries.
    Library(&'static str),
    /// A file below the folder for what is included in sources.
    Included(&'static str),
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Program(name) | Self::Library(name) | Self::Included(name)) = self;
        f.write_str(name)
    }
}

impl Package {
    /// Whether it has to be installed.
    pub(super) fn is_missing(&self) -> bool {
        match self.proof {
            Proof::Program(name) => !process::is_installed(name),
            Proof::Library(path) => !libraries().iter().any(|dir| dir.join(path).exists()),
            Proof::Included(path) => !Path::new("/usr/include").join(path).exists(),
        }
    }
}

/// The folders for libraries: the plain one, and the one of this architecture.
fn libraries() -> [PathBuf; 2] {
    let plain = PathBuf::from("/usr/lib");
    let own = plain.join(format!("{}-linux-gnu", std::env::consts::ARCH));
    [plain, own]
}

const fn plain(name: &'static str, program: &'static str, what_for: &'static str) -> Package {
    Package {
        name,
        suite: Suite::Plain,
        proof: Proof::Program(program),
        need: Need::Machines,
        what_for,
    }
}

const fn newer(name: &'static str, proof: Proof, what_for: &'static str) -> Package {
    Package {
        name,
        suite: Suite::Backports,
        proof,
        need: Need::Machines,
        what_for,
    }
}

const fn building(package: Package) -> Package {
    Package {
        need: Need::Building,
        ..package
    }
}

const fn clusters(package: Package) -> Package {
    Package {
        need: Need::Clusters,
        ..package
    }
}

/// All of them.
pub(super) const NEEDED: [Package; 27] = [
    building(newer(
        "qemu-utils",
        Proof::Program("qemu-img"),
        "images are checked and written with it",
    )),
    newer(
        "qemu-system-x86",
        Proof::Program("qemu-system-x86_64"),
        "machines run in it",
    ),
    newer(
        "libvirt-daemon",
        Proof::Program("libvirtd"),
        "nodes run their machines with it",
    ),
    newer(
        "libvirt-daemon-driver-qemu",
        Proof::Library("libvirt/connection-driver/libvirt_driver_qemu.so"),
        "libvirt runs qemu with it",
    ),
    newer(
        "libvirt-clients",
        Proof::Program("virsh"),
        "tests look at machines from outside with it",
    ),
    building(newer(
        "libvirt-dev",
        Proof::Library("pkgconfig/libvirt.pc"),
        "the compute agent is linked with it",
    )),
    building(plain(
        "pkg-config",
        "pkg-config",
        "the compute agent's build finds libvirt with it",
    )),
    plain("nftables", "nft", "networks are filtered with it"),
    plain("dnsmasq-base", "dnsmasq", "networks give addresses and names with it"),
    plain("iproute2", "ip", "networks are made with it"),
    plain("util-linux", "unshare", "nodes on one kernel are kept apart with it"),
    plain(
        "iputils-ping",
        "ping",
        "the demonstration asks a machine whether it is there with it",
    ),
    building(plain("binutils", "as", "the tiny disk is assembled with it")),
    plain(
        "xfsprogs",
        "mkfs.xfs",
        "tests clone volumes on a file system with reflinks",
    ),
    plain(
        "dosfstools",
        "mkfs.fat",
        "the Linux disk's boot partition is made with it",
    ),
    plain("mtools", "mcopy", "the Linux disk's boot partition is filled with it"),
    plain("syslinux", "syslinux", "the Linux disk boots with it"),
    Package {
        name: "syslinux-common",
        suite: Suite::Plain,
        proof: Proof::Library("syslinux/mbr/mbr.bin"),
        need: Need::Machines,
        what_for: "the Linux disk's first sector comes from it",
    },
    plain("e2fsprogs", "mke2fs", "the Linux disk's root partition is made with it"),
    plain("kmod", "depmod", "the Linux disk's kernel modules are sorted with it"),
    building(plain(
        "protobuf-compiler",
        "protoc",
        "the client of etcd is made from its interface with it",
    )),
    building(Package {
        proof: Proof::Included("google/protobuf/descriptor.proto"),
        ..plain("libprotobuf-dev", "", "the interface of etcd includes its files")
    }),
    clusters(plain("etcd-server", "etcd", "clusters keep their state in it")),
    clusters(plain(
        "etcd-client",
        "etcdctl",
        "tests look at etcd from outside with it",
    )),
    clusters(plain(
        "fence-agents",
        "fence_ipmilan",
        "agents cut the power of other nodes with its programs",
    )),
    clusters(plain(
        "ipmitool",
        "ipmitool",
        "fence_ipmilan asks management boards with it",
    )),
    clusters(plain(
        "openipmi",
        "ipmi_sim",
        "tests ask a management board that is simulated by it",
    )),
];
