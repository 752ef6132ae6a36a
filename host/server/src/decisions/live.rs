//! The loops themselves.

use std::sync::Arc;

use async_trait::async_trait;
use symphony_api::{Code, Problem};
use symphony_control::agents::Session;
use symphony_control::fence::{Drained, FenceError, PowerSeen};
use symphony_control::plugins::{ActivateError, UploadError};
use symphony_control::{Control, ControlError, Explanation, MachinePreview, Preview};
use symphony_core::digest::Digest;
use symphony_core::machine::Machine;
use symphony_core::name::Name;
use symphony_core::place::Request;
use symphony_core::plugin::{Activation, Plugin, Slot};
use symphony_core::volume::Volume;
use symphony_protocol::{Hello, ToAgent, ToManager};

use super::{AgentSession, Decisions, Office, Standing};
use crate::failure::{chain, store_problem};

impl Office for symphony_control::Office {
    fn standing(&self) -> Standing {
        match self.standing() {
            symphony_control::Standing::Leading(control) => Standing::Leading(Arc::new(control)),
            symphony_control::Standing::Following(leader) => Standing::Following {
                manager: leader.manager,
                address: leader.address,
            },
            symphony_control::Standing::Vacant => Standing::Vacant,
        }
    }
}

#[async_trait]
impl Decisions for Control {
    fn readiness(&self) -> Result<(), String> {
        self.readiness()
    }

    async fn preview(&self, request: Request) -> Result<Preview, Problem> {
        self.preview(request).await.map_err(|error| control_problem(&error))
    }

    async fn explain(&self, volume: &Volume) -> Result<Explanation, Problem> {
        self.explain(volume).await.map_err(|error| control_problem(&error))
    }

    async fn preview_machine(&self, machine: &Machine, new: &[Volume]) -> Result<MachinePreview, Problem> {
        self.preview_machine(machine, new)
            .await
            .map_err(|error| control_problem(&error))
    }

    async fn explain_machine(&self, machine: &Machine) -> Result<Explanation, Problem> {
        self.explain_machine(machine)
            .await
            .map_err(|error| control_problem(&error))
    }

    async fn upload_plugin(&self, bytes: Vec<u8>) -> Result<Plugin, Problem> {
        self.plugins()
            .upload(bytes)
            .await
            .map_err(|error| upload_problem(&error))
    }

    async fn activate(&self, slot: Slot, digest: Digest, config: &str) -> Result<Activation, Problem> {
        self.plugins()
            .activate(slot, digest, config)
            .await
            .map_err(|error| activate_problem(&error))
    }

    async fn rollback(&self, slot: Slot) -> Result<Activation, Problem> {
        self.plugins()
            .rollback(slot)
            .await
            .map_err(|error| activate_problem(&error))
    }

    async fn fence(&self, node: &Name) -> Result<(), Problem> {
        let fenced = self.fence(node).await;
        fenced.map(|_| ()).map_err(|error| fence_problem(&error))
    }

    async fn cut_power(&self, node: &Name, why: &str) -> Result<(), Problem> {
        let asked = self.cut_power(node, why).await;
        asked.map(|_| ()).map_err(|error| fence_problem(&error))
    }

    async fn power(&self, node: &Name) -> Result<PowerSeen, Problem> {
        self.power(node).await.map_err(|error| fence_problem(&error))
    }

    async fn drain(&self, node: &Name, stop: bool) -> Result<Drained, Problem> {
        self.drain(node, stop).await.map_err(|error| fence_problem(&error))
    }

    fn image_service(&self) -> Option<(Name, String)> {
        self.agents().image_service()
    }

    fn data_url(&self, node: &Name) -> Option<String> {
        self.agents().data_url(node)
    }

    async fn connect(&self, hello: Hello) -> Result<Box<dyn AgentSession>, String> {
        let session = self
            .agents()
            .connect(hello)
            .await
            .map_err(|refused| refused.to_string())?;
        Ok(Box::new(session))
    }

    fn encode_metrics(&self, text: &mut String) {
        self.encode_metrics(text);
    }
}

#[async_trait]
impl AgentSession for Session {
    async fn next(&mut self) -> Option<ToAgent> {
        self.to_agent.recv().await
    }

    fn receive(&self, frame: ToManager) {
        self.inbox().receive(frame);
    }
}

fn control_problem(error: &ControlError) -> Problem {
    match error {
        ControlError::Store(error) => store_problem(error),
        ControlError::Record(_) | ControlError::NoDecision => internal(error),
    }
}

fn fence_problem(error: &FenceError) -> Problem {
    match error {
        FenceError::Missing(_) => Problem::new(Code::NotFound, chain(error)),
        FenceError::Connected(_) | FenceError::NobodyAsks(..) | FenceError::NotAsked(..) => {
            Problem::new(Code::Conflict, chain(error))
        }
        FenceError::NoDevices(_) => Problem::new(Code::Unprocessable, chain(error)),
        FenceError::Write(error) => write_problem(error),
    }
}

fn upload_problem(error: &UploadError) -> Problem {
    match error {
        UploadError::Rejected(_) | UploadError::Compile(_) | UploadError::Smoke(_) => {
            Problem::new(Code::PluginRejected, chain(error))
        }
        UploadError::Disk(_) => internal(error),
        UploadError::Store(error) => store_problem(error),
        UploadError::Write(error) => write_problem(error),
    }
}

fn activate_problem(error: &ActivateError) -> Problem {
    match error {
        ActivateError::Unknown(_) => Problem::new(Code::NotFound, chain(error)),
        ActivateError::WrongSlot { .. } => Problem::new(Code::Unprocessable, chain(error)),
        ActivateError::Load(_) => Problem::new(Code::PluginRejected, chain(error)),
        ActivateError::NothingBefore(_) | ActivateError::Empty(_) => Problem::new(Code::Conflict, chain(error)),
        ActivateError::Write(error) => write_problem(error),
    }
}

fn write_problem(error: &(dyn std::error::Error + 'static)) -> Problem {
    match error
        .source()
        .and_then(|source| source.downcast_ref::<symphony_store::Error>())
    {
        Some(error) => store_problem(error),
        // A write of the loops that found something else than it was decided on.
        None => Problem::new(Code::Conflict, chain(error)),
    }
}

fn internal(error: &dyn std::error::Error) -> Problem {
    tracing::error!(error = %chain(error), "the loops could not answer");
    Problem::new(Code::Internal, error.to_string())
}
