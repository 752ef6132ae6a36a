//! Nodes: what operators see and set. What agents say is written by the loops.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use symphony_api::v1::{DrainNode, DrainedMachine, FenceNode, List, Node, NodeDrained, PatchNode};
use symphony_api::{Code, Problem, convert};
use symphony_core::labels::Labels;
use symphony_core::name::Name;
use symphony_core::node::Node as Record;
use symphony_core::place::Ledger;
use symphony_core::{keys, record};
use symphony_store::{Compare, Range, Store, Txn, read_all};

use super::{TRIES, again, crowded, object};
use crate::app::App;
use crate::event::{Records as _, about, event};
use crate::failure::{Answer, Failure};
use crate::input::{Check, IfMatch, Input, Params};
use crate::reading::{Order, PageQuery, Reference, Stored, load, map_list, page};

/// Lists the nodes.
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes", params(PageQuery), responses(
    (status = 200, description = "A page", body = List<Node>),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(State(app): State<App>, Params(query): Params<PageQuery>) -> Answer<Json<List<Node>>> {
    let selector = query.selector()?;
    let wanted = |node: &Record| node.meta.labels.covers(&selector).is_ok();
    let list = page::<Record>(&*app.store, keys::NODES, &query, Order::Rising, wanted).await?;
    let ledgers = ledgers(&*app.store).await?;
    Ok(Json(map_list(list, |node| {
        convert::node(&node.value, ledgers.get(&node.value.meta.name), node.revision.0)
    })))
}

/// Shows a node, by name or id.
#[utoipa::path(get, path = "/v1/nodes/{node}", tag = "nodes", params(("node" = String, Path, description = "Name or id")), responses(
    (status = 200, description = "The node", body = Node),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show(State(app): State<App>, Path(name): Path<String>) -> Answer<Response> {
    let node = find(&*app.store, &name).await?;
    answer(&app, &node).await
}

/// Changes a node: its labels, or whether new work is kept away from it.
#[utoipa::path(patch, path = "/v1/nodes/{node}", tag = "nodes",
    params(
        ("node" = String, Path, description = "Name or id"),
        ("If-Match" = Option<String>, Header, description = "The revision that it must still have"),
    ),
    request_body = PatchNode,
    responses(
        (status = 200, description = "The node, changed", body = Node),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn patch(
    State(app): State<App>,
    Path(name): Path<String>,
    precondition: IfMatch,
    Input(body): Input<PatchNode>,
) -> Answer<Response> {
    let mut check = Check::default();
    let labels = body
        .labels
        .and_then(|labels| check.take("/labels", Labels::try_from(labels)));
    check.end()?;
    let cordoned = body.spec.and_then(|spec| spec.cordoned);
    for _ in 0..TRIES {
        let stored = find(&*app.store, &name).await?;
        precondition.check(stored.revision)?;
        let mut node = stored.value.clone();
        let mut told = Vec::new();
        if let Some(labels) = labels.as_ref().filter(|labels| **labels != node.meta.labels) {
            node.meta.labels = labels.clone();
            told.push(event(
                "relabelled",
                about("node", &node.meta),
                "its labels were changed",
            ));
        }
        if let Some(cordoned) = cordoned.filter(|cordoned| *cordoned != node.spec.cordoned) {
            node.spec.cordoned = cordoned;
            node.meta.generation = node.meta.generation.next();
            let (reason, message) = match cordoned {
                true => ("cordoned", "new work is kept away from it"),
                false => ("uncordoned", "it takes new work again"),
            };
            told.push(event(reason, about("node", &node.meta), message));
        }
        if told.is_empty() {
            return answer(&app, &stored).await;
        }
        let key = keys::node(&node.meta.name);
        let mut txn = Txn::new()
            .when(Compare::mod_revision(&key, stored.revision))
            .record(key, &node)?;
        for event in &told {
            txn = txn.tell(event)?;
        }
        symphony_crash::point("api.node.patch.before_commit");
        let result = app.store.txn(txn).await?;
        symphony_crash::point("api.node.patch.after_commit");
        if result.succeeded {
            return answer(
                &app,
                &Stored {
                    value: node,
                    revision: result.revision,
                },
            )
            .await;
        }
        again(precondition)?;
    }
    Err(crowded())
}

/// What a fence means, for whoever asks for one without saying that it is so.
const FENCE_MEANS: &str = "a fence says that the node is off, and its machines are started elsewhere; if it is not off, they \
                           run twice and ruin their disks. Make sure that it has no power, then confirm";

/// Says that a node is off: machines of its that can run elsewhere are placed anew. When its agent is heard of again it
/// ends what it must not run any more. Refused while it is connected, and without `confirm`.
#[utoipa::path(post, path = "/v1/nodes/{node}/fence", tag = "nodes", params(("node" = String, Path, description = "Name or id")),
    request_body = FenceNode,
    responses(
        (status = 200, description = "The node, fenced", body = Node),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn fence(
    State(app): State<App>,
    Path(name): Path<String>,
    Input(body): Input<FenceNode>,
) -> Answer<Response> {
    let node = find(&*app.store, &name).await?;
    if !body.confirm {
        return Err(Failure::field(Code::Unprocessable, "/confirm", FENCE_MEANS));
    }
    let name = node.value.meta.name;
    app.decisions()?.fence(&name).await?;
    let node = find(&*app.store, name.as_str()).await?;
    answer(&app, &node).await
}

/// Empties a node: cordons it, lets machines leave that are off and can run elsewhere, and says what holds the others. May be
/// repeated.
#[utoipa::path(post, path = "/v1/nodes/{node}/drain", tag = "nodes", params(("node" = String, Path, description = "Name or id")),
    request_body = DrainNode,
    responses(
        (status = 200, description = "What becomes of its machines", body = NodeDrained),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn drain(
    State(app): State<App>,
    Path(name): Path<String>,
    Input(body): Input<DrainNode>,
) -> Answer<Json<NodeDrained>> {
    let name = find(&*app.store, &name).await?.value.meta.name;
    let drained = app.decisions()?.drain(&name, body.stop).await?;
    let node = find(&*app.store, name.as_str()).await?;
    let ledger = load::<Ledger>(&*app.store, &keys::ledger(&name)).await?;
    let machine = |(project, machine): (Name, Name)| DrainedMachine {
        project: project.to_string(),
        machine: machine.to_string(),
        why: String::new(),
    };
    let staying = drained.staying.into_iter().map(|stays| DrainedMachine {
        why: stays.why,
        ..machine((stays.project, stays.machine))
    });
    Ok(Json(NodeDrained {
        node: convert::node(
            &node.value,
            ledger.as_ref().map(|ledger| &ledger.value),
            node.revision.0,
        ),
        staying: staying.collect(),
        leaving: drained.leaving.into_iter().map(machine).collect(),
        stopping: drained.stopping.into_iter().map(machine).collect(),
    }))
}

async fn answer(app: &App, node: &Stored<Record>) -> Answer<Response> {
    let ledger = load::<Ledger>(&*app.store, &keys::ledger(&node.value.meta.name)).await?;
    let wire = convert::node(
        &node.value,
        ledger.as_ref().map(|ledger| &ledger.value),
        node.revision.0,
    );
    Ok(object(StatusCode::OK, &wire, node.revision.0))
}

async fn find(store: &dyn Store, name: &str) -> Answer<Stored<Record>> {
    let found = match Reference::parse(name) {
        Some(Reference::Name(name)) => load(store, &keys::node(&name)).await?,
        Some(Reference::Id(id)) => all(store)
            .await?
            .into_iter()
            .find(|node| node.value.meta.id.uuid() == id),
        None => None,
    };
    found.ok_or_else(|| Failure::missing("node", name))
}

/// All nodes, in the order of their names.
pub(super) async fn all(store: &dyn Store) -> Answer<Vec<Stored<Record>>> {
    let mut nodes = Vec::new();
    for kv in read_all(store, Range::prefix(keys::NODES), 1000).await?.kvs {
        nodes.push(Stored {
            value: record::decode(&kv.value)?,
            revision: kv.mod_revision,
        });
    }
    Ok(nodes)
}

/// What is claimed, by node.
pub(super) async fn ledgers(store: &dyn Store) -> Answer<HashMap<Name, Ledger>> {
    let mut ledgers = HashMap::new();
    for kv in read_all(store, Range::prefix(keys::LEDGERS), 1000).await?.kvs {
        if let Some(name) = kv.key.strip_prefix(keys::LEDGERS).and_then(|name| name.parse().ok()) {
            ledgers.insert(name, record::decode(&kv.value)?);
        }
    }
    Ok(ledgers)
}
