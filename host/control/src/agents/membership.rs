//! What agents must know of the cluster's members: where managers are, and which certificates are worth nothing any more.
//! And the end of sessions whose node is no member any more.

use std::collections::BTreeSet;
use std::time::Duration;

use symphony_core::keys;
use symphony_core::name::Name;
use symphony_protocol::enrol::MANAGERS_MAX;
use symphony_protocol::frame::REVOKED_MAX;
use symphony_protocol::{Members, ToAgent};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Agents;
use crate::clock;
use crate::members::digest_of;
use crate::view::State;

/// Protocol versions below this know of no members.
const KNOWN_SINCE: u32 = 4;

/// How often agents are told how far the store is.
const DATED_EVERY: Duration = Duration::from_secs(600);

/// The members, as the records say now.
pub(super) fn of(state: &State) -> Members {
    let managers = state.managers.values().map(|manager| manager.value.address.clone());
    let now = clock::now();
    let revoked = state.revoked.iter().filter(|(_, revoked)| revoked.value.until > now);
    Members {
        managers: managers
            .filter(|address| !address.is_empty())
            .take(MANAGERS_MAX)
            .collect(),
        revoked: revoked.map(|(serial, _)| serial.clone()).take(REVOKED_MAX).collect(),
        // While there is nothing to change an agent keeps what it got with its certificate.
        roots_pem: state.authority.as_ref().map(|kept| kept.value.roots_pem()),
        renew: false,
        revision: None,
    }
}

/// The nodes that are to take a certificate of the present authority: those that have not shown one.
fn outdated(state: &State) -> BTreeSet<Name> {
    let Some(kept) = state.authority.as_ref().filter(|kept| !kept.value.former.is_empty()) else {
        return BTreeSet::new();
    };
    let Some(digest) = digest_of(&kept.value) else {
        return BTreeSet::new();
    };
    let nodes = state.nodes.keys().filter(|node| {
        let enrolment = state.enrolments.get(&keys::node_enrolment(node));
        enrolment.is_some_and(|enrolment| !enrolment.value.is_only_by(&digest))
    });
    nodes.cloned().collect()
}

/// What one node is to be told at the beginning of its session.
pub(super) fn for_node(state: &State, node: &Name) -> Members {
    Members {
        renew: outdated(state).contains(node),
        ..dated(of(state), state)
    }
}

/// The same, with how far the store is: an agent remembers that, and refuses an older store.
fn dated(members: Members, state: &State) -> Members {
    Members {
        revision: Some(state.revision().0),
        ..members
    }
}

/// Until `stop`, tells agents of changes, and ends the sessions of nodes that were removed.
pub(super) async fn follow(agents: Agents, stop: CancellationToken) {
    let mut changes = agents.shared.view.changes();
    let news = |state: &State| (of(state), outdated(state));
    let mut told = news(&agents.shared.view.read());
    let mut dates = tokio::time::interval_at(Instant::now() + DATED_EVERY, DATED_EVERY);
    loop {
        let is_time = tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return } else { false },
            _ = dates.tick() => true,
        };
        let (now, gone) = {
            let state = agents.shared.view.read();
            let lines = agents.lines();
            let is_gone = |node: &&Name| !state.enrolments.contains_key(&keys::node_enrolment(node));
            let members = lines.values().filter(|line| line.is_member).map(|line| &line.node);
            (news(&state), members.filter(is_gone).cloned().collect::<Vec<_>>())
        };
        for node in gone {
            let line = agents.lines().get(&node).cloned();
            if let Some(line) = line {
                tracing::info!(%node, "the node was removed from the cluster; its session ends");
                line.hang_up();
            }
        }
        if now == told && !is_time {
            continue;
        }
        let dated = dated(now.0.clone(), &agents.shared.view.read());
        let lines: Vec<_> = agents.lines().values().cloned().collect();
        for line in lines.iter().filter(|line| line.protocol >= KNOWN_SINCE) {
            // One that takes no frames is told when it comes again.
            line.offer(ToAgent::Members(Members {
                renew: now.1.contains(&line.node),
                ..dated.clone()
            }));
        }
        told = now;
    }
}
