//! What a machine is made of, one line each.

use symphony_api::convert;
use symphony_api::v1::Part;
use symphony_core::machine::{Attachment, Machine, MachinePhase, Port};
use symphony_core::network::rate::Rate;
use symphony_core::quantity::Bytes;
use symphony_core::volume::Volume;
use symphony_store::Store;

use super::disks;
use super::draft::Draft;
use crate::failure::Answer;

/// Of a machine that is not stored.
pub(super) fn of_draft(draft: &Draft) -> Vec<Part> {
    let new = draft.new.iter().map(|new| (&new.volume, true));
    let taken = draft.taken.iter().map(|taken| (&taken.value, false));
    let all: Vec<(&Volume, bool)> = new.chain(taken).collect();
    let mut parts = Vec::new();
    for attachment in &draft.machine.spec.volumes {
        let found = all.iter().find(|(volume, _)| volume.meta.id == attachment.id);
        parts.extend(found.map(|(volume, is_new)| {
            let state = if *is_new { "new" } else { phase(volume) };
            of_volume(attachment, state, details(volume))
        }));
    }
    parts.extend(draft.machine.spec.ports.iter().map(|port| of_port(port, "new")));
    parts
}

/// Of a machine on record.
pub(super) async fn of_machine(store: &dyn Store, machine: &Machine) -> Answer<Vec<Part>> {
    let leaving = &machine.status.leaving;
    let mut parts = Vec::new();
    let own = machine.spec.volumes.iter().map(|volume| (volume, false));
    for (attachment, leaves) in own.chain(leaving.volumes.iter().map(|volume| (volume, true))) {
        let volume = disks::of_machine(store, &machine.meta.project, &attachment.name).await?;
        let volume = volume.filter(|volume| volume.value.meta.id == attachment.id);
        let part = match &volume {
            Some(volume) if leaves => of_volume(attachment, "leaving", details(&volume.value)),
            Some(volume) => of_volume(attachment, phase(&volume.value), details(&volume.value)),
            None => of_volume(attachment, "gone", "it is not on record any more".to_owned()),
        };
        parts.push(part);
    }
    // What a port is going through is known only together with its machine.
    let connected = matches!(machine.status.phase, MachinePhase::Running | MachinePhase::Stopping);
    let state = if connected { "connected" } else { "reserved" };
    parts.extend(machine.spec.ports.iter().map(|port| of_port(port, state)));
    parts.extend(leaving.ports.iter().map(|port| of_port(port, "leaving")));
    Ok(parts)
}

fn of_volume(attachment: &Attachment, state: &str, detail: String) -> Part {
    Part {
        kind: "volume".to_owned(),
        name: attachment.name.to_string(),
        state: state.to_owned(),
        detail,
    }
}

fn phase(volume: &Volume) -> &'static str {
    convert::volume(volume, 0).status.phase.as_str()
}

fn details(volume: &Volume) -> String {
    let mut detail = volume.spec.size.to_string();
    if let Some(source) = &volume.spec.source {
        detail.push_str(&format!(" from image {}", source.image));
    }
    match (&volume.placement, &volume.spec.pool) {
        (Some(placement), _) => detail.push_str(&format!(" in pool {} of {}", placement.pool, placement.node)),
        (None, Some(pool)) => detail.push_str(&format!(" in pool {pool}")),
        (None, None) => {}
    }
    let made = volume.status.size_bytes;
    if made > 0 && made != volume.spec.size.bytes() {
        detail.push_str(&format!(", {} made so far", Bytes(made)));
    }
    detail
}

fn of_port(port: &Port, state: &str) -> Part {
    let mut detail = format!("{} {}", port.address, port.mac);
    if let Some(bits) = port.rate_bits {
        let rate = format!("{bits}bit");
        let rate = rate.parse::<Rate>().map_or(rate, |rate| rate.to_string());
        detail.push_str(&format!(", at most {rate} per second"));
    }
    if !port.allow.is_empty() {
        let rules: Vec<String> = port.allow.iter().map(ToString::to_string).collect();
        detail.push_str(&format!(", lets in {}", rules.join(" ")));
    }
    Part {
        kind: "port".to_owned(),
        name: port.network_name.to_string(),
        state: state.to_owned(),
        detail,
    }
}
