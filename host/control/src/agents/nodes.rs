//! What is stored about nodes: registered by their agents, unknown when they are not heard of. Unknown is not absent:
//! nothing of theirs is started elsewhere.

use std::collections::HashMap;
use std::time::Duration;

use symphony_core::condition::{Condition, Truth};
use symphony_core::counter::{Admission, Tenure};
use symphony_core::event::Severity;
use symphony_core::id::{NodeId, ServiceId};
use symphony_core::keys;
use symphony_core::meta::Meta;
use symphony_core::name::Name;
use symphony_core::network::Underlay;
use symphony_core::node::{FENCE_PROGRAMS_MAX, Fence, Node, NodeSpec, NodeStatus, Role, Service};
use symphony_core::plan::Kind as _;
use symphony_core::plan::machine::Machines;
use symphony_core::power::is_program;
use symphony_protocol::{Hello, KEEP_MAX, Readmit, Readmitted, SILENCE_MS_MAX};
use symphony_store::{Compare, Txn};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::events::{about_node, event, with};
use crate::view::State;
use crate::write::{TxnRecords as _, WriteError};

use super::Agents;

/// How often silent nodes are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a registration is tried when its record changes under it.
const TRIES: u32 = 10;

/// Why a node is not registered.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegisterError {
    /// The store.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Its agent was let in later than the node's record knows.
    #[error(
        "its agent was let in under admission {agent}, and its record has {record}: the store is older than what the agent \
         has seen, as after a restore; nothing is changed on the node"
    )]
    Older {
        /// What the agent says.
        agent: Admission,
        /// What the record says.
        record: Admission,
    },
    /// A fenced node whose agent can't be told what it may keep.
    #[error("it was fenced, and its agent is too old to be told what it may keep; upgrade the agent")]
    TooOld,
    /// More is placed there than one frame names.
    #[error("{0} machines are placed there, and an agent can be told of {KEEP_MAX}")]
    TooMany(usize),
}

/// A node that is on record, and what its agent is to be told.
pub(super) struct Registered {
    pub(super) admission: Admission,
    /// What it may keep; nothing for one that is in.
    pub(super) readmit: Option<Readmit>,
}

/// Writes down what an agent says of its node. What operators set (cordon, labels of theirs) stays.
pub(super) async fn register(agents: &Agents, hello: &Hello) -> Result<Registered, RegisterError> {
    let shared = &agents.shared;
    for _ in 0..TRIES {
        let key = keys::node(&hello.node);
        let kv = shared.writer.store().get(&key.clone().into(), None).await;
        let kv = kv.map_err(WriteError::from)?;
        let old: Option<Node> = kv
            .as_ref()
            .map(|kv| symphony_core::record::decode(&kv.value))
            .transpose()
            .map_err(WriteError::from)?;
        let (admission, fence) = admission(old.as_ref(), hello)?;
        let node = registered(old.as_ref(), hello, admission, fence);
        let unchanged = kv.map_or_else(
            || Compare::absent(key.clone()),
            |kv| Compare::mod_revision(key.clone(), kv.mod_revision),
        );
        let reason = if old.is_some() { "node-ready" } else { "node-joined" };
        let message = format!(
            "node {} is here: {} pools, roles {}",
            hello.node,
            hello.pools.len(),
            words(&hello.roles)
        );
        let mut txn = Txn::new()
            .when(unchanged)
            .put_record(key, &node)
            .map_err(WriteError::from)?;
        let was_ready = old.as_ref().is_some_and(|old| old.status.ready.truth == Truth::True);
        if old.is_none() || (fence == Fence::None && !was_ready) {
            let told = event(Severity::Normal, reason, about_node(&hello.node), message);
            txn = txn.tell(&told).map_err(WriteError::from)?;
        }
        symphony_crash::point("control.node.before_register");
        match shared.writer.commit(txn).await {
            Ok(revision) => {
                symphony_crash::point("control.node.after_register");
                shared.view.seen(revision).await;
                let readmit = match fence {
                    Fence::None => None,
                    // Read after it was written that the node is heard of: nothing is released without it any more.
                    _ => Some(readmit(&shared.view.read(), &hello.node, admission, fence)?),
                };
                return Ok(Registered { admission, readmit });
            }
            Err(WriteError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(WriteError::Conflict.into())
}

/// Under what a node is let in, and whether it must be told what it may keep first. Each telling after a time in has a
/// number of its own: so no order from before it is taken after it.
fn admission(old: Option<&Node>, hello: &Hello) -> Result<(Admission, Fence), RegisterError> {
    let (record, fence) = old.map_or((Admission(0), Fence::None), |old| {
        (old.status.admission, old.status.fence)
    });
    let Some(agent) = hello.admission else {
        return match fence {
            Fence::None => Ok((record, Fence::None)),
            _ => Err(RegisterError::TooOld),
        };
    };
    if old.is_none() {
        // Another cluster's, or one whose record was removed: it keeps what it has.
        return Ok((agent.next(), Fence::Joining));
    }
    if agent > record {
        return Err(RegisterError::Older { agent, record });
    }
    Ok(match fence {
        Fence::None if agent == record && record > Admission(0) => (record, Fence::None),
        Fence::None => (record.next(), Fence::Joining),
        Fence::Joining => (record, Fence::Joining),
        Fence::Fenced | Fence::Returning => (record, Fence::Returning),
    })
}

/// What a node may keep: the machines that are placed there.
fn readmit(state: &State, node: &Name, admission: Admission, fence: Fence) -> Result<Readmit, RegisterError> {
    let machines = state.machines.values().map(|machine| &machine.value);
    let placed = machines.filter(|machine| machine.placement.as_ref().is_some_and(|place| place.node == *node));
    let keep: Vec<(String, Tenure)> = placed
        .map(|machine| (format!("{}/{}", Machines::NAME, machine.meta.id), machine.status.tenure))
        .collect();
    if keep.len() > KEEP_MAX {
        return Err(RegisterError::TooMany(keep.len()));
    }
    Ok(Readmit {
        admission,
        keep,
        confirmed: fence == Fence::Returning,
    })
}

/// Writes down that a node has settled; whether it was still to.
pub(super) async fn admit(agents: &Agents, name: &Name, readmitted: &Readmitted) -> Result<bool, WriteError> {
    let shared = &agents.shared;
    for _ in 0..TRIES {
        let key = keys::node(name);
        let Some(kv) = shared.writer.store().get(&key.clone().into(), None).await? else {
            return Ok(false);
        };
        let mut node: Node = symphony_core::record::decode(&kv.value)?;
        let settles = matches!(node.status.fence, Fence::Returning | Fence::Joining);
        if !settles || node.status.admission != readmitted.admission {
            return Ok(false);
        }
        let was_fenced = node.status.fence == Fence::Returning;
        node.status.fence = Fence::None;
        node.status.ready = ready();
        let ended = readmitted.destroyed.len();
        let (reason, message) = if was_fenced {
            (
                "node-readmitted",
                format!("node {name} is back; it ended {ended} machines that it must not run"),
            )
        } else {
            ("node-ready", format!("node {name} is ready"))
        };
        let mut told = event(Severity::Normal, reason, about_node(name), message);
        if let Some(first) = readmitted.destroyed.first() {
            told = with(told, "ended", first);
        }
        let txn = Txn::new()
            .when(Compare::mod_revision(key.clone(), kv.mod_revision))
            .put_record(key, &node)?
            .tell(&told)?;
        symphony_crash::point("control.node.before_admit");
        match shared.writer.commit(txn).await {
            Ok(revision) => {
                symphony_crash::point("control.node.after_admit");
                shared.view.seen(revision).await;
                return Ok(true);
            }
            Err(WriteError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Err(WriteError::Conflict)
}

fn ready() -> Condition {
    Condition {
        kind: "ready".to_owned(),
        truth: Truth::True,
        reason: "connected".to_owned(),
        message: "its agent has a session".to_owned(),
        since: clock::now(),
    }
}

fn words(roles: &[Role]) -> String {
    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ")
}

fn registered(old: Option<&Node>, hello: &Hello, admission: Admission, fence: Fence) -> Node {
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
    let ready = match fence {
        Fence::None => ready(),
        _ => Condition {
            truth: Truth::False,
            reason: "readmitting".to_owned(),
            message: "its agent settles what it may keep".to_owned(),
            ..ready()
        },
    };
    let mut pools = hello.pools.clone();
    pools.truncate(symphony_core::node::POOLS_MAX);
    pools.sort_by(|a, b| a.name.cmp(&b.name));
    let status = NodeStatus {
        ready,
        admission,
        fence,
        version: hello.version.clone(),
        data_url: hello.data_url.clone(),
        services: hello.roles.iter().map(service).collect(),
        pools,
        // A machine's ports are made by its own node.
        compute: hello.compute.clone().filter(|_| hello.roles.contains(&Role::Network)),
        underlay: underlay(hello),
        fence_programs: fence_programs(hello),
        // It is heard of: nobody needs to cut its power.
        fencing: None,
    };
    Node {
        meta,
        spec: old.map_or_else(NodeSpec::default, |old| old.spec.clone()),
        status,
    }
}

/// What it may run to cut the power of others, as far as that can be named.
fn fence_programs(hello: &Hello) -> Vec<String> {
    let named = hello.fence_programs.iter().filter(|name| is_program(name));
    let mut programs: Vec<String> = named.take(FENCE_PROGRAMS_MAX).cloned().collect();
    programs.sort();
    programs.dedup();
    programs
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
        let connected = |name: &Name| agents.has_session(name);
        let ready: Vec<Name> = {
            let state = agents.shared.view.read();
            let nodes = state
                .nodes
                .values()
                .filter(|node| node.value.status.ready.truth == Truth::True);
            nodes.map(|node| node.value.meta.name.clone()).collect()
        };
        silent_since.retain(|name, _| !connected(name));
        for name in ready.iter().filter(|name| !connected(name)) {
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
