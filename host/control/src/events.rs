//! Events of the loops, as values; they are written with the change that they tell of.

use std::collections::BTreeMap;

use symphony_core::condition::MESSAGE_BYTES_MAX;
use symphony_core::event::{Event, Severity, Subject};
use symphony_core::id::EventId;
use symphony_core::image::Image;
use symphony_core::machine::Machine;
use symphony_core::meta::Meta;
use symphony_core::name::Name;
use symphony_core::network::Network;
use symphony_core::plugin::Slot;
use symphony_core::volume::Volume;

use crate::clock;

/// An event about something, now.
pub(crate) fn event(severity: Severity, reason: &str, subject: Subject, message: impl Into<String>) -> Event {
    let mut message: String = message.into();
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    Event {
        id: EventId::new(clock::new_uuid()),
        at: clock::now(),
        severity,
        reason: reason.to_owned(),
        subject,
        message,
        details: BTreeMap::new(),
    }
}

/// Adds a figure or a name for machines.
pub(crate) fn with(mut event: Event, key: &str, value: impl ToString) -> Event {
    event.details.insert(key.to_owned(), value.to_string());
    event
}

/// A tenant's resource as the subject of an event.
fn about<Id: std::fmt::Display>(kind: &str, meta: &Meta<Id>) -> Subject {
    Subject {
        kind: kind.to_owned(),
        project: Some(meta.project.clone()),
        name: meta.name.to_string(),
        id: meta.id.to_string(),
    }
}

pub(crate) fn about_volume(volume: &Volume) -> Subject {
    about("volume", &volume.meta)
}

/// Says which machine has the volume that an event is about: it is part of the machine's story.
pub(crate) fn of_machine(event: Event, volume: &Volume) -> Event {
    match &volume.machine {
        Some(holder) => with(event, "machine", &holder.name),
        None => event,
    }
}

pub(crate) fn about_image(image: &Image) -> Subject {
    about("image", &image.meta)
}

pub(crate) fn about_machine(machine: &Machine) -> Subject {
    about("machine", &machine.meta)
}

pub(crate) fn about_network(network: &Network) -> Subject {
    about("network", &network.meta)
}

pub(crate) fn about_node(name: &Name) -> Subject {
    Subject {
        kind: "node".to_owned(),
        project: None,
        name: name.to_string(),
        id: String::new(),
    }
}

pub(crate) fn about_slot(slot: Slot) -> Subject {
    Subject {
        kind: "slot".to_owned(),
        project: None,
        name: slot.to_string(),
        id: String::new(),
    }
}

pub(crate) fn about_plugin(name: &str, digest: &str) -> Subject {
    Subject {
        kind: "plugin".to_owned(),
        project: None,
        name: name.to_owned(),
        id: digest.to_owned(),
    }
}
