//! Which volumes are to be served to another node: those whose machine has a place elsewhere. Follows from volumes and
//! machines alone, whatever is on record of exports.

use std::sync::Arc;

use symphony_core::export::Writer;
use symphony_core::id::VolumeId;
use symphony_core::machine::Machine;
use symphony_core::volume::Volume;

use super::{Held, ResourceKey, State};

/// A volume that is to be served, and to whom.
pub(crate) struct Exporting {
    pub(crate) volume: Held<Volume>,
    pub(crate) machine: Held<Machine>,
    pub(crate) writer: Writer,
}

impl State {
    /// A volume, by its id.
    pub(crate) fn volume(&self, id: VolumeId) -> Option<&Held<Volume>> {
        self.volumes.get(self.volume_keys.get(&id)?)
    }

    /// Whether a volume is to be served, and to whom.
    pub(crate) fn exporting(&self, id: VolumeId) -> Option<Exporting> {
        let key = self.exporting.contains(&id).then(|| self.volume_keys.get(&id))??;
        self.is_exporting(key)
    }

    fn is_exporting(&self, key: &ResourceKey) -> Option<Exporting> {
        let volume = self.volumes.get(key)?;
        let holder = volume.value.machine.as_ref()?;
        let machine = self.machines.get(&(key.0.clone(), holder.name.clone()))?;
        let is_its = machine.value.meta.id == holder.id;
        let (there, here) = (&machine.value.placement, volume.value.placement.as_ref()?);
        let there = there.as_ref().filter(|there| is_its && there.node != here.node)?;
        Some(Exporting {
            volume: Arc::clone(volume),
            machine: Arc::clone(machine),
            writer: Writer {
                machine: holder.id,
                node: there.node.clone(),
            },
        })
    }

    /// Takes note of a change of a volume.
    pub(super) fn volume_changed(&mut self, key: &ResourceKey) {
        let Some(id) = self.volumes.get(key).map(|volume| volume.value.meta.id) else {
            return;
        };
        if self.is_exporting(key).is_some() {
            self.exporting.insert(id);
        } else {
            self.exporting.remove(&id);
        }
    }

    /// Takes note of a change of a machine: as it was, or as it is.
    pub(super) fn volumes_of_changed(&mut self, machine: &Machine) {
        let volumes = machine.spec.volumes.iter().chain(&machine.status.leaving.volumes);
        for attachment in volumes {
            self.volume_changed(&(machine.meta.project.clone(), attachment.name.clone()));
        }
    }
}
