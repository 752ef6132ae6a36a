//! The columns of machines.

use std::fmt::Write as _;

use jiff::Timestamp;
use symphony_api::v1::{CpuMode, Exit, Machine, MachineSpec, Port, Power, RestartPolicy, Wishes};
use symphony_core::quantity::Bytes;

use super::{conditions, identity, labels, moment};
use crate::age::age;
use crate::output::Listed;
use crate::table::or_dash;
use crate::verdicts::{decider, score};

impl Listed for Machine {
    const HEADERS: &'static [&'static str] = &[
        "NAME",
        "PHASE",
        "CPUS",
        "MEMORY",
        "NODE",
        "ADDRESSES",
        "AGE",
        "VOLUMES",
        "NETWORKS",
        "UP",
        "RESTARTS",
        "SCHEDULER",
        "LABELS",
        "ID",
    ];
    const NARROW: usize = 7;

    fn cells(&self, now: Timestamp) -> Vec<String> {
        let placement = self.status.placement.as_ref();
        let ports = |of: fn(&Port) -> &str| or_dash(self.spec.ports.iter().map(of).collect::<Vec<_>>().join(","));
        let volumes: Vec<_> = self.spec.volumes.iter().map(|volume| volume.name.as_str()).collect();
        vec![
            self.meta.name.clone(),
            self.status.phase.as_str().to_owned(),
            self.spec.cpus.to_string(),
            Bytes(self.spec.memory_bytes).to_string(),
            or_dash(placement.map(|placement| placement.node.clone())),
            ports(|port| &port.address),
            age(self.meta.created_at, now),
            or_dash(volumes.join(",")),
            ports(|port| &port.network),
            or_dash(self.status.running_since.map(|since| age(since, now))),
            self.status.restarts.to_string(),
            or_dash(placement.map(|placement| decider(&placement.decided_by))),
            labels(&self.meta.labels),
            self.meta.id.to_string(),
        ]
    }

    fn name(&self) -> String {
        self.meta.name.clone()
    }

    fn details(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let mut fields = identity(&self.meta, now);
        fields.push(("phase", self.status.phase.as_str().to_owned()));
        if let Some(since) = self.status.running_since {
            fields.push(("up", format!("since {} ({})", moment(since), age(since, now))));
        }
        if let Some(hypervisor) = &self.status.hypervisor {
            fields.push(("hypervisor", hypervisor.clone()));
        }
        if let Some(exit) = self.status.exit {
            fields.push(("off because", ended(exit).to_owned()));
        }
        fields.push(("size", size(&self.spec)));
        fields.push(("power", power(self)));
        if let Some(placement) = &self.status.placement {
            fields.push(("node", placement.node.clone()));
            fields.push((
                "decided by",
                format!("{}, score {}", decider(&placement.decided_by), score(placement.score)),
            ));
        }
        fields.push(("volumes", volumes(&self.spec)));
        fields.push((
            "ports",
            self.spec
                .ports
                .iter()
                .map(|port| told_port(port, &self.spec.ports))
                .collect(),
        ));
        let told = first_boot(&self.spec);
        if !told.is_empty() {
            fields.push(("first boot", told));
        }
        let wishes = wishes(&self.spec.wishes);
        if !wishes.is_empty() {
            fields.push(("asks for", wishes));
        }
        fields.push(("conditions", conditions(&self.status.conditions, now)));
        fields
    }
}

fn size(spec: &MachineSpec) -> String {
    let s = if spec.cpus == 1 { "" } else { "s" };
    let mut text = format!("{} cpu{s}, {}", spec.cpus, Bytes(spec.memory_bytes));
    match spec.cpu_mode {
        CpuMode::Automatic => {}
        CpuMode::Host => text.push_str(", the node's processor"),
        CpuMode::Portable => text.push_str(", a portable processor"),
    }
    if spec.hugepages {
        text.push_str(", huge pages");
    }
    text
}

fn power(machine: &Machine) -> String {
    let wanted = match machine.spec.power {
        Power::On => "on",
        Power::Off => "off",
    };
    let restart = match machine.spec.restart {
        RestartPolicy::Always => "always",
        RestartPolicy::OnFailure => "on-failure",
        RestartPolicy::Never => "never",
    };
    let (boots, restarts) = (machine.spec.boots, machine.status.restarts);
    let s = if boots == 1 { "" } else { "s" };
    format!("{wanted}, ordered to boot {boots} time{s}; restart {restart}, {restarts} since")
}

fn volumes(spec: &MachineSpec) -> String {
    let mut text = String::new();
    for (n, volume) in spec.volumes.iter().enumerate() {
        let boot = if n == 0 { ", boots from it" } else { "" };
        let then = if volume.delete_with_machine {
            "deleted with the machine"
        } else {
            "kept"
        };
        _ = writeln!(text, "{}: {then}{boot}", volume.name);
    }
    text
}

fn told_port(port: &Port, all: &[Port]) -> String {
    let mut text = format!("{}: {} {}", port.network, port.address, port.mac);
    // Only its id tells one from the others on its network.
    if all.iter().filter(|other| other.network_id == port.network_id).count() > 1 {
        _ = write!(text, ", id {}", port.id);
    }
    if !port.allow.is_empty() {
        _ = write!(text, ", allows {}", port.allow.join(" "));
    }
    if let Some(rate) = port.rate_bits {
        _ = write!(text, ", at most {}", bits(rate));
    }
    text.push('\n');
    text
}

/// A rate as it is given: `100Mbit`.
fn bits(rate: u64) -> String {
    let units = [(1_000_000_000, "Gbit"), (1_000_000, "Mbit"), (1_000, "kbit")];
    let unit = units
        .into_iter()
        .find(|(factor, _)| rate > 0 && rate.is_multiple_of(*factor));
    unit.map_or_else(
        || format!("{rate}bit"),
        |(factor, unit)| format!("{}{unit}", rate / factor),
    )
}

fn first_boot(spec: &MachineSpec) -> String {
    let mut told = Vec::new();
    if spec.user_data_bytes > 0 {
        told.push(format!("{} of user-data", Bytes(spec.user_data_bytes)));
    }
    match spec.ssh_keys.len() {
        0 => {}
        1 => told.push("1 public key".to_owned()),
        keys => told.push(format!("{keys} public keys")),
    }
    told.join(", ")
}

fn wishes(wishes: &Wishes) -> String {
    let pairs = |what: &'static str, labels: &symphony_api::v1::Labels| {
        let pairs = labels.iter().map(|(key, value)| format!("{what} {key}={value}"));
        pairs.collect::<Vec<_>>()
    };
    let machines =
        |what: &'static str, names: &[String]| names.iter().map(|name| format!("{what} {name}")).collect::<Vec<_>>();
    [
        pairs("require", &wishes.require),
        pairs("prefer", &wishes.prefer),
        machines("apart from", &wishes.apart_from),
        machines("near", &wishes.near),
        wishes
            .remote_volumes
            .then(|| "volumes of other nodes".to_owned())
            .into_iter()
            .collect(),
    ]
    .concat()
    .join(", ")
}

const fn ended(exit: Exit) -> &'static str {
    match exit {
        Exit::NeverRan => "it has not run since its node came up",
        Exit::Guest => "its guest shut itself down",
        Exit::Ordered => "it was ordered to be",
        Exit::Crashed => "it crashed",
        Exit::Failed => "it could not be started",
    }
}

#[cfg(test)]
mod tests {
    use super::bits;

    #[test]
    fn rates_read_as_they_are_given() {
        let rates = [100_000_000, 1_500_000, 1_000, 1_001, 2_000_000_000, 0].map(bits);
        assert_eq!(rates, ["100Mbit", "1500kbit", "1kbit", "1001bit", "2Gbit", "0bit"]);
    }
}
