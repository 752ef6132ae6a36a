//! Where each record lies in the store. Every key of a tenant's resource has its project in it.
//!
//! ```text
//! v1/volume/PROJECT/NAME        v1/volume-id/ID        v1/decision/VOLUME-ID     v1/image-use/DIGEST/VOLUME-ID
//! v1/image/PROJECT/NAME         v1/image-id/ID         v1/blob-use/DIGEST/IMAGE-ID
//! v1/node/NAME                  v1/ledger/NODE         v1/event/ID
//! v1/plugin/DIGEST              v1/activation/SLOT     v1/idempotency/PROJECT/KEY-HASH
//! v1/cluster                    v1/leader              v1/manager/NAME
//! ```

use crate::digest::Digest;
use crate::id::{EventId, ImageId, VolumeId};
use crate::name::Name;
use crate::plugin::Slot;

/// All volumes.
pub const VOLUMES: &str = "v1/volume/";
/// All images.
pub const IMAGES: &str = "v1/image/";
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
/// The cluster's own record.
pub const CLUSTER: &str = "v1/cluster";
/// The leader's record; its epoch fences every write of the loops.
pub const LEADER: &str = "v1/leader";

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

/// A node's.
#[must_use]
pub fn node(name: &Name) -> String {
    format!("{NODES}{name}")
}

/// A manager's, among the services.
#[must_use]
pub fn manager(name: &Name) -> String {
    format!("v1/manager/{name}")
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
