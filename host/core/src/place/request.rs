//! What is to be placed.

use crate::id::VolumeId;
use crate::labels::Labels;
use crate::name::Name;
use crate::volume::Volume;

/// A volume that wants a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The volume.
    pub volume: VolumeId,
    /// Room that it needs, in bytes.
    pub disk_bytes: u64,
    /// The pool it must be in; any when not given.
    pub pool: Option<Name>,
    /// Labels that its node must have.
    pub require: Labels,
}

impl Request {
    /// The request of a volume.
    #[must_use]
    pub fn of(volume: &Volume) -> Self {
        Self {
            volume: volume.meta.id,
            disk_bytes: volume.spec.size.bytes(),
            pool: volume.spec.pool.clone(),
            require: volume.spec.require.clone(),
        }
    }
}
