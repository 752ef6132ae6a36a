//! What the server asks of the manager's loops. A trait, so that the server can be tested without wasm and agents.

mod live;

use std::sync::Arc;

use async_trait::async_trait;
use symphony_api::Problem;
use symphony_control::fence::{Drained, PowerSeen};
use symphony_control::{Explanation, MachinePreview, Preview};
use symphony_core::digest::Digest;
use symphony_core::machine::Machine;
use symphony_core::name::Name;
use symphony_core::place::Request;
use symphony_core::plugin::{Activation, Plugin, Slot};
use symphony_core::volume::Volume;
use symphony_protocol::{Hello, ToAgent, ToManager};

/// Who leads, as one manager sees it.
pub trait Office: Send + Sync + 'static {
    /// Who leads now.
    fn standing(&self) -> Standing;
}

/// Who leads.
#[derive(Clone)]
pub enum Standing {
    /// This manager.
    Leading(Arc<dyn Decisions>),
    /// Another one.
    Following {
        /// Its name.
        manager: String,
        /// Where it is reached: `ADDRESS:PORT`.
        address: String,
    },
    /// Nobody, for now.
    Vacant,
}

/// The office of a manager that always leads.
pub struct Always(pub Arc<dyn Decisions>);

impl Office for Always {
    fn standing(&self) -> Standing {
        Standing::Leading(Arc::clone(&self.0))
    }
}

/// The loops, as the server sees them.
#[async_trait]
pub trait Decisions: Send + Sync + 'static {
    /// Whether requests can be served; if not, why.
    fn readiness(&self) -> Result<(), String>;

    /// Where a volume would go. Nothing is reserved.
    async fn preview(&self, request: Request) -> Result<Preview, Problem>;

    /// Why a volume is where it is, or nowhere.
    async fn explain(&self, volume: &Volume) -> Result<Explanation, Problem>;

    /// Where a machine that is not on record would go, with new volumes that are not either, and what would be done there.
    async fn preview_machine(&self, machine: &Machine, new: &[Volume]) -> Result<MachinePreview, Problem>;

    /// Why a machine is where it is, or nowhere.
    async fn explain_machine(&self, machine: &Machine) -> Result<Explanation, Problem>;

    /// Takes a component in.
    async fn upload_plugin(&self, bytes: Vec<u8>) -> Result<Plugin, Problem>;

    /// Lets a plugin serve; returns when it does.
    async fn activate(&self, slot: Slot, digest: Digest, config: &str) -> Result<Activation, Problem>;

    /// Lets what served before serve again; returns when it does.
    async fn rollback(&self, slot: Slot) -> Result<Activation, Problem>;

    /// Takes somebody's word that a node is off.
    async fn fence(&self, node: &Name) -> Result<(), Problem>;

    /// Asks for a node's power to be cut, for this reason.
    async fn cut_power(&self, node: &Name, why: &str) -> Result<(), Problem>;

    /// Asks the devices of a node.
    async fn power(&self, node: &Name) -> Result<PowerSeen, Problem>;

    /// Cordons a node and lets go what can go; what runs is asked to stop when `stop` says so.
    async fn drain(&self, node: &Name, stop: bool) -> Result<Drained, Problem>;

    /// The node that takes new images, and its data port.
    fn image_service(&self) -> Option<(Name, String)>;

    /// The data port of a node whose agent has a session.
    fn data_url(&self, node: &Name) -> Option<String>;

    /// Gives an agent its session. The error is the text for the agent.
    async fn connect(&self, hello: Hello) -> Result<Box<dyn AgentSession>, String>;

    /// The loops' metrics, in the text format of `OpenMetrics`.
    fn encode_metrics(&self, text: &mut String);
}

/// One agent's session. Dropping it ends it.
#[async_trait]
pub trait AgentSession: Send {
    /// The next frame for the agent; none: the session is over. Dropping the future loses nothing.
    async fn next(&mut self) -> Option<ToAgent>;

    /// Takes a frame of the agent. Never waits.
    fn receive(&self, frame: ToManager);
}
