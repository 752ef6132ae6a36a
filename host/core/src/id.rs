//! Ids: one type per kind, so that one can't be passed for another. Minted outside (UUIDv7), because they need a clock.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps an id that was minted elsewhere.
            #[must_use]
            pub const fn new(id: Uuid) -> Self {
                Self(id)
            }

            /// The bare UUID.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }
    )+};
}

ids! {
    /// A volume; its object on the node has this name.
    VolumeId,
    /// An image record (its bytes are named by digest).
    ImageId,
    /// A node.
    NodeId,
    /// A service: one role of a node.
    ServiceId,
    /// An uploaded version of a plugin.
    PluginId,
    /// An event.
    EventId,
    /// An upload of image bytes that is not an image yet.
    UploadId,
    /// A virtual machine; its domain on the node has this name.
    MachineId,
    /// A virtual network.
    NetworkId,
    /// A machine's connection to one network.
    PortId,
    /// One call of the manager to an agent.
    CallId,
}
