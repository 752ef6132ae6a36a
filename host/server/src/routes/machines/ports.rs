//! A machine's ports: added, and taken away. The address of a port that was taken away is nobody else's until the machine's
//! node has let go of it: the loops give it free.

use axum::extract::{Path, State};
use axum::response::Response;
use symphony_api::v1::{Machine, WantedPort};
use symphony_api::{Code, Problem};
use symphony_core::machine::{Machine as Record, Port};
use symphony_core::plan::machine::PORTS_MAX;
use symphony_store::{Store, Txn};

use super::addresses::{PortWish, allocate, release};
use super::change::{Change, change, raise, told};
use crate::app::App;
use crate::event::Records as _;
use crate::failure::{Answer, Failure};
use crate::input::{Check, IfMatch, Input};
use crate::reading::project;

/// Connects a machine to a network, also while it runs.
#[utoipa::path(post, path = "/v1/projects/{project}/machines/{machine}/ports", tag = "machines",
    params(
        ("project" = String, Path), ("machine" = String, Path, description = "Name or id"),
        ("If-Match" = Option<String>, Header, description = "The revision that it must still have"),
    ),
    request_body = WantedPort,
    responses(
        (status = 200, description = "The machine, with the port", body = Machine),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::routes) async fn connect(
    State(app): State<App>,
    Path((project_text, name)): Path<(String, String)>,
    precondition: IfMatch,
    Input(body): Input<WantedPort>,
) -> Answer<Response> {
    let mut check = Check::default();
    let wish = PortWish::read(&mut check, &body, "");
    check.end()?;
    let connect = Connect { wish };
    let stored = change(&app, &project(&project_text)?, &name, precondition, &connect).await?;
    Ok(super::changed(&stored))
}

/// Takes a machine from a network.
#[utoipa::path(delete, path = "/v1/projects/{project}/machines/{machine}/ports/{port}", tag = "machines",
    params(
        ("project" = String, Path), ("machine" = String, Path, description = "Name or id"),
        ("port" = String, Path, description = "The port's id, or the name of the network"),
        ("If-Match" = Option<String>, Header, description = "The revision that the machine must still have"),
    ),
    responses(
        (status = 200, description = "The machine, without the port", body = Machine),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::routes) async fn disconnect(
    State(app): State<App>,
    Path((project_text, name, port)): Path<(String, String, String)>,
    precondition: IfMatch,
) -> Answer<Response> {
    let disconnect = Disconnect { port: &port };
    let stored = change(&app, &project(&project_text)?, &name, precondition, &disconnect).await?;
    Ok(super::changed(&stored))
}

struct Connect<'a> {
    wish: PortWish<'a>,
}

impl Change for Connect<'_> {
    const GROWS: bool = true;

    async fn apply(&self, store: &dyn Store, machine: &mut Record, attempt: u32) -> Answer<Option<Txn>> {
        if machine.spec.ports.len() + machine.status.leaving.ports.len() >= PORTS_MAX {
            let detail = format!("a machine has at most {PORTS_MAX} ports");
            return Err(Failure::field(Code::Unprocessable, "/network", detail));
        }
        let project = machine.meta.project.clone();
        let ports = allocate(store, &project, std::slice::from_ref(&self.wish), attempt).await?;
        machine.spec.ports.extend(ports.ports.iter().cloned());
        raise(machine);
        let named: Vec<String> = ports.ports.iter().map(in_words).collect();
        let message = format!("{} was given to it", named.join(", "));
        let txn = Txn::new().tell(&told("port-requested", machine, message))?;
        Ok(Some(ports.reserve(txn)))
    }
}

struct Disconnect<'a> {
    port: &'a str,
}

impl Change for Disconnect<'_> {
    async fn apply(&self, _: &dyn Store, machine: &mut Record, _: u32) -> Answer<Option<Txn>> {
        let name = self.port;
        let positions: Vec<usize> = (0..machine.spec.ports.len())
            .filter(|at| is_called(&machine.spec.ports[*at], name))
            .collect();
        let position = match positions[..] {
            [position] => position,
            [] if machine.status.leaving.ports.iter().any(|port| is_called(port, name)) => return Ok(None),
            [] => {
                let detail = format!("the machine {} has no port {name:?}", machine.meta.name);
                return Err(Failure::new(Code::NotFound, detail));
            }
            _ => {
                let ports = positions.iter().map(|at| &machine.spec.ports[*at]);
                let ids: Vec<String> = ports.map(|port| format!("{} ({})", port.id, port.address)).collect();
                let ids = ids.join(", ");
                let detail = format!("the machine has several ports on {name:?}: name the one by its id: {ids}");
                return Err(Failure::new(Code::Conflict, detail));
            }
        };
        let port = machine.spec.ports.remove(position);
        raise(machine);
        let message = format!("{} was taken from it", in_words(&port));
        let txn = Txn::new().tell(&told("port-removal-requested", machine, message))?;
        if machine.placement.is_some() {
            machine.status.leaving.ports.push(port);
            return Ok(Some(txn));
        }
        // No node has anything of it.
        Ok(Some(release(txn, &port)))
    }
}

fn is_called(port: &Port, name: &str) -> bool {
    port.network_name.as_str() == name || uuid::Uuid::try_parse(name) == Ok(port.id.uuid())
}

fn in_words(port: &Port) -> String {
    format!("a port on {} with {}", port.network_name, port.address)
}
