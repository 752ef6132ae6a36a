//! A machine's volumes: attached, and detached. What is detached stays in the machine's hands until its node has let go
//! of it: the loops give it free.

use axum::extract::{Path, State};
use axum::response::Response;
use symphony_api::v1::{AttachVolume, Machine};
use symphony_api::{Code, Problem};
use symphony_core::machine::{Attachment, Machine as Record};
use symphony_core::plan::machine::{DISKS_MAX, Power};
use symphony_core::volume::Volume;
use symphony_store::{Store, Txn};

use super::change::{Change, change, raise, told};
use super::disks;
use crate::app::App;
use crate::event::Records as _;
use crate::failure::{Answer, Failure};
use crate::input::{IfMatch, Input};
use crate::reading::{Stored, project};

/// Where the volume is named in the body.
const VOLUME: &str = "/volume";

/// Gives a machine a volume that exists and that no other has, also while it runs.
#[utoipa::path(post, path = "/v1/projects/{project}/machines/{machine}/volumes", tag = "machines",
    params(
        ("project" = String, Path), ("machine" = String, Path, description = "Name or id"),
        ("If-Match" = Option<String>, Header, description = "The revision that it must still have"),
    ),
    request_body = AttachVolume,
    responses(
        (status = 200, description = "The machine, with the volume", body = Machine),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::routes) async fn attach(
    State(app): State<App>,
    Path((project_text, name)): Path<(String, String)>,
    precondition: IfMatch,
    Input(body): Input<AttachVolume>,
) -> Answer<Response> {
    let attach = Attach { body: &body };
    let stored = change(&app, &project(&project_text)?, &name, precondition, &attach).await?;
    Ok(super::changed(&stored))
}

/// Takes a volume from a machine. Others can have it when the machine's node has let go of it.
#[utoipa::path(delete, path = "/v1/projects/{project}/machines/{machine}/volumes/{volume}", tag = "machines",
    params(
        ("project" = String, Path), ("machine" = String, Path, description = "Name or id"),
        ("volume" = String, Path, description = "Name or id"),
        ("If-Match" = Option<String>, Header, description = "The revision that the machine must still have"),
    ),
    responses(
        (status = 200, description = "The machine, without the volume", body = Machine),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::routes) async fn detach(
    State(app): State<App>,
    Path((project_text, name, volume)): Path<(String, String, String)>,
    precondition: IfMatch,
) -> Answer<Response> {
    let detach = Detach { volume: &volume };
    let stored = change(&app, &project(&project_text)?, &name, precondition, &detach).await?;
    Ok(super::changed(&stored))
}

struct Attach<'a> {
    body: &'a AttachVolume,
}

impl Change for Attach<'_> {
    const GROWS: bool = true;

    async fn apply(&self, store: &dyn Store, machine: &mut Record, _: u32) -> Answer<Option<Txn>> {
        let name = &self.body.volume;
        let is_it = |attachment: &&Attachment| is_called(attachment, name);
        if machine.spec.volumes.iter().any(|attachment| is_it(&attachment)) {
            return Ok(None);
        }
        if machine
            .status
            .leaving
            .volumes
            .iter()
            .any(|attachment| is_it(&attachment))
        {
            let detail = format!("the machine is still letting go of {name:?}: try again in a moment");
            return Err(Failure::field(Code::VolumeInUse, VOLUME, detail));
        }
        let count = machine.spec.volumes.len() + machine.status.leaving.volumes.len();
        if count >= DISKS_MAX {
            let detail = format!("a machine has at most {DISKS_MAX} volumes");
            return Err(Failure::field(Code::Unprocessable, VOLUME, detail));
        }
        let volume = disks::unused(store, &machine.meta.project, name, VOLUME).await?;
        refuse_if_elsewhere(store, machine, &volume).await?;
        machine.spec.volumes.push(Attachment {
            id: volume.value.meta.id,
            name: volume.value.meta.name.clone(),
            delete_with_machine: self.body.delete_with_machine,
        });
        raise(machine);
        let message = format!("the volume {} was given to it", volume.value.meta.name);
        let txn = disks::take(Txn::new(), &volume, machine)?;
        Ok(Some(txn.tell(&told("attach-requested", machine, message))?))
    }
}

async fn refuse_if_elsewhere(store: &dyn Store, machine: &Record, volume: &Stored<Volume>) -> Answer<()> {
    if machine.spec.wishes.remote_volumes && volume.value.placement.is_some() {
        return Ok(());
    }
    let why = match (&machine.placement, &volume.value.placement) {
        // It is placed together with the machine.
        (None, _) => disks::apart(&volume.value, &disks::all_of(store, machine).await?, None),
        // It is placed where the machine is.
        (Some(_), None) => None,
        (Some(own), Some(placement)) => {
            let (name, here, there) = (&volume.value.meta.name, &own.node, &placement.node);
            (here != there).then(|| {
                format!(
                    "the volume {name} is on node {there} and the machine on {here}, and a volume does not move: \
                     give it to a machine on {there}, or make a new volume for this one"
                )
            })
        }
    };
    match why {
        Some(why) => Err(Failure::field(Code::Conflict, VOLUME, why)),
        None => Ok(()),
    }
}

struct Detach<'a> {
    volume: &'a str,
}

impl Change for Detach<'_> {
    async fn apply(&self, store: &dyn Store, machine: &mut Record, _: u32) -> Answer<Option<Txn>> {
        let name = self.volume;
        let position = machine.spec.volumes.iter().position(|volume| is_called(volume, name));
        let Some(position) = position else {
            if machine
                .status
                .leaving
                .volumes
                .iter()
                .any(|volume| is_called(volume, name))
            {
                return Ok(None);
            }
            let detail = format!("the machine {} has no volume {name:?}", machine.meta.name);
            return Err(Failure::new(Code::NotFound, detail));
        };
        if position == 0 && machine.spec.power == Power::On {
            let detail =
                format!("the machine boots from {name:?}, which is detached only while it is off: stop it first");
            return Err(Failure::new(Code::WrongPower, detail));
        }
        let attachment = machine.spec.volumes.remove(position);
        raise(machine);
        let message = format!("the volume {} was taken from it", attachment.name);
        let mut txn = Txn::new().tell(&told("detach-requested", machine, message))?;
        if machine.placement.is_some() {
            machine.status.leaving.volumes.push(attachment);
            return Ok(Some(txn));
        }
        // No node has anything of it.
        let volume = disks::of_machine(store, &machine.meta.project, &attachment.name).await?;
        let own = |volume: &Stored<Volume>| {
            volume
                .value
                .machine
                .as_ref()
                .is_some_and(|own| own.id == machine.meta.id)
        };
        if let Some(volume) = volume.filter(own) {
            txn = disks::let_go(txn, &volume)?;
        }
        Ok(Some(txn))
    }
}

fn is_called(attachment: &Attachment, name: &str) -> bool {
    attachment.name.as_str() == name || uuid::Uuid::try_parse(name) == Ok(attachment.id.uuid())
}
