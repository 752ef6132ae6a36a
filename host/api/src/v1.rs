//! The shapes of version 1. A released shape only ever gains optional fields.

mod audit;
mod authority;
mod event;
mod image;
mod machine;
mod network;
mod node;
mod object;
mod placement;
mod plugin;
mod project;
mod size;
mod store;
mod token;
mod volume;
mod watch;

pub use audit::AuditLine;
pub use authority::Authority;
pub use event::{Event, Severity, Subject};
pub use image::{Image, ImageFormat, ImagePhase, ImageSpec, ImageStatus};
pub use machine::{
    AttachVolume, CpuMode, CreateMachine, CreateMachineSpec, Exit, Machine, MachinePhase, MachinePlacement,
    MachineSpec, MachineStatus, MachineVolume, PatchMachine, PatchMachineSpec, Port, Power, RestartPolicy, VolumesThen,
    WantedPort, WantedVolume, Wishes,
};
pub use network::{CreateNetwork, CreateNetworkSpec, Network, NetworkSpec, NetworkStatus};
pub use node::{
    DrainNode, DrainedMachine, FenceNode, Membership, Node, NodeCompute, NodeDrained, NodeFencing, NodePool, NodePower,
    NodePowerSeen, NodeService, NodeSpec, NodeStatus, PatchNode, PatchNodeSpec, PowerDevice, PowerDeviceSeen, Service,
    ServiceStatus,
};
pub use object::{Condition, Kind, Labels, List, Metadata, Truth};
pub use placement::{
    AsOf, Decider, Explanation, MachineExplanation, MachinePreview, Outcome, Part, Placement, PlannedStep, Preview,
    ScorePart, Verdict,
};
pub use plugin::{Activate, Plugin, Slot};
pub use project::{Amounts, CreateProject, ExceededQuota, PatchProject, Project};
pub use size::Size;
pub use store::{StoreHealth, StoreMember};
pub use token::{CreateToken, CreatedToken, Token, TokenState};
pub use volume::{
    CreateVolume, CreateVolumeSpec, PatchVolume, PatchVolumeSpec, Volume, VolumeImage, VolumePhase, VolumeSpec,
    VolumeStatus,
};
pub use watch::{Action, Object, WatchEvent};
