//! What a watch tells.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Event, Image, Kind, Machine, Network, Node, Plugin, Slot, Volume};

/// An object of any kind: `{"kind": …, "object": …}`, the data of a watch's events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", content = "object", rename_all = "snake_case")]
#[schema(as = WatchedObject)]
pub enum Object {
    /// A volume.
    Volume(Box<Volume>),
    /// An image.
    Image(Image),
    /// A node.
    Node(Box<Node>),
    /// A plugin.
    Plugin(Plugin),
    /// A machine.
    Machine(Box<Machine>),
    /// A network.
    Network(Network),
    /// A slot.
    Slot(Slot),
    /// An event.
    Event(Event),
}

impl Object {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Volume(_) => Kind::Volume,
            Self::Image(_) => Kind::Image,
            Self::Node(_) => Kind::Node,
            Self::Plugin(_) => Kind::Plugin,
            Self::Machine(_) => Kind::Machine,
            Self::Network(_) => Kind::Network,
            Self::Slot(_) => Kind::Slot,
            Self::Event(_) => Kind::Event,
        }
    }

    /// The store's counter at its last change.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        match self {
            Self::Volume(volume) => volume.meta.revision,
            Self::Image(image) => image.meta.revision,
            Self::Node(node) => node.meta.revision,
            Self::Plugin(plugin) => plugin.revision,
            Self::Machine(machine) => machine.meta.revision,
            Self::Network(network) => network.meta.revision,
            Self::Slot(slot) => slot.revision,
            Self::Event(event) => event.revision,
        }
    }
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It was made or changed.
    Put,
    /// It is gone; the object is what it last was.
    Delete,
    /// Nothing: everything up to `revision` was told.
    Bookmark,
}

impl Action {
    /// Its text on the wire: the SSE event's type.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Bookmark => "bookmark",
        }
    }
}

/// One event of a watch.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchEvent {
    /// What happened.
    pub action: Action,
    /// A watch that goes on from here misses nothing and repeats nothing that came before; absent while more of the
    /// same change, or of the state at the start, is to come.
    pub revision: Option<u64>,
    /// What it happened to; absent in a bookmark.
    pub object: Option<Object>,
}
