//! Nodes: what operators see and set. What agents say is written by the loops.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use symphony_api::v1::{
    DrainNode, DrainedMachine, FenceNode, List, Node, NodeDrained, NodePowerSeen, PatchNode, PowerDeviceSeen,
};
use symphony_api::{Code, Problem, convert};
use symphony_core::labels::Labels;
use symphony_core::name::Name;
use symphony_core::node::Node as Record;
use symphony_core::place::Ledger;
use symphony_core::plan::fence::PowerFact;
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

/// Changes a node: its labels, whether new work is kept away from it, or what cuts its power.
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
    let spec = body.spec.unwrap_or_default();
    let power = spec.power.map(convert::asked_power);
    let power = power.and_then(|power| check.take("/spec/power", power));
    check.end()?;
    let cordoned = spec.cordoned;
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
        if let Some(power) = power.as_ref().filter(|power| **power != node.spec.power) {
            node.spec.power.clone_from(power);
            node.meta.generation = node.meta.generation.next();
            let message = match power {
                Some(power) => format!("devices that can cut its power: {}", power.devices.len()),
                None => "no devices can cut its power any more".to_owned(),
            };
            told.push(event("power-described", about("node", &node.meta), &message));
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
                           run twice and ruin their disks. Make sure that it has no power, then confirm; or describe what can \
                           cut its power (`symphony node power set`), and it is done for you";

/// Fences a node: machines of its that can run elsewhere are placed anew. When its agent is heard of again it ends what it
/// must not run any more. With `confirm` somebody says that it is off, and it is fenced at once; without, its devices are to
/// cut its power, and it is fenced once they were seen to say so (`status.fencing` until then). Refused while it is connected.
#[utoipa::path(post, path = "/v1/nodes/{node}/fence", tag = "nodes", params(("node" = String, Path, description = "Name or id")),
    request_body = FenceNode,
    responses(
        (status = 200, description = "The node, fenced", body = Node),
        (status = 202, description = "The node: its power is being cut", body = Node),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn fence(
    State(app): State<App>,
    Path(name): Path<String>,
    Input(body): Input<FenceNode>,
) -> Answer<Response> {
    let node = find(&*app.store, &name).await?.value;
    if !body.confirm && node.spec.power.is_none() {
        return Err(Failure::field(Code::Unprocessable, "/confirm", FENCE_MEANS));
    }
    let (name, decisions) = (node.meta.name, app.decisions()?);
    match body.confirm {
        true => decisions.fence(&name).await?,
        false => decisions.cut_power(&name, "an operator asked for it").await?,
    }
    let node = find(&*app.store, name.as_str()).await?;
    let status = match node.value.status.fencing {
        Some(_) => StatusCode::ACCEPTED,
        None => StatusCode::OK,
    };
    answer_with(&app, status, &node).await
}

/// Asks what cuts a node's power whether it is on. Changes nothing.
#[utoipa::path(post, path = "/v1/nodes/{node}/power", tag = "nodes", params(("node" = String, Path, description = "Name or id")),
    responses(
        (status = 200, description = "What its devices say", body = NodePowerSeen),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn power(State(app): State<App>, Path(name): Path<String>) -> Answer<Json<NodePowerSeen>> {
    let name = find(&*app.store, &name).await?.value.meta.name;
    let seen = app.decisions()?.power(&name).await?;
    let device = |fact: &PowerFact| {
        let number = usize::try_from(fact.device).ok();
        let device = number.and_then(|number| seen.power.devices.get(number))?;
        Some(PowerDeviceSeen {
            device: fact.device,
            level: device.level,
            program: device.program.clone(),
            state: fact.state.to_string(),
            said: fact.said.clone(),
        })
    };
    Ok(Json(NodePowerSeen {
        node: name.to_string(),
        asked_by: seen.asked_by.to_string(),
        off: seen.is_off,
        devices: seen.facts.iter().filter_map(device).collect(),
    }))
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
    answer_with(app, StatusCode::OK, node).await
}

async fn answer_with(app: &App, status: StatusCode, node: &Stored<Record>) -> Answer<Response> {
    let ledger = load::<Ledger>(&*app.store, &keys::ledger(&node.value.meta.name)).await?;
    let wire = convert::node(
        &node.value,
        ledger.as_ref().map(|ledger| &ledger.value),
        node.revision.0,
    );
    Ok(object(status, &wire, node.revision.0))
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
