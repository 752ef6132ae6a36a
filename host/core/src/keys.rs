//! Where each record lies in the store. Every key of a tenant's resource has its project in it.
//!
//! ```text
//! v1/volume/PROJECT/NAME        v1/volume-id/ID        v1/decision/VOLUME-ID     v1/image-use/DIGEST/VOLUME-ID
//! v1/image/PROJECT/NAME         v1/image-id/ID         v1/blob-use/DIGEST/IMAGE-ID
//! v1/machine/PROJECT/NAME       v1/machine-id/ID       v1/machine-decision/MACHINE-ID
//! v1/network/PROJECT/NAME       v1/network-id/ID       v1/network-segment/NETWORK-ID/NODE
//! v1/address/NETWORK-ID/ADDRESS v1/mac/MAC             v1/subnets/PROJECT
//! v1/vni/N
//! v1/node/NAME                  v1/ledger/NODE         v1/event/ID
//! v1/plugin/DIGEST              v1/activation/SLOT     v1/idempotency/PROJECT/KEY-HASH
//! v1/export/VOLUME-ID
//! v1/cluster                    v1/leader              v1/epoch
//! v1/authority                  v1/manager/NAME        v1/manager-alive/NAME     v1/enrolment/manager|node/NAME
//! v1/revoked/SERIAL             v1/restore
//! v1/token/ID                   v1/project/NAME        v1/quota/PROJECT
//! parts/plugin/DIGEST/NUMBER    the bytes of components; no records, and outside of what managers hold in memory
//! ```

use crate::digest::Digest;
use crate::id::{EventId, ImageId, MachineId, NetworkId, VolumeId};
use crate::name::Name;
use crate::network::{Address, Mac};
use crate::plugin::Slot;
use crate::token::TokenId;

/// All volumes.
pub const VOLUMES: &str = "v1/volume/";
/// All images.
pub const IMAGES: &str = "v1/image/";
/// All machines.
pub const MACHINES: &str = "v1/machine/";
/// All networks.
pub const NETWORKS: &str = "v1/network/";
/// All marks of networks that may have parts on a node.
pub const SEGMENTS: &str = "v1/network-segment/";
/// All records of volumes that are, or were, served to other nodes.
pub const EXPORTS: &str = "v1/export/";
/// All nodes.
pub const NODES: &str = "v1/node/";
/// All ledgers.
pub const LEDGERS: &str = "v1/ledger/";
/// All events.
pub const EVENTS: &str = "v1/event/";
/// All plugins.
pub const PLUGINS: &str = "v1/plugin/";
/// All activations.
pub const ACTIVATIONS: &str = "v1/activation/";
/// All kept answers to requests with an `Idempotency-Key`.
pub const IDEMPOTENCY: &str = "v1/idempotency/";
/// All tokens.
pub const TOKENS: &str = "v1/token/";
/// All projects that are on record.
pub const PROJECTS: &str = "v1/project/";
/// What every key of symphony starts with, in order.
pub const ROOTS: [&str; 2] = ["parts/", "v1/"];
/// There while a backup is being written into the store: no manager runs on it until it is gone.
pub const RESTORE: &str = "v1/restore";
/// All enrolments of managers.
pub const MANAGER_ENROLMENTS: &str = "v1/enrolment/manager/";
/// The cluster's own record.
pub const CLUSTER: &str = "v1/cluster";
/// The leader's record; its epoch fences every write of the loops.
pub const LEADER: &str = "v1/leader";

/// Counts the leaders there were.
pub const EPOCH: &str = "v1/epoch";
/// What certificates are issued with.
pub const AUTHORITY: &str = "v1/authority";
/// All managers.
pub const MANAGERS: &str = "v1/manager/";
/// All managers that are heard of.
pub const MANAGERS_ALIVE: &str = "v1/manager-alive/";
/// All certificates that are worth nothing though they are in time.
pub const REVOKED: &str = "v1/revoked/";
/// All members that were let in.
pub const ENROLMENTS: &str = "v1/enrolment/";

/// A volume's.
#[must_use]
pub fn volume(project: &Name, name: &Name) -> String {
    format!("{VOLUMES}{project}/{name}")
}

/// All volumes of a project.
#[must_use]
pub fn volumes_of(project: &Name) -> String {
    format!("{VOLUMES}{project}/")
}

/// From a volume's id to its key.
#[must_use]
pub fn volume_id(id: VolumeId) -> String {
    format!("v1/volume-id/{id}")
}

/// Why a volume was placed where it is.
#[must_use]
pub fn decision(id: VolumeId) -> String {
    format!("v1/decision/{id}")
}

/// Marks that a volume was made from these bytes.
#[must_use]
pub fn image_use(digest: &Digest, volume: VolumeId) -> String {
    format!("{}{volume}", image_uses(digest))
}

/// All marks of volumes that were made from these bytes.
#[must_use]
pub fn image_uses(digest: &Digest) -> String {
    format!("v1/image-use/{}/", digest.hex())
}

/// An image's.
#[must_use]
pub fn image(project: &Name, name: &Name) -> String {
    format!("{IMAGES}{project}/{name}")
}

/// All images of a project.
#[must_use]
pub fn images_of(project: &Name) -> String {
    format!("{IMAGES}{project}/")
}

/// From an image's id to its key.
#[must_use]
pub fn image_id(id: ImageId) -> String {
    format!("v1/image-id/{id}")
}

/// Marks that an image names these bytes.
#[must_use]
pub fn blob_use(digest: &Digest, image: ImageId) -> String {
    format!("{}{image}", blob_uses(digest))
}

/// All marks of images that name these bytes.
#[must_use]
pub fn blob_uses(digest: &Digest) -> String {
    format!("v1/blob-use/{}/", digest.hex())
}

/// A machine's.
#[must_use]
pub fn machine(project: &Name, name: &Name) -> String {
    format!("{MACHINES}{project}/{name}")
}

/// All machines of a project.
#[must_use]
pub fn machines_of(project: &Name) -> String {
    format!("{MACHINES}{project}/")
}

/// From a machine's id to its key.
#[must_use]
pub fn machine_id(id: MachineId) -> String {
    format!("v1/machine-id/{id}")
}

/// Why a machine was placed where it is.
#[must_use]
pub fn machine_decision(id: MachineId) -> String {
    format!("v1/machine-decision/{id}")
}

/// A network's.
#[must_use]
pub fn network(project: &Name, name: &Name) -> String {
    format!("{NETWORKS}{project}/{name}")
}

/// All networks of a project.
#[must_use]
pub fn networks_of(project: &Name) -> String {
    format!("{NETWORKS}{project}/")
}

/// Which network has a number between nodes: its id.
#[must_use]
pub fn vni(vni: crate::network::Vni) -> String {
    format!("v1/vni/{}", vni.get())
}

/// From a network's id to its key.
#[must_use]
pub fn network_id(id: NetworkId) -> String {
    format!("v1/network-id/{id}")
}

/// Written with every network that a project gets: two that overlap can't be made at the same time.
#[must_use]
pub fn subnets(project: &Name) -> String {
    format!("v1/subnets/{project}")
}

/// Marks that a node may have parts of a network: written before the first of them is made, taken away after the last.
#[must_use]
pub fn segment(network: NetworkId, node: &Name) -> String {
    format!("{}{node}", segments_of(network))
}

/// All marks of nodes that may have parts of a network.
#[must_use]
pub fn segments_of(network: NetworkId) -> String {
    format!("{SEGMENTS}{network}/")
}

/// Who has an address of a network: the port's id.
#[must_use]
pub fn address(network: NetworkId, address: Address) -> String {
    format!("{}{address}", addresses_of(network))
}

/// All addresses of a network that somebody has.
#[must_use]
pub fn addresses_of(network: NetworkId) -> String {
    format!("v1/address/{network}/")
}

/// Who has a MAC: the port's id.
#[must_use]
pub fn mac(mac: Mac) -> String {
    format!("v1/mac/{mac}")
}

/// Of a volume's exports.
#[must_use]
pub fn export(volume: VolumeId) -> String {
    format!("{EXPORTS}{volume}")
}

/// A node's.
#[must_use]
pub fn node(name: &Name) -> String {
    format!("{NODES}{name}")
}

/// A manager's, among the services.
#[must_use]
pub fn manager(name: &Name) -> String {
    format!("{MANAGERS}{name}")
}

/// There while a manager is heard of.
#[must_use]
pub fn manager_alive(name: &Name) -> String {
    format!("{MANAGERS_ALIVE}{name}")
}

/// What lets a manager in.
#[must_use]
pub fn manager_enrolment(name: &Name) -> String {
    format!("{ENROLMENTS}manager/{name}")
}

/// What lets a node in.
#[must_use]
pub fn node_enrolment(name: &Name) -> String {
    format!("{ENROLMENTS}node/{name}")
}

/// That a certificate is worth nothing; by its serial number.
#[must_use]
pub fn revoked(serial: &str) -> String {
    format!("{REVOKED}{serial}")
}

/// A piece of a component's bytes.
#[must_use]
pub fn plugin_part(digest: &Digest, number: usize) -> String {
    format!("{}{number:04}", plugin_parts(digest))
}

/// All pieces of a component's bytes, in order.
#[must_use]
pub fn plugin_parts(digest: &Digest) -> String {
    format!("parts/plugin/{}/", digest.hex())
}

/// What is claimed on a node.
#[must_use]
pub fn ledger(node: &Name) -> String {
    format!("{LEDGERS}{node}")
}

/// An event's.
#[must_use]
pub fn event(id: EventId) -> String {
    format!("{EVENTS}{id}")
}

/// A plugin's.
#[must_use]
pub fn plugin(digest: &Digest) -> String {
    format!("{PLUGINS}{}", digest.hex())
}

/// Which component serves in a slot.
#[must_use]
pub fn activation(slot: Slot) -> String {
    format!("{ACTIVATIONS}{slot}")
}

/// The kept answer to a request. The client's key is hashed by the caller: clients choose it freely.
#[must_use]
pub fn idempotency(project: &Name, key: &Digest) -> String {
    format!("{IDEMPOTENCY}{project}/{}", key.hex())
}

/// A token's.
#[must_use]
pub fn token(id: TokenId) -> String {
    format!("{TOKENS}{id}")
}

/// A project's.
#[must_use]
pub fn project(name: &Name) -> String {
    format!("{PROJECTS}{name}")
}

/// Written with everything that a project with quotas gets: two that together are too much can't be made at the same time.
#[must_use]
pub fn quota(project: &Name) -> String {
    format!("v1/quota/{project}")
}
