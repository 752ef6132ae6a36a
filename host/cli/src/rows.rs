//! The columns of each kind of object.

mod machine;
mod network;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod token;
mod volume;

use std::fmt::Write as _;

use jiff::Timestamp;
use symphony_api::v1::{
    Condition, Event, Image, Labels, Metadata, Node, NodeCompute, NodePower, Plugin, PowerDevice, Service, Severity,
    Slot, Truth,
};
use symphony_core::quantity::Bytes;

use crate::age::age;
use crate::output::Listed;
use crate::story::took;
use crate::table::or_dash;
use crate::verdicts::short;

impl Listed for Image {
    const HEADERS: &'static [&'static str] = &[
        "NAME", "PHASE", "FORMAT", "DISK", "STORED", "AGE", "DIGEST", "NODE", "ID",
    ];
    const NARROW: usize = 6;

    fn cells(&self, now: Timestamp) -> Vec<String> {
        vec![
            self.meta.name.clone(),
            self.status.phase.as_str().to_owned(),
            self.spec.format.as_str().to_owned(),
            Bytes(self.spec.virtual_bytes).to_string(),
            Bytes(self.spec.stored_bytes).to_string(),
            age(self.meta.created_at, now),
            short(&self.spec.digest).to_owned(),
            or_dash(self.spec.node.clone()),
            self.meta.id.to_string(),
        ]
    }

    fn name(&self) -> String {
        self.meta.name.clone()
    }

    fn details(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let mut fields = identity(&self.meta, now);
        fields.push(("phase", self.status.phase.as_str().to_owned()));
        fields.push(("format", self.spec.format.as_str().to_owned()));
        fields.push(("disk", Bytes(self.spec.virtual_bytes).to_string()));
        fields.push((
            "stored",
            format!("{} on {}", Bytes(self.spec.stored_bytes), self.spec.node),
        ));
        fields.push(("digest", self.spec.digest.clone()));
        fields.push(("conditions", conditions(&self.status.conditions, now)));
        fields
    }
}

impl Listed for Node {
    const HEADERS: &'static [&'static str] = &[
        "NAME", "STATUS", "ROLES", "CPUS", "MEMORY", "CAPACITY", "CLAIMED", "FREE", "LABELS", "AGE", "POOLS",
        "VERSION", "DATA", "ID",
    ];
    const NARROW: usize = 10;

    fn cells(&self, now: Timestamp) -> Vec<String> {
        let sum = |of: fn(&symphony_api::v1::NodePool) -> u64| {
            Bytes(self.status.pools.iter().map(of).fold(0, u64::saturating_add)).to_string()
        };
        let compute = self.status.compute.as_ref();
        let mut pools: Vec<_> = self.status.pools.iter().map(|pool| pool.name.as_str()).collect();
        pools.sort_unstable();
        vec![
            self.meta.name.clone(),
            node_status(self),
            or_dash(
                self.status
                    .services
                    .iter()
                    .map(|service| service.role.as_str())
                    .collect::<Vec<_>>()
                    .join(","),
            ),
            or_dash(compute.map(|have| format!("{}/{}", have.cpus_claimed, have.cpus_claimable))),
            or_dash(compute.map(|have| format!("{}/{}", Bytes(have.memory_claimed_bytes), Bytes(have.memory_bytes)))),
            sum(|pool| pool.capacity_bytes),
            sum(|pool| pool.claimed_bytes),
            sum(|pool| pool.free_bytes),
            labels(&self.meta.labels),
            age(self.meta.created_at, now),
            or_dash(pools.join(",")),
            or_dash(self.status.version.clone()),
            or_dash(self.status.data_url.clone()),
            self.meta.id.to_string(),
        ]
    }

    fn name(&self) -> String {
        self.meta.name.clone()
    }

    fn details(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let mut fields = identity(&self.meta, now);
        fields.push(("status", node_status(self)));
        fields.push(("agent", format!("{} at {}", self.status.version, self.status.data_url)));
        if let Some(underlay) = &self.status.underlay {
            fields.push(("networks", format!("reached at {underlay}")));
        }
        if let Some(fencing) = &self.status.fencing {
            let held = match fencing.held_by.as_str() {
                "" => String::new(),
                held => format!("\nheld up: {held}"),
            };
            let since = age(fencing.since, now);
            fields.push(("fencing", format!("for {since}: {}{held}", fencing.why)));
        }
        if let Some(devices) = &self.spec.power {
            fields.push(("power", power(devices)));
        }
        if !self.status.fence_programs.is_empty() {
            fields.push(("may ask", self.status.fence_programs.join(", ")));
        }
        let services: Vec<_> = self
            .status
            .services
            .iter()
            .map(|service| format!("{} {}", service.role, service.id))
            .collect();
        fields.push(("services", services.join("\n")));
        if let Some(have) = &self.status.compute {
            fields.push(("machines", machines(have)));
        }
        let mut pools = String::new();
        for pool in &self.status.pools {
            let (free, capacity) = (Bytes(pool.free_bytes), Bytes(pool.capacity_bytes));
            let reflink = if pool.reflink { ", clones without copying" } else { "" };
            _ = writeln!(pools, "{}: {free} free of {capacity}{reflink}", pool.name);
        }
        fields.push(("pools", pools));
        fields.push(("conditions", conditions(&self.status.conditions, now)));
        fields
    }
}

/// What a node has for machines, and what they claim of it.
fn machines(have: &NodeCompute) -> String {
    format!(
        "{} by {}\ncpus: {} claimed of {} ({} processors)\nmemory: {} claimed of {}",
        have.machines,
        have.hypervisor,
        have.cpus_claimed,
        have.cpus_claimable,
        have.cpus,
        Bytes(have.memory_claimed_bytes),
        Bytes(have.memory_bytes)
    )
}

/// What can cut a node's power.
fn power(power: &NodePower) -> String {
    let device = |device: &PowerDevice| {
        let options = device.options.iter().map(|(name, value)| format!(" {name}={value}"));
        format!(
            "level {}: {}{}\n",
            device.level,
            device.program,
            options.collect::<String>()
        )
    };
    let mut text: String = power.devices.iter().map(device).collect();
    if let Some(after) = power.after_s {
        _ = writeln!(text, "by itself when it has been Unknown for {after} s");
    }
    text
}

fn node_status(node: &Node) -> String {
    let ready = node
        .status
        .conditions
        .iter()
        .find(|condition| condition.kind == "ready")
        .map(|condition| condition.status);
    let word = match (node.status.phase.as_str(), ready) {
        // A manager of the version before says no phase.
        ("", Some(Truth::True)) => "Ready",
        ("", Some(Truth::False)) => "Down",
        ("", Some(Truth::Unknown) | None) => "Unknown",
        (phase, _) => phase,
    };
    let fencing = if node.status.fencing.is_some() { ",Fencing" } else { "" };
    let cordoned = if node.spec.cordoned { ",Cordoned" } else { "" };
    format!("{word}{fencing}{cordoned}")
}

impl Listed for Plugin {
    const HEADERS: &'static [&'static str] = &[
        "NAME",
        "VERSION",
        "SLOT",
        "ACTIVE",
        "DIGEST",
        "AGE",
        "SIZE",
        "INTERFACE",
        "ORIGIN",
        "DESCRIPTION",
    ];
    const NARROW: usize = 6;

    fn cells(&self, now: Timestamp) -> Vec<String> {
        vec![
            self.name.clone(),
            self.version.clone(),
            self.slot.clone(),
            or_dash(self.active_in.join(",")),
            short(&self.digest).to_owned(),
            age(self.uploaded_at, now),
            Bytes(self.size_bytes).to_string(),
            self.interface.clone(),
            if self.first_party { "symphony" } else { "uploaded" }.to_owned(),
            or_dash(self.description.clone()),
        ]
    }

    fn name(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    fn details(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.name.clone()),
            ("version", self.version.clone()),
            ("description", self.description.clone()),
            ("slot", self.slot.clone()),
            ("active in", self.active_in.join(", ")),
            ("digest", self.digest.clone()),
            ("size", Bytes(self.size_bytes).to_string()),
            ("interface", self.interface.clone()),
            (
                "origin",
                if self.first_party {
                    "came with symphony"
                } else {
                    "uploaded"
                }
                .to_owned(),
            ),
            (
                "uploaded",
                format!("{} ({} ago)", moment(self.uploaded_at), age(self.uploaded_at, now)),
            ),
            ("id", self.id.to_string()),
        ]
    }
}

impl Listed for Slot {
    const HEADERS: &'static [&'static str] = &["SLOT", "PLUGIN", "DIGEST", "AGE", "CONFIG", "REASON"];
    const NARROW: usize = 4;

    fn cells(&self, now: Timestamp) -> Vec<String> {
        vec![
            self.name.clone(),
            self.plugin.clone().unwrap_or_else(|| "built-in".to_owned()),
            or_dash(self.active.as_deref().map(|digest| short(digest).to_owned())),
            or_dash(self.since.map(|since| age(since, now))),
            self.config.to_string(),
            or_dash(self.reason.clone()),
        ]
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

impl Listed for Service {
    const HEADERS: &'static [&'static str] = &["ID", "ROLE", "NODE", "STATUS", "AGE", "VERSION", "ADDRESS"];
    const NARROW: usize = 5;

    fn cells(&self, now: Timestamp) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.role.clone(),
            or_dash(self.node.clone()),
            self.status.as_str().to_owned(),
            age(self.since, now),
            or_dash(self.version.clone()),
            or_dash(self.address.clone()),
        ]
    }

    fn name(&self) -> String {
        self.id.to_string()
    }
}

impl Listed for Event {
    const HEADERS: &'static [&'static str] = &[
        "AGE", "SEVERITY", "REASON", "SUBJECT", "TOOK", "MESSAGE", "AT", "PROJECT", "ID",
    ];
    const NARROW: usize = 6;

    fn cells(&self, now: Timestamp) -> Vec<String> {
        vec![
            age(self.at, now),
            severity(self.severity).to_owned(),
            self.reason.clone(),
            format!("{}/{}", self.subject.kind, self.subject.name),
            or_dash(took(self)),
            self.message.clone(),
            self.at.to_string(),
            or_dash(self.subject.project.clone()),
            self.id.to_string(),
        ]
    }

    fn name(&self) -> String {
        self.id.to_string()
    }
}

/// A moment to the second: enough for people.
pub(crate) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The word for it.
pub(crate) const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Normal => "Normal",
        Severity::Warning => "Warning",
    }
}

fn identity(meta: &Metadata, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("name", meta.name.clone()),
        ("id", meta.id.to_string()),
        ("project", meta.project.clone()),
        ("labels", labels(&meta.labels)),
        (
            "created",
            format!("{} ({} ago)", moment(meta.created_at), age(meta.created_at, now)),
        ),
        (
            "generation",
            format!("{} (revision {})", meta.generation, meta.revision),
        ),
    ];
    if let Some(since) = meta.deleting_since {
        fields.push(("deleting", format!("since {since}")));
    }
    fields
}

fn labels(labels: &Labels) -> String {
    or_dash(
        labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(","),
    )
}

fn conditions(conditions: &[Condition], now: Timestamp) -> String {
    let mut text = String::new();
    for condition in conditions {
        let status = match condition.status {
            Truth::True => "yes",
            Truth::False => "no",
            Truth::Unknown => "unknown",
        };
        _ = write!(
            text,
            "{} {status} ({}, {} ago)",
            condition.kind,
            condition.reason,
            age(condition.since, now)
        );
        if !condition.message.is_empty() {
            _ = write!(text, ": {}", condition.message.replace('\n', " "));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
