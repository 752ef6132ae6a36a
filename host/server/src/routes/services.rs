//! Services: the roles of nodes and the managers, as operators see them. Also served on the control socket.

mod managers;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use symphony_api::v1::{List, Service};
use symphony_api::{Code, Problem, convert};
use symphony_control::members::without_serials;
use symphony_core::condition::Truth;
use symphony_core::id::ServiceId;
use symphony_core::image::Image;
use symphony_core::member::Enrolment;
use symphony_core::name::Name;
use symphony_core::node::{Node, Role};
use symphony_core::place::Ledger;
use symphony_core::{keys, record};
use symphony_store::{Compare, Keys, Range, Revision, Store, Txn, read_all};
use utoipa::IntoParams;
use uuid::Uuid;

use super::{TRIES, crowded, nodes};
use crate::app::App;
use crate::event::{Records as _, about, event};
use crate::failure::{Answer, Failure};
use crate::input::Params;
use crate::reading::{Stored, load};

/// How a service is removed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RemoveQuery {
    /// Also when its agent has a session, or it still has resources.
    #[serde(default)]
    force: bool,
}

/// Lists the services: managers first, then by node and role.
#[utoipa::path(get, path = "/v1/services", tag = "services", responses(
    (status = 200, description = "All services", body = List<Service>),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(State(app): State<App>) -> Answer<Json<List<Service>>> {
    let revision = app.store.status().await?.revision.0;
    let mut items = managers::list(&app).await?;
    for node in nodes::all(&*app.store).await? {
        let services = node.value.status.services.iter();
        items.extend(services.map(|service| convert::service(&node.value, service)));
    }
    Ok(Json(List {
        items,
        next_page_token: None,
        revision,
    }))
}

/// Removes a service whose node is gone for good. A service that still has resources is removed by `force` only; what
/// is claimed for them stays claimed. With the last one the node's certificate is revoked: a new token lets it in again.
#[utoipa::path(delete, path = "/v1/services/{id}", tag = "services",
    params(("id" = String, Path, description = "Its id"), RemoveQuery),
    responses(
        (status = 200, description = "What it was", body = Service),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn remove(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(query): Params<RemoveQuery>,
) -> Answer<Json<Service>> {
    let id = Uuid::try_parse(&id).map_err(|_| Failure::missing("service", &id))?;
    if let Some(manager) = managers::list(&app).await?.into_iter().find(|manager| manager.id == id) {
        return managers::remove(&app, manager, query.force).await.map(Json);
    }
    for _ in 0..TRIES {
        let nodes = nodes::all(&*app.store).await?;
        let found = nodes.into_iter().find_map(|node| {
            let service = node
                .value
                .status
                .services
                .iter()
                .find(|service| service.id.uuid() == id)
                .cloned();
            service.map(|service| (node, service))
        });
        let (node, service) = found.ok_or_else(|| Failure::missing("service", &id.to_string()))?;
        let ledger = load::<Ledger>(&*app.store, &keys::ledger(&node.value.meta.name)).await?;
        let uses = uses(&*app.store, &node.value, service.role, ledger.as_ref()).await?;
        if !query.force {
            refuse(&node.value, service.role, uses)?;
        }
        let removed = convert::service(&node.value, &service);
        let txn = without(&node, service.id, ledger.as_ref())?;
        let txn = without_role(&app, txn, &node.value.meta.name, service.role).await?;
        symphony_crash::point("api.service.remove.before_commit");
        let result = app.store.txn(txn).await?;
        symphony_crash::point("api.service.remove.after_commit");
        if result.succeeded {
            return Ok(Json(removed));
        }
    }
    Err(crowded())
}

/// How many resources a service has.
async fn uses(store: &dyn Store, node: &Node, role: Role, ledger: Option<&Stored<Ledger>>) -> Answer<u64> {
    match role {
        Role::Block => Ok(ledger.map_or(0, |ledger| ledger.value.claims())),
        Role::Image => {
            let mut count = 0;
            for kv in read_all(store, Range::prefix(keys::IMAGES), 500).await?.kvs {
                let image: Image = record::decode(&kv.value)?;
                count += u64::from(image.spec.node == node.meta.name);
            }
            Ok(count)
        }
        Role::Compute | Role::Network => Ok(0),
    }
}

/// Takes the role from what lets the node in; with its last role the node is no member any more, and its certificates are
/// worth nothing.
async fn without_role(app: &App, txn: Txn, node: &Name, role: Role) -> Answer<Txn> {
    let key = keys::node_enrolment(node);
    let Some(enrolment) = load::<Enrolment>(&*app.store, &key).await? else {
        return Ok(txn);
    };
    let txn = txn.when(Compare::mod_revision(&*key, enrolment.revision));
    let mut next = enrolment.value;
    next.roles.remove(&role);
    if next.roles.is_empty() {
        Ok(without_serials(txn.delete(&*key), &next)?)
    } else {
        Ok(txn.record(key, &next)?)
    }
}

fn refuse(node: &Node, role: Role, uses: u64) -> Answer<()> {
    let (name, role) = (&node.meta.name, role.as_str());
    if uses > 0 {
        let detail =
            format!("the {role} service of node {name} still has {uses} resources; remove them first, or use force");
        return Err(Failure::new(Code::HasResources, detail));
    }
    if node.status.ready.truth == Truth::True {
        let detail = format!("the agent of node {name} still has a session; stop it first, or use force");
        return Err(Failure::new(Code::Conflict, detail));
    }
    Ok(())
}

/// The node without the service; gone itself when it has no other and nothing is claimed on it.
fn without(node: &Stored<Node>, id: ServiceId, ledger: Option<&Stored<Ledger>>) -> Answer<Txn> {
    let mut next = node.value.clone();
    next.status.services.retain(|service| service.id != id);
    if next.service(Role::Block).is_none() {
        next.status.pools.clear();
    }
    let name = &next.meta.name;
    let (key, ledger_key) = (keys::node(name), keys::ledger(name));
    let ledger_revision = ledger.map_or(Revision::NONE, |ledger| ledger.revision);
    let txn = Txn::new()
        .when(Compare::mod_revision(&key, node.revision))
        .when(Compare::mod_revision(&ledger_key, ledger_revision));
    let claims = ledger.map_or(0, |ledger| ledger.value.claims());
    let message = "one of its services was removed";
    let told = event("service-removed", about("node", &next.meta), message);
    let txn = if next.status.services.is_empty() && claims == 0 {
        txn.delete(key).then(symphony_store::Op::Delete {
            keys: Keys::one(ledger_key),
        })
    } else {
        txn.record(key, &next)?
    };
    Ok(txn.tell(&told)?)
}
