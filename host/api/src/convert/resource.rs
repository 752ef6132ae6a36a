//! The resources.

use std::collections::BTreeMap;

use symphony_core as core;
use symphony_core::image::{Format, ImagePhase};
use symphony_core::place::Ledger;
use symphony_core::volume::VolumePhase;

use super::{condition, conditions, labels, meta, placement};
use crate::v1::{self, Kind};

/// A volume; `revision` is that of its record.
#[must_use]
pub fn volume(volume: &core::volume::Volume, revision: u64) -> v1::Volume {
    let image = |source: &core::volume::ImageSource| v1::VolumeImage {
        name: source.image.to_string(),
        digest: source.digest.to_string(),
        format: format(source.format),
        virtual_bytes: source.virtual_bytes,
    };
    v1::Volume {
        kind: Kind::Volume,
        meta: meta(&volume.meta, volume.meta.id.uuid(), revision),
        spec: v1::VolumeSpec {
            size: volume.spec.size.bytes(),
            pool: volume.spec.pool.as_ref().map(ToString::to_string),
            require: labels(&volume.spec.require),
            image: volume.spec.source.as_ref().map(image),
        },
        status: v1::VolumeStatus {
            phase: volume_phase(volume),
            observed_generation: volume.status.observed_generation.0,
            size_bytes: volume.status.size_bytes,
            placement: volume.placement.as_ref().map(placement::placement),
            machine: volume.machine.as_ref().map(|holder| holder.name.to_string()),
            conditions: conditions(&volume.status.conditions),
        },
    }
}

// From the moment that someone asked to delete it, a volume is seen as going, whatever its status still says.
fn volume_phase(volume: &core::volume::Volume) -> v1::VolumePhase {
    match volume.status.phase {
        _ if volume.meta.is_deleting() => v1::VolumePhase::Deleting,
        VolumePhase::Pending => v1::VolumePhase::Pending,
        VolumePhase::Unplaceable => v1::VolumePhase::Unplaceable,
        VolumePhase::Creating => v1::VolumePhase::Creating,
        VolumePhase::Ready => v1::VolumePhase::Ready,
        VolumePhase::Resizing => v1::VolumePhase::Resizing,
        VolumePhase::Deleting => v1::VolumePhase::Deleting,
        VolumePhase::Failed => v1::VolumePhase::Failed,
    }
}

fn format(format: Format) -> v1::ImageFormat {
    match format {
        Format::Raw => v1::ImageFormat::Raw,
        Format::Qcow2 => v1::ImageFormat::Qcow2,
    }
}

/// An image; `revision` is that of its record.
#[must_use]
pub fn image(image: &core::image::Image, revision: u64) -> v1::Image {
    v1::Image {
        kind: Kind::Image,
        meta: meta(&image.meta, image.meta.id.uuid(), revision),
        spec: v1::ImageSpec {
            digest: image.spec.digest.to_string(),
            format: format(image.spec.format),
            stored_bytes: image.spec.stored_bytes,
            virtual_bytes: image.spec.virtual_bytes,
            node: image.spec.node.to_string(),
        },
        status: v1::ImageStatus {
            phase: match image.status.phase {
                _ if image.meta.is_deleting() => v1::ImagePhase::Deleting,
                ImagePhase::Pending => v1::ImagePhase::Pending,
                ImagePhase::Ready => v1::ImagePhase::Ready,
                ImagePhase::Failed => v1::ImagePhase::Failed,
                ImagePhase::Deleting => v1::ImagePhase::Deleting,
            },
            observed_generation: image.status.observed_generation.0,
            conditions: conditions(&image.status.conditions),
        },
    }
}

/// A node with what is claimed on it; `revision` is that of the node's record.
#[must_use]
pub fn node(node: &core::node::Node, ledger: Option<&Ledger>, revision: u64) -> v1::Node {
    let pool = |pool: &core::node::Pool| {
        let claimed_bytes = ledger.map_or(0, |ledger| ledger.claimed_bytes(&pool.name));
        v1::NodePool {
            name: pool.name.to_string(),
            capacity_bytes: pool.capacity_bytes,
            claimed_bytes,
            free_bytes: pool.capacity_bytes.saturating_sub(claimed_bytes),
            reflink: pool.reflink,
        }
    };
    let services = node.status.services.iter();
    v1::Node {
        kind: Kind::Node,
        meta: meta(&node.meta, node.meta.id.uuid(), revision),
        spec: v1::NodeSpec {
            cordoned: node.spec.cordoned,
            power: node.spec.power.as_ref().map(power),
        },
        status: v1::NodeStatus {
            phase: node.phase().as_str().to_owned(),
            schedulable: node.is_schedulable(),
            conditions: vec![condition(&node.status.ready)],
            version: node.status.version.clone(),
            data_url: node.status.data_url.clone(),
            services: services
                .map(|s| v1::NodeService {
                    id: s.id.uuid(),
                    role: s.role.as_str().to_owned(),
                })
                .collect(),
            pools: node.status.pools.iter().map(pool).collect(),
            compute: node
                .status
                .compute
                .as_ref()
                .map(|have| super::machine::compute(have, ledger)),
            underlay: node.status.underlay.map(String::from),
            fence_programs: node.status.fence_programs.clone(),
            fencing: node.status.fencing.as_ref().map(|fencing| v1::NodeFencing {
                since: fencing.since,
                why: fencing.why.clone(),
                held_by: fencing.held_by.clone(),
            }),
        },
    }
}

fn power(power: &core::power::NodePower) -> v1::NodePower {
    let device = |device: &core::power::Device| v1::PowerDevice {
        level: device.level,
        program: device.program.clone(),
        options: device.options.clone(),
    };
    v1::NodePower {
        devices: power.devices.iter().map(device).collect(),
        after_s: power.after_s,
    }
}

/// How a node's power is cut, as it was asked for; nothing when by no devices.
///
/// # Errors
/// It can't be cut so.
pub fn asked_power(power: v1::NodePower) -> Result<Option<core::power::NodePower>, core::power::PowerError> {
    if power.devices.is_empty() && power.after_s.is_none() {
        return Ok(None);
    }
    let device = |device: v1::PowerDevice| core::power::Device {
        level: device.level,
        program: device.program,
        options: device.options,
    };
    let power = core::power::NodePower {
        devices: power.devices.into_iter().map(device).collect(),
        after_s: power.after_s,
    };
    power.check()?;
    Ok(Some(power))
}

/// One role of a node.
#[must_use]
pub fn service(node: &core::node::Node, service: &core::node::Service) -> v1::Service {
    v1::Service {
        kind: Kind::Service,
        id: service.id.uuid(),
        role: service.role.as_str().to_owned(),
        node: node.meta.name.to_string(),
        status: match node.status.ready.truth {
            core::condition::Truth::True => v1::ServiceStatus::Up,
            core::condition::Truth::False => v1::ServiceStatus::Down,
            core::condition::Truth::Unknown => v1::ServiceStatus::Unknown,
        },
        version: node.status.version.clone(),
        address: node.status.data_url.clone(),
        since: service.since,
    }
}

/// A plugin; `active_in` are the slots that it serves in.
#[must_use]
pub fn plugin(plugin: &core::plugin::Plugin, active_in: Vec<String>, revision: u64) -> v1::Plugin {
    v1::Plugin {
        kind: Kind::Plugin,
        id: plugin.id.uuid(),
        name: plugin.name.to_string(),
        version: plugin.version.clone(),
        description: plugin.description.clone(),
        digest: plugin.digest.to_string(),
        slot: plugin.slot.to_string(),
        active_in,
        interface: plugin.interface.clone(),
        size_bytes: plugin.size_bytes,
        first_party: plugin.first_party,
        uploaded_at: plugin.uploaded_at,
        revision,
    }
}

/// A slot; without an activation nothing was ever active in it. `label` is `name@version` of what serves.
#[must_use]
pub fn slot(
    slot: core::plugin::Slot,
    activation: Option<&core::plugin::Activation>,
    label: Option<String>,
    revision: u64,
) -> v1::Slot {
    let empty = || serde_json::Value::Object(serde_json::Map::new());
    let previous = activation
        .map(|activation| activation.previous.as_slice())
        .unwrap_or_default();
    v1::Slot {
        kind: Kind::Slot,
        name: slot.to_string(),
        active: activation
            .and_then(|activation| activation.active)
            .map(|digest| digest.to_string()),
        plugin: label,
        config: activation.map_or_else(empty, |a| serde_json::from_str(&a.config).unwrap_or_else(|_| empty())),
        previous: previous
            .iter()
            .map(|served| served.active.map(|digest| digest.to_string()))
            .collect(),
        reason: activation.map_or_else(
            || "nothing was activated".to_owned(),
            |activation| activation.reason.clone(),
        ),
        since: activation.map(|activation| activation.since),
        revision,
    }
}

/// An event; `revision` is that of its record.
#[must_use]
pub fn event(event: &core::event::Event, revision: u64) -> v1::Event {
    v1::Event {
        kind: Kind::Event,
        id: event.id.uuid(),
        at: event.at,
        severity: match event.severity {
            core::event::Severity::Normal => v1::Severity::Normal,
            core::event::Severity::Warning => v1::Severity::Warning,
        },
        reason: event.reason.clone(),
        subject: v1::Subject {
            kind: event.subject.kind.clone(),
            project: event.subject.project.as_ref().map(ToString::to_string),
            name: event.subject.name.clone(),
            id: event.subject.id.clone(),
        },
        message: event.message.clone(),
        details: event
            .details
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect::<BTreeMap<_, _>>(),
        revision,
    }
}
