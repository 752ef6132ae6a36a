//! What is stored about nodes: registered by their agents, unknown when they are not heard of. Unknown is not absent:
//! nothing of theirs is started elsewhere.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use symphony_core::condition::{Condition, Truth};
use symphony_core::event::Severity;
use symphony_core::id::{NodeId, ServiceId};
use symphony_core::keys;
use symphony_core::meta::Meta;
use symphony_core::name::Name;
use symphony_core::network::Underlay;
use symphony_core::node::{Node, NodeSpec, NodeStatus, Role, Service};
use symphony_protocol::{Hello, SILENCE_MS_MAX};
use symphony_store::{Compare, Txn};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::events::{about_node, event};
use crate::write::{TxnRecords as _, WriteError};

use super::Agents;

/// How often silent nodes are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a registration is tried when its record changes under it.
const TRIES: u32 = 10;

/// Writes down what an agent says of its node. What operators set (cordon, labels of theirs) stays.
pub(super) async fn register(agents: &Agents, hello: &Hello) -> Result<(), WriteError> {
    let shared = &agents.shared;
    for _ in 0..TRIES {
        let kv = shared.writer.store().get(&keys::node(&hello.node).into(), None).await?;
        let old: Option<Node> = kv
            .as_ref()
            .map(|kv| symphony_core::record::decode(&kv.value))
            .transpose()?;
        let node = registered(old.as_ref(), hello);
        let key = keys::node(&hello.node);
        let unchanged = kv.map_or_else(
            || Compare::absent(key.clone()),
            |kv| Compare::mod_revision(key.clone(), kv.mod_revision),
        );
        let reason = if old.is_some() { "node-ready" } else { "node-joined" };
        let message = format!(
            "node {} is ready: {} pools, roles {}",
            hello.node,
            hello.pools.len(),
            words(&hello.roles)
        );
        let mut txn = Txn::new().when(unchanged).put_record(key, &node)?;
        if old.is_none_or(|old| old.status.ready.truth != Truth::True) {
            txn = txn.tell(&event(Severity::Normal, reason, about_node(&hello.node), message))?;
        }
        match shared.writer.commit(txn).await {
            Ok(revision) => {
                shared.view.seen(revision).await;
                return Ok(());
            }
            Err(WriteError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Err(WriteError::Conflict)
}

fn words(roles: &[Role]) -> String {
    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ")
}

fn registered(old: Option<&Node>, hello: &Hello) -> Node {
    let now = clock::now();
    let meta = old.map_or_else(
        || {
            let project = "default".parse().expect("`default` is a name");
            Meta::new(
                NodeId::new(clock::new_uuid()),
                project,
                hello.node.clone(),
                hello.labels.clone(),
                now,
            )
        },
        |old| old.meta.clone(),
    );
    let service = |role: &Role| {
        let known = old.and_then(|old| old.service(*role)).cloned();
        known.unwrap_or_else(|| Service {
            id: ServiceId::new(clock::new_uuid()),
            role: *role,
            since: now,
        })
    };
    let ready = Condition {
        kind: "ready".to_owned(),
        truth: Truth::True,
        reason: "connected".to_owned(),
        message: "its agent has a session".to_owned(),
        since: now,
    };
    let mut pools = hello.pools.clone();
    pools.truncate(symphony_core::node::POOLS_MAX);
    pools.sort_by(|a, b| a.name.cmp(&b.name));
    let status = NodeStatus {
        ready,
        version: hello.version.clone(),
        data_url: hello.data_url.clone(),
        services: hello.roles.iter().map(service).collect(),
        pools,
        // A machine's ports are made by its own node.
        compute: hello.compute.clone().filter(|_| hello.roles.contains(&Role::Network)),
        underlay: underlay(hello),
    };
    Node {
        meta,
        spec: old.map_or_else(NodeSpec::default, |old| old.spec.clone()),
        status,
    }
}

/// Where the others reach the node. An agent that says nonsense is an agent that says nothing.
fn underlay(hello: &Hello) -> Option<Underlay> {
    let parsed = hello.underlay.as_ref()?.parse();
    parsed
        .inspect_err(|error| tracing::warn!(node = %hello.node, %error, "an agent names no address for its networks"))
        .ok()
}

/// Until `stop`, writes `unknown` on nodes that have had no session for a while. After a start every node gets that
/// long to come back.
pub(super) async fn watch_silence(agents: Agents, stop: CancellationToken) {
    let mut silent_since: HashMap<Name, Instant> = HashMap::new();
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let connected = agents.connected();
        let ready: Vec<Name> = {
            let state = agents.shared.view.read();
            let nodes = state
                .nodes
                .values()
                .filter(|node| node.value.status.ready.truth == Truth::True);
            nodes.map(|node| node.value.meta.name.clone()).collect()
        };
        silent_since.retain(|name, _| !connected.contains(name));
        for name in ready.iter().filter(|name| !connected.contains(name)) {
            let since = *silent_since.entry(name.clone()).or_insert_with(Instant::now);
            if since.elapsed() >= Duration::from_millis(SILENCE_MS_MAX)
                && let Err(error) = mark_unknown(&agents, name).await
            {
                tracing::warn!(node = %name, %error, "a silent node could not be marked as unknown");
            }
        }
    }
}

async fn mark_unknown(agents: &Agents, name: &Name) -> Result<(), WriteError> {
    let Some((mut node, revision)) = agents
        .shared
        .view
        .read()
        .nodes
        .get(name)
        .map(|node| (node.value.clone(), node.revision))
    else {
        return Ok(());
    };
    // A session may have begun since the list was made. It is on the list before its node is registered, and what is
    // written here compares the record that was read before this look: so its registration is never undone.
    if agents.lines().contains_key(name) {
        return Ok(());
    }
    let message = "nothing is heard of its agent; what it runs may still run".to_owned();
    node.status.ready = Condition {
        kind: "ready".to_owned(),
        truth: Truth::Unknown,
        reason: "silent".to_owned(),
        message,
        since: clock::now(),
    };
    let told = event(
        Severity::Warning,
        "node-unknown",
        about_node(name),
        format!("nothing is heard of node {name}"),
    );
    let txn = Txn::new()
        .when(Compare::mod_revision(keys::node(name), revision))
        .put_record(keys::node(name), &node)?
        .tell(&told)?;
    match agents.shared.writer.commit(txn).await {
        Ok(_) | Err(WriteError::Conflict) => Ok(()),
        Err(error) => Err(error),
    }
}
