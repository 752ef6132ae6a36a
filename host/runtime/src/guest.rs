//! One guest in its store: what it may use, what it may say, and how a call into it is paid for and judged.
//!
//! One store per instance: a trap leaves the whole store unusable, and memory is given back only with the store.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::{Engine, ResourceLimiter, Store};

use crate::bindings::scheduler::symphony::plugin::{log as wit_log, scheduling};
use crate::bindings::volume::symphony::plugin::driving;
use crate::fault::{self, FaultKind, PluginFault, clip};
use crate::inspect::Manifest;
use crate::limits::{Limits, RoleLimits};
use crate::log::{Level, PluginLog};
use crate::stats::Stats;

#[cfg(test)]
pub(crate) mod fixture;

/// What all instances of one component share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) manifest: Manifest,
    pub(crate) limits: Arc<Limits>,
    pub(crate) stats: Stats,
    pub(crate) log: PluginLog,
}

impl Shared {
    pub(crate) fn new(manifest: Manifest, limits: Arc<Limits>) -> Self {
        let log = PluginLog::new(manifest.name.clone(), manifest.version.clone(), manifest.digest);
        Self {
            manifest,
            limits,
            stats: Stats::default(),
            log,
        }
    }

    /// The limits of its role.
    pub(crate) fn role(&self) -> &RoleLimits {
        match self.manifest.slot {
            symphony_core::plugin::Slot::VolumeScheduler => &self.limits.scheduler,
            _ => &self.limits.driver,
        }
    }

    /// Counts a fault and gives it its plugin's name.
    pub(crate) fn fault(&self, call: &'static str, kind: FaultKind) -> PluginFault {
        self.stats.fault(kind.reason());
        let Manifest {
            name, version, digest, ..
        } = &self.manifest;
        PluginFault {
            plugin: name.clone(),
            version: version.clone(),
            digest: *digest,
            call,
            kind,
        }
    }
}

/// What a store carries: the guard on its memory and the log of the call under way.
pub(crate) struct Guest {
    guard: Guard,
    shared: Arc<Shared>,
    call: &'static str,
    lines_left: u32,
    said: Option<String>,
}

/// A guest's store, and the only way into it.
pub(crate) struct Sandbox {
    store: Store<Guest>,
    shared: Arc<Shared>,
}

impl Sandbox {
    pub(crate) fn new(engine: &Engine, shared: &Arc<Shared>) -> Self {
        let limits = shared.role();
        let guest = Guest {
            guard: Guard::new(limits),
            shared: Arc::clone(shared),
            call: "",
            lines_left: 0,
            said: None,
        };
        let mut store = Store::new(engine, guest);
        store.limiter(|guest| &mut guest.guard);
        store.set_hostcall_fuel(limits.answer_bytes);
        store.set_max_component_handles(64);
        shared.stats.instance();
        Self {
            store,
            shared: Arc::clone(shared),
        }
    }

    /// Runs one call with this much fuel. After an error the sandbox is of no use any more.
    pub(crate) fn call<T>(
        &mut self,
        name: &'static str,
        fuel: u64,
        run: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> Result<T, PluginFault> {
        let limits = self.shared.role();
        let guest = self.store.data_mut();
        (guest.call, guest.lines_left, guest.said) = (name, limits.log_lines, None);
        if let Err(error) = self.store.set_fuel(fuel) {
            return Err(self.shared.fault(name, FaultKind::Host(fault::chain(&error))));
        }
        let start = Instant::now();
        let result = run(&mut self.store);
        let used = fuel.saturating_sub(self.store.get_fuel().unwrap_or(0));
        self.shared
            .stats
            .called(name, used, start.elapsed(), limits.slow, self.memory_bytes());
        result.map_err(|error| {
            let said = self.store.data().said.as_deref();
            let call = fault::Call {
                name,
                fuel,
                answer_bytes: limits.answer_bytes,
                said,
            };
            self.shared.fault(name, FaultKind::of(&error, &call))
        })
    }

    /// Linear memory in use, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().guard.memory_bytes
    }
}

impl wit_log::Host for Guest {
    fn write(&mut self, level: wit_log::Level, message: String) {
        let level = match level {
            wit_log::Level::Error => Level::Error,
            wit_log::Level::Warn => Level::Warn,
            wit_log::Level::Info => Level::Info,
            wit_log::Level::Debug => Level::Debug,
        };
        let text = clip(&message, self.shared.role().log_line_bytes);
        // Kept even when the lines are used up: it is the reason of a trap that may follow.
        if level == Level::Error {
            self.said = Some(text.clone());
        }
        if self.lines_left == 0 {
            self.shared.log.drop_line();
            return;
        }
        self.lines_left -= 1;
        self.shared.log.write(level, self.call, text);
    }
}

impl scheduling::Host for Guest {}
impl driving::Host for Guest {}

/// A guest asked for more than its limits allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it asked for {wanted} {what}, over the limit of {limit}")]
pub(crate) struct OverLimit {
    what: &'static str,
    wanted: usize,
    limit: usize,
}

/// Counts what an instance has. Growth past a limit is a trap, so that a guest's own allocator can't hide it.
struct Guard {
    memory_bytes: usize,
    memory_bytes_max: usize,
    elements: usize,
    elements_max: usize,
    instances: usize,
    memories: usize,
    tables: usize,
}

impl Guard {
    fn new(limits: &RoleLimits) -> Self {
        Self {
            memory_bytes: 0,
            memory_bytes_max: limits.memory_bytes,
            elements: 0,
            elements_max: limits.table_elements,
            instances: limits.instances,
            memories: limits.memories,
            tables: limits.tables,
        }
    }
}

fn grow(have: &mut usize, by: usize, limit: usize, what: &'static str) -> wasmtime::Result<bool> {
    let wanted = have.saturating_add(by);
    if wanted > limit {
        return Err(wasmtime::Error::new(OverLimit { what, wanted, limit }));
    }
    *have = wanted;
    Ok(true)
}

impl ResourceLimiter for Guard {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        grow(
            &mut self.memory_bytes,
            desired.saturating_sub(current),
            self.memory_bytes_max,
            "bytes of memory",
        )
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        grow(
            &mut self.elements,
            desired.saturating_sub(current),
            self.elements_max,
            "table elements",
        )
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn memories(&self) -> usize {
        self.memories
    }

    fn tables(&self) -> usize {
        self.tables
    }
}

#[cfg(test)]
mod tests;
