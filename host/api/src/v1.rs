//! The shapes of version 1. A released shape only ever gains optional fields.

mod event;
mod image;
mod node;
mod object;
mod placement;
mod plugin;
mod size;
mod volume;
mod watch;

pub use event::{Event, Severity, Subject};
pub use image::{Image, ImageFormat, ImagePhase, ImageSpec, ImageStatus};
pub use node::{Node, NodePool, NodeService, NodeSpec, NodeStatus, PatchNode, PatchNodeSpec, Service, ServiceStatus};
pub use object::{Condition, Kind, Labels, List, Metadata, Truth};
pub use placement::{AsOf, Decider, Explanation, Outcome, Placement, Preview, ScorePart, Verdict};
pub use plugin::{Activate, Plugin, Slot};
pub use size::Size;
pub use volume::{
    CreateVolume, CreateVolumeSpec, PatchVolume, PatchVolumeSpec, Volume, VolumeImage, VolumePhase, VolumeSpec,
    VolumeStatus,
};
pub use watch::{Action, Object, WatchEvent};
