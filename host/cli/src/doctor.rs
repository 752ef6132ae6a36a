//! What is wrong with a cluster, or soon will be, and what to do about it: from what its managers say, without asking.

use jiff::Timestamp;
use serde::Serialize;
use symphony_api::v1::{Node, Service, ServiceStatus, Slot, StoreHealth, StoreMember};
use symphony_core::quantity::Bytes;

use crate::output::Listed;

/// What etcd allows its data to take when nobody said otherwise.
const ETCD_QUOTA_BYTES: u64 = 2 << 30;
/// From this part of the quota on it is said, in percent.
const FULL_SOON_PERCENT: u64 = 60;
/// From this part on it is serious.
const FULL_PERCENT: u64 = 80;
/// Below this nobody needs to defragment anything.
const FRAGMENTS_BYTES_MIN: u64 = 256 << 20;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Something does not work.
    Error,
    /// Something will not work after one more failure, or is away.
    Warning,
    /// Worth knowing.
    Note,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// How bad it is.
    pub(crate) level: Level,
    /// What it is about: `store`, `manager/NAME`, `node/NAME`, `slot/NAME`.
    pub(crate) about: String,
    /// What is so.
    pub(crate) finding: String,
    /// What to do.
    pub(crate) advice: String,
}

impl Listed for Finding {
    const HEADERS: &'static [&'static str] = &["LEVEL", "ABOUT", "FINDING", "WHAT TO DO"];
    const NARROW: usize = 4;

    fn cells(&self, _: Timestamp) -> Vec<String> {
        let level = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        };
        vec![
            level.to_owned(),
            self.about.clone(),
            self.finding.clone(),
            self.advice.clone(),
        ]
    }

    fn name(&self) -> String {
        self.about.clone()
    }
}

fn finding(level: Level, about: impl Into<String>, finding: impl Into<String>, advice: &str) -> Finding {
    Finding {
        level,
        about: about.into(),
        finding: finding.into(),
        advice: advice.to_owned(),
    }
}

/// What is to be said of the store.
pub(crate) fn of_the_store(store: &StoreHealth) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(trouble) = &store.trouble {
        let advice = "bring back a majority of its members; machines run on meanwhile";
        found.push(finding(
            Level::Error,
            "store",
            format!("it can't be read: {trouble}"),
            advice,
        ));
    }
    let away = store.members.iter().filter(|member| member.trouble.is_some()).count();
    let all = store.members.len();
    // How many more may fail before there is no majority.
    let spare = all.saturating_sub(away).saturating_sub(all / 2 + 1);
    for member in &store.members {
        found.extend(of_a_member(member, spare));
    }
    let is_etcd = store.members.iter().any(|member| member.endpoint != "embedded");
    if is_etcd && all < 3 && away == 0 {
        let text = format!("this manager knows {all} of etcd's members: none may fail");
        found.push(finding(
            Level::Note,
            "store",
            text,
            "run three members, and name all of them in --etcd",
        ));
    }
    found
}

fn of_a_member(member: &StoreMember, spare: usize) -> Vec<Finding> {
    let about = format!("store/{}", member.endpoint);
    let mut found = Vec::new();
    let mut say = |level, text: String, advice: &str| found.push(finding(level, about.clone(), text, advice));
    if let Some(trouble) = &member.trouble {
        let level = if spare == 0 { Level::Error } else { Level::Warning };
        let text = format!("it does not answer: {trouble}; {spare} more may fail");
        say(
            level,
            text,
            "start it again, or replace it (etcdctl member remove, member add)",
        );
        return found;
    }
    if !member.has_leader {
        say(
            Level::Error,
            "it knows no leader".to_owned(),
            "bring back a majority of the members",
        );
    }
    for alarm in &member.alarms {
        match alarm.as_str() {
            "no-space" => say(
                Level::Error,
                "its quota is used up: it takes no writes".to_owned(),
                "etcdctl compact REVISION, etcdctl defrag on each member, then etcdctl alarm disarm",
            ),
            other => say(
                Level::Error,
                format!("it raised the alarm {other}"),
                "remove this member, and let an empty one join in its place",
            ),
        }
    }
    if member.outdated {
        let text = format!("etcd {} may lose watch events and leases in rare cases", member.version);
        say(
            Level::Warning,
            text,
            "upgrade it to 3.5.28, 3.6.9 or later, one member after the other",
        );
    }
    if member.endpoint != "embedded" {
        let percent = member.size_bytes.saturating_mul(100) / ETCD_QUOTA_BYTES;
        let size = Bytes(member.size_bytes);
        let text = format!("{size} on disk; etcd stops at 2 GiB unless its quota was raised");
        let advice = "defragment it, look at what grows, or raise --quota-backend-bytes";
        if percent >= FULL_PERCENT {
            say(Level::Error, text, advice);
        } else if percent >= FULL_SOON_PERCENT {
            say(Level::Warning, text, advice);
        } else if member.size_bytes > FRAGMENTS_BYTES_MIN && member.size_bytes / 2 > member.used_bytes {
            let text = format!("{size} on disk, {} of it used", Bytes(member.used_bytes));
            say(
                Level::Note,
                text,
                "etcdctl defrag gives the rest back; one member after the other",
            );
        }
    }
    found
}

/// What is to be said of managers.
pub(crate) fn of_services(services: &[Service]) -> Vec<Finding> {
    let managers = services.iter().filter(|service| service.role == "manager");
    let (up, away): (Vec<&Service>, Vec<&Service>) = managers.partition(|manager| manager.status == ServiceStatus::Up);
    let mut found: Vec<Finding> = away
        .into_iter()
        .map(|manager| {
            let text = format!("nothing is heard of it at {}", manager.address);
            let advice = "start it again, or remove it: symphony manager service remove ID";
            finding(Level::Warning, format!("manager/{}", manager.node), text, advice)
        })
        .collect();
    let mut versions: Vec<&str> = up.iter().map(|manager| manager.version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    if versions.len() > 1 {
        let text = format!("several versions run: {}", versions.join(", "));
        let advice = "finish the upgrade: managers first, then agents, one after the other";
        found.push(finding(Level::Note, "managers", text, advice));
    }
    found
}

/// What is to be said of nodes.
pub(crate) fn of_nodes(nodes: &[Node]) -> Vec<Finding> {
    let of = |node: &Node| {
        let about = format!("node/{}", node.meta.name);
        if let Some(fencing) = &node.status.fencing {
            let (text, advice) = match fencing.held_by.as_str() {
                "" => ("its power is being cut".to_owned(), "wait"),
                held => (
                    format!("its power can't be cut: {held}"),
                    "make sure that it has no power, then: symphony node fence NODE --confirm",
                ),
            };
            return Some(finding(Level::Warning, about, text, advice));
        }
        let (level, text, advice) = match node.status.phase.as_str() {
            "Unknown" => (
                Level::Warning,
                "nothing is heard of its agent; what it runs may still run, and stays where it is",
                "look at the server; when it has no power: symphony node fence NODE --confirm",
            ),
            "Fenced" => (
                Level::Warning,
                "it is fenced",
                "repair and start it: it comes back by itself",
            ),
            "Readmitting" => (Level::Note, "it settles what it may keep", "wait"),
            _ if node.spec.cordoned => (
                Level::Note,
                "it is cordoned: no new work goes there",
                "symphony node uncordon NODE",
            ),
            _ => return None,
        };
        Some(finding(level, about, text, advice))
    };
    nodes.iter().filter_map(of).collect()
}

/// What is to be said of the slots that plugins serve in.
pub(crate) fn of_slots(slots: &[Slot]) -> Vec<Finding> {
    // A scheduler's place is taken by the policy that is built in; nobody takes a driver's.
    let empty = slots
        .iter()
        .filter(|slot| slot.active.is_none() && slot.name.starts_with("driver/"));
    empty
        .map(|slot| {
            let why = if slot.reason.is_empty() {
                String::new()
            } else {
                format!(": {}", slot.reason)
            };
            let text = format!("no plugin serves{why}");
            let advice = "symphony plugin activate PLUGIN, or symphony plugin rollback SLOT";
            finding(Level::Error, format!("slot/{}", slot.name), text, advice)
        })
        .collect()
}

#[cfg(test)]
mod tests;
