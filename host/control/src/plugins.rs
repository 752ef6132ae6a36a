//! Plugins: taken in, activated, rolled back, and what serves now.
//!
//! - Taking in: checked, compiled in a limited child, run once; then the component is on disk, then it is on record.
//! - [`slots`]: follows the activations and keeps the components that serve loaded.
//! - [`faults`]: counts what goes wrong and takes a failing component out of service.

mod faults;
mod library;
mod slots;

use std::sync::Arc;

use symphony_core::digest::Digest;
use symphony_core::event::Severity;
use symphony_core::id::PluginId;
use symphony_core::keys;
use symphony_core::plugin::{Activation, NothingBefore, Plugin, Slot};
use symphony_runtime::{Manifest, Runtime};
use symphony_store::{Compare, Revision, Txn};

use crate::clock;
use crate::events::{about_plugin, about_slot, event, with};
use crate::view::View;
use crate::write::{TxnRecords as _, WriteError, Writer};

pub(crate) use faults::{FaultKeeper, REPORTS_MAX};
pub(crate) use library::Library;
pub use library::{LoadError, UploadError};
pub(crate) use slots::{Scheduler, Slots};

/// How often a swap is tried when its record changes under it.
const TRIES: u32 = 10;

/// Taking in and swapping plugins. Cheap to clone.
#[derive(Clone)]
pub struct Plugins {
    writer: Writer,
    view: View,
    library: Arc<Library>,
    slots: Slots,
}

/// Why a swap did not happen; what served goes on serving.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    /// No plugin has this digest.
    #[error("there is no plugin {0}; push it first")]
    Unknown(Digest),
    /// The plugin is for another slot.
    #[error("the plugin {plugin} is for {fits}, not for {slot}")]
    WrongSlot {
        /// Its name.
        plugin: String,
        /// What it is for.
        fits: Slot,
        /// What was asked for.
        slot: Slot,
    },
    /// It does not start, or refuses its configuration.
    #[error("the plugin can't be started: {0}")]
    Load(#[source] LoadError),
    /// Nothing served before.
    #[error(transparent)]
    NothingBefore(#[from] NothingBefore),
    /// The slot has no record yet.
    #[error("nothing was ever active in {0}")]
    Empty(Slot),
    /// The store.
    #[error("the swap could not be written")]
    Write(#[from] WriteError),
}

impl Plugins {
    pub(crate) fn new(writer: Writer, view: View, library: Arc<Library>, slots: Slots) -> Self {
        Self {
            writer,
            view,
            library,
            slots,
        }
    }

    /// Takes a component in: checks it, compiles it, runs it once, keeps it. Doing so again changes nothing.
    ///
    /// # Errors
    /// The reason why it is refused; nothing is kept then.
    pub async fn upload(&self, bytes: Vec<u8>) -> Result<Plugin, UploadError> {
        self.take_in(bytes, false).await
    }

    /// The wasm host, for statistics and logs.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        self.library.runtime()
    }

    /// Puts a component in a slot: from the next decision on it serves; decisions under way end on the old one. It is
    /// loaded, and takes its configuration, before anything changes.
    ///
    /// # Errors
    /// See [`ActivateError`]; what served goes on serving.
    pub async fn activate(&self, slot: Slot, digest: Digest, config: &str) -> Result<Activation, ActivateError> {
        let plugin = self
            .view
            .read()
            .plugins
            .get(&digest)
            .map(|plugin| plugin.value.clone())
            .ok_or(ActivateError::Unknown(digest))?;
        if plugin.slot != slot {
            return Err(ActivateError::WrongSlot {
                plugin: plugin.name.to_string(),
                fits: plugin.slot,
                slot,
            });
        }
        let reason = format!("{} {} activated", plugin.name, plugin.version);
        self.swap(slot, &reason, |old, now| {
            Ok(old.map_or_else(
                || Activation {
                    config: config.to_owned(),
                    ..Activation::first(slot, digest, &reason, now)
                },
                |old| old.swapped(Some(digest), config, &reason, now),
            ))
        })
        .await
    }

    /// Puts back what served before.
    ///
    /// # Errors
    /// When nothing did.
    pub async fn rollback(&self, slot: Slot) -> Result<Activation, ActivateError> {
        let reason = "rolled back by request";
        self.swap(slot, reason, |old, now| {
            Ok(old.ok_or(ActivateError::Empty(slot))?.rolled_back(reason, now)?)
        })
        .await
    }

    /// One write of the slot's record; returns when this manager serves by it.
    async fn swap(
        &self,
        slot: Slot,
        reason: &str,
        change: impl Fn(Option<&Activation>, symphony_core::Timestamp) -> Result<Activation, ActivateError>,
    ) -> Result<Activation, ActivateError> {
        for _ in 0..TRIES {
            let old = self.view.read().activations.get(&slot).cloned();
            let next = change(old.as_ref().map(|old| &old.value), clock::now())?;
            if old.as_ref().is_some_and(|old| old.value == next) {
                return Ok(next);
            }
            // Loaded before anything is written: what can't start never serves, also not by a rollback.
            if let Some(digest) = next.active {
                let loaded = self.slots.warm(slot, digest, &next.config).await;
                loaded.map_err(ActivateError::Load)?;
            }
            symphony_crash::point("control.activate.before_commit");
            let key = keys::activation(slot);
            let unchanged = old.map_or_else(
                || Compare::absent(key.clone()),
                |old| Compare::mod_revision(key.clone(), old.revision),
            );
            let mut told = event(Severity::Normal, "activated", about_slot(slot), reason);
            told = with(
                told,
                "digest",
                next.active
                    .map_or_else(|| "built-in".to_owned(), |digest| digest.to_string()),
            );
            let txn = Txn::new()
                .when(unchanged)
                .put_record(key, &next)
                .and_then(|txn| txn.tell(&told))
                .map_err(WriteError::from)?;
            match self.writer.commit(txn).await {
                Ok(revision) => {
                    self.served(slot, revision).await;
                    return Ok(next);
                }
                Err(WriteError::Conflict) => {
                    // Somebody swapped at the same time: their write is on its way to the view.
                    let _ =
                        tokio::time::timeout(std::time::Duration::from_millis(50), self.view.changes().changed()).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(WriteError::Conflict.into())
    }

    async fn served(&self, slot: Slot, revision: Revision) {
        self.view.seen(revision).await;
        self.slots.settled(slot, revision).await;
    }

    /// Takes in a component that came with symphony. One that is on record went through all of that before, here or at
    /// another manager: a new leader does not wait for it again.
    pub(crate) async fn bring(&self, bytes: Vec<u8>) -> Result<Plugin, UploadError> {
        let digest = symphony_runtime::inspect::digest(&bytes);
        let known = self.view.read().plugins.get(&digest).map(|known| known.value.clone());
        match known {
            Some(plugin) => Ok(plugin),
            None => self.take_in(bytes, true).await,
        }
    }

    /// Takes a component in and puts it on record.
    pub(crate) async fn take_in(&self, bytes: Vec<u8>, first_party: bool) -> Result<Plugin, UploadError> {
        let manifest = self.library.keep(bytes).await?;
        let plugin = plugin_of(&manifest, first_party);
        let key = keys::plugin(&manifest.digest);
        let told = event(
            Severity::Normal,
            "plugin-uploaded",
            about_plugin(plugin.name.as_str(), &plugin.digest.to_string()),
            format!("{} {} for {}", plugin.name, plugin.version, plugin.slot),
        );
        symphony_crash::point("control.plugin.before_commit");
        let txn = Txn::new()
            .when(Compare::absent(key.clone()))
            .put_record(key.clone(), &plugin)
            .and_then(|txn| txn.tell(&told));
        match self.writer.commit(txn.map_err(WriteError::from)?).await {
            Ok(revision) => {
                self.view.seen(revision).await;
                Ok(plugin)
            }
            Err(WriteError::Conflict) => {
                // It is on record already, or this manager does not lead any more.
                let known = self
                    .writer
                    .store()
                    .get(&key.into(), None)
                    .await
                    .map_err(WriteError::from)?;
                let known = known.ok_or(WriteError::Conflict)?;
                Ok(symphony_core::record::decode(&known.value).map_err(WriteError::from)?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Puts a component that came with symphony in its slot, unless something was ever there.
    pub(crate) async fn activate_first(&self, plugin: &Plugin) -> Result<(), ActivateError> {
        if self.view.read().activations.contains_key(&plugin.slot) {
            return Ok(());
        }
        self.activate(plugin.slot, plugin.digest, "{}").await.map(|_| ())
    }
}

fn plugin_of(manifest: &Manifest, first_party: bool) -> Plugin {
    Plugin {
        id: PluginId::new(clock::new_uuid()),
        digest: manifest.digest,
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        description: manifest.description.clone(),
        slot: manifest.slot,
        interface: manifest.interface.clone(),
        size_bytes: manifest.size_bytes,
        first_party,
        uploaded_at: clock::now(),
    }
}
