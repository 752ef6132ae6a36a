//! Projects: tenants, and how much each may have. The project [`DEFAULT`] is always there, without a record and without
//! quotas until it is given some.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::machine::Machine;
use crate::name::Name;
use crate::quantity::Bytes;
use crate::volume::Volume;

/// The project that is always there.
pub const DEFAULT: &str = "default";
/// Most projects.
pub const PROJECTS_MAX: u64 = 10_000;
/// Largest quota: what JSON can say exactly.
pub const QUOTA_MAX: u64 = (1 << 53) - 1;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its name.
    pub name: Name,
    /// How much it may have.
    #[serde(default)]
    pub quota: Quota,
    /// For display.
    pub created_at: Timestamp,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Machines, also those that are off.
    Machines,
    /// Virtual processors of all machines, also of those that are off.
    Cpus,
    /// Memory of all machines, also of those that are off.
    MemoryBytes,
    /// Volumes.
    Volumes,
    /// The sizes of all volumes.
    VolumeBytes,
    /// Networks.
    Networks,
    /// Images.
    Images,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Machines,
        Self::Cpus,
        Self::MemoryBytes,
        Self::Volumes,
        Self::VolumeBytes,
        Self::Networks,
        Self::Images,
    ];

    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Machines => "machines",
            Self::Cpus => "cpus",
            Self::MemoryBytes => "memory_bytes",
            Self::Volumes => "volumes",
            Self::VolumeBytes => "volume_bytes",
            Self::Networks => "networks",
            Self::Images => "images",
        }
    }

    /// So much of it, in words: `3 machines`, `2GiB of memory`.
    #[must_use]
    pub fn in_words(self, amount: u64) -> String {
        let plural = if amount == 1 { "" } else { "s" };
        let thing = match self {
            Self::MemoryBytes => return format!("{} of memory", Bytes(amount)),
            Self::VolumeBytes => return format!("{} in volumes", Bytes(amount)),
            Self::Machines => "machine",
            Self::Cpus => "processor",
            Self::Volumes => "volume",
            Self::Networks => "network",
            Self::Images => "image",
        };
        format!("{amount} {thing}{plural}")
    }
}

/// So much of each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Usage(BTreeMap<Resource, u64>);

impl Usage {
    /// What a machine uses; not its volumes.
    #[must_use]
    pub fn of_machine(machine: &Machine) -> Self {
        let size = machine.spec.size;
        Self::default()
            .with(Resource::Machines, 1)
            .with(Resource::Cpus, u64::from(size.cpus()))
            .with(Resource::MemoryBytes, size.memory_bytes())
    }

    /// What a volume uses.
    #[must_use]
    pub fn of_volume(volume: &Volume) -> Self {
        Self::default()
            .with(Resource::Volumes, 1)
            .with(Resource::VolumeBytes, volume.spec.size.bytes())
    }

    /// With so much more of one.
    #[must_use]
    pub fn with(mut self, resource: Resource, amount: u64) -> Self {
        let sum = self.0.entry(resource).or_default();
        *sum = sum.saturating_add(amount);
        self
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        other
            .0
            .iter()
            .fold(self, |sum, (resource, amount)| sum.with(*resource, *amount))
    }

    /// How much of one.
    #[must_use]
    pub fn get(&self, resource: Resource) -> u64 {
        self.0.get(&resource).copied().unwrap_or_default()
    }

    /// What there is any of, in words: `3 machines, 2GiB of memory`.
    #[must_use]
    pub fn in_words(&self) -> String {
        let some = self.0.iter().filter(|(_, amount)| **amount > 0);
        let words: Vec<String> = some.map(|(resource, amount)| resource.in_words(*amount)).collect();
        words.join(", ")
    }
}

/// The most that a project may have of each; of what is not named, as much as there is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quota(BTreeMap<Resource, u64>);

/// A quota that would be passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub struct Exceeded {
    /// Of what.
    pub resource: Resource,
    /// How much the project has.
    pub used: u64,
    /// How much it may have.
    pub limit: u64,
    /// How much more was asked for.
    pub asked: u64,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |amount| self.resource.in_words(amount);
        write!(
            f,
            "{} more would pass the quota of {}: it has {}",
            words(self.asked),
            words(self.limit),
            words(self.used)
        )
    }
}

impl Quota {
    /// The limit of one, if it has any.
    #[must_use]
    pub fn get(&self, resource: Resource) -> Option<u64> {
        self.0.get(&resource).copied()
    }

    /// Sets a limit, or takes it away.
    pub fn set(&mut self, resource: Resource, limit: Option<u64>) {
        match limit {
            Some(limit) => self.0.insert(resource, limit),
            None => self.0.remove(&resource),
        };
    }

    /// All limits that there are.
    pub fn iter(&self) -> impl Iterator<Item = (Resource, u64)> {
        self.0.iter().map(|(resource, limit)| (*resource, *limit))
    }

    /// Whether it limits anything of what is asked for.
    #[must_use]
    pub fn concerns(&self, asked: &Usage) -> bool {
        self.iter().any(|(resource, _)| asked.get(resource) > 0)
    }

    /// All limits that what is asked for would pass. What is over its limit already (the limit was lowered) stays, and gets
    /// no more.
    #[must_use]
    pub fn exceeded(&self, used: &Usage, asked: &Usage) -> Vec<Exceeded> {
        let all = self.iter().map(|(resource, limit)| Exceeded {
            resource,
            used: used.get(resource),
            limit,
            asked: asked.get(resource),
        });
        all.filter(|it| it.asked > 0 && it.used.saturating_add(it.asked) > it.limit)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_limited_and_asked_for_is_refused() {
        let mut quota = Quota::default();
        quota.set(Resource::Machines, Some(2));
        quota.set(Resource::MemoryBytes, Some(4 << 30));
        let used = Usage::default()
            .with(Resource::Machines, 2)
            .with(Resource::MemoryBytes, 1 << 30)
            .with(Resource::Volumes, 99);
        let machine = Usage::default()
            .with(Resource::Machines, 1)
            .with(Resource::MemoryBytes, 3 << 30);
        let exceeded = quota.exceeded(&used, &machine);
        assert_eq!(exceeded.len(), 1);
        assert_eq!(
            exceeded[0].to_string(),
            "1 machine more would pass the quota of 2 machines: it has 2 machines"
        );
        let memory = Usage::default().with(Resource::MemoryBytes, 3 << 30);
        assert!(quota.exceeded(&used, &memory).is_empty(), "up to the limit");
        assert_eq!(quota.exceeded(&used, &memory.with(Resource::MemoryBytes, 1)).len(), 1);
        let volume = Usage::default().with(Resource::Volumes, 1);
        assert!(!quota.concerns(&volume) && quota.exceeded(&used, &volume).is_empty());
        quota.set(Resource::Machines, None);
        assert!(quota.exceeded(&used, &machine).is_empty());
        quota.set(Resource::Machines, Some(1));
        assert!(
            quota.exceeded(&used, &Usage::default()).is_empty(),
            "what is there stays"
        );
        let endless = Usage::default().with(Resource::Machines, u64::MAX);
        assert_eq!(quota.exceeded(&used, &endless).len(), 1, "no overflow");
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut quota = Quota::default();
        quota.set(Resource::VolumeBytes, Some(7));
        let project = Project {
            name: "web".parse().unwrap(),
            quota,
            created_at: Timestamp::from_second(1).unwrap(),
        };
        let written = serde_json::to_value(&project).unwrap();
        assert_eq!(written["quota"], serde_json::json!({"volume_bytes": 7}));
        assert_eq!(serde_json::from_value::<Project>(written).unwrap(), project);
        for resource in Resource::ALL {
            assert_eq!(serde_json::to_value(resource).unwrap(), resource.as_str());
        }
    }
}
