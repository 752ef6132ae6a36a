//! The executor of machines on a node: does the steps of `wit/machine-driver.wit` with libvirt, and says what is there.
//! Never decides what should be there; never makes volumes or networks, and reaches no one but libvirt, the nodes whose volumes its machines use, and
//! the machines' own sockets, which it offers to viewers on the data port.

mod console;
mod domain;
mod down;
mod executor;
mod hypervisor;
mod libvirtd;
mod machine;
mod remote;
mod seed;
mod service;
mod short;
mod viewers;

pub use console::{Console, INPUT_BYTES_MAX, InputError, VIEWERS_MAX, View};
pub use down::down;
pub use executor::{Disks, Error, Machines, Options};
pub use hypervisor::Error as HypervisorError;
pub use libvirtd::{Error as LibvirtdError, Libvirtd};
pub use seed::Error as SeedError;
pub use service::{ComputeExecutor, ServiceError, has_machines, is_root, kvm};
pub use viewers::{HISTORY_BYTES_MAX, routes};
