//! Whether a project may have more: looked up, and held until the write is done.
//!
//! What a project has is counted from its records each time: there is no counter that could be wrong. That two writes at
//! once don't both take the last of something is held by one key of the project, which each of them compares and writes.

use serde::de::DeserializeOwned;
use symphony_api::{Code, Problem, convert};
use symphony_core::machine::Machine;
use symphony_core::name::Name;
use symphony_core::project::{DEFAULT, Project, Resource, Usage};
use symphony_core::volume::Volume;
use symphony_core::{keys, record};
use symphony_store::{Compare, Range, Revision, Store, Txn, read_all};

use crate::failure::{Answer, Failure};
use crate::reading::{Stored, load};

/// Records that are read at once.
const PAGE: usize = 500;

/// Room for what was asked for, as long as its conditions hold.
pub(crate) struct Room {
    conditions: Vec<Compare>,
    mark: Option<String>,
}

impl Room {
    /// Lets a transaction rest on it.
    pub(crate) fn hold(self, txn: Txn) -> Txn {
        let txn = self.conditions.into_iter().fold(txn, Txn::when);
        match self.mark {
            Some(key) => txn.put(key, Vec::new()),
            None => txn,
        }
    }
}

/// Room for something new. The project must be there.
pub(crate) async fn for_new(store: &dyn Store, project: &Name, asked: &Usage) -> Answer<Room> {
    let stored = find(store, project).await?;
    let stored = stored.ok_or_else(|| missing(project))?;
    room(store, &stored, asked).await
}

/// Refuses what is for a project that is not there.
pub(crate) async fn expect(store: &dyn Store, project: &Name) -> Answer<()> {
    find(store, project).await?.map(drop).ok_or_else(|| missing(project))
}

/// Room for something to grow. What is there from before projects were kept on record may do so.
pub(crate) async fn to_grow(store: &dyn Store, project: &Name, asked: &Usage) -> Answer<Room> {
    match find(store, project).await? {
        Some(stored) => room(store, &stored, asked).await,
        None => Ok(Room {
            conditions: vec![Compare::absent(keys::project(project))],
            mark: None,
        }),
    }
}

/// A project; the one that is always there has revision 0 when it is not on record.
pub(crate) async fn find(store: &dyn Store, project: &Name) -> Answer<Option<Stored<Project>>> {
    let found = load::<Project>(store, &keys::project(project)).await?;
    Ok(found.or_else(|| (project.as_str() == DEFAULT).then(|| implicit(project))))
}

fn implicit(project: &Name) -> Stored<Project> {
    Stored {
        value: Project {
            name: project.clone(),
            quota: symphony_core::project::Quota::default(),
            created_at: symphony_core::Timestamp::UNIX_EPOCH,
        },
        revision: Revision::NONE,
    }
}

pub(crate) fn missing(project: &Name) -> Failure {
    let detail = format!("there is no project {project}; `symphony project create {project}` makes it");
    Failure::new(Code::ProjectNotFound, detail)
}

/// Holds as long as nothing else is written for the project that rests on it; and its key, to be written.
pub(crate) async fn mark(store: &dyn Store, project: &Name) -> Answer<(Compare, String)> {
    let key = keys::quota(project);
    let compare = match store.get(&key.as_str().into(), None).await? {
        Some(kv) => Compare::mod_revision(&key, kv.mod_revision),
        None => Compare::absent(&key),
    };
    Ok((compare, key))
}

async fn room(store: &dyn Store, project: &Stored<Project>, asked: &Usage) -> Answer<Room> {
    let (name, quota) = (&project.value.name, &project.value.quota);
    let mut conditions = vec![Compare::mod_revision(keys::project(name), project.revision)];
    if !quota.concerns(asked) {
        return Ok(Room { conditions, mark: None });
    }
    // Before it is counted: what is written after that changes it.
    let (unchanged, key) = mark(store, name).await?;
    conditions.push(unchanged);
    let counted = |resource: &Resource| asked.get(*resource) > 0 && quota.get(*resource).is_some();
    let used = count(store, name, counted).await?;
    let exceeded = quota.exceeded(&used, asked);
    if exceeded.is_empty() {
        return Ok(Room {
            conditions,
            mark: Some(key),
        });
    }
    let words: Vec<String> = exceeded.iter().map(ToString::to_string).collect();
    let detail = format!("project {name}: {}", words.join("; "));
    let mut problem = Problem::new(Code::QuotaExceeded, detail);
    problem.quotas = exceeded.iter().map(convert::exceeded).collect();
    Err(problem.into())
}

/// What a project has of some resources, also of what is on its way out.
pub(crate) async fn count(store: &dyn Store, project: &Name, wanted: impl Fn(&Resource) -> bool) -> Answer<Usage> {
    use Resource::{Cpus, Images, Machines, MemoryBytes, Networks, VolumeBytes, Volumes};
    let any = |of: &[Resource]| of.iter().any(&wanted);
    let mut used = Usage::default();
    if any(&[Machines, Cpus, MemoryBytes]) {
        for machine in all::<Machine>(store, keys::machines_of(project)).await? {
            used = used.and(&Usage::of_machine(&machine));
        }
    }
    if any(&[Volumes, VolumeBytes]) {
        for volume in all::<Volume>(store, keys::volumes_of(project)).await? {
            used = used.and(&Usage::of_volume(&volume));
        }
    }
    for (resource, prefix) in [
        (Networks, keys::networks_of(project)),
        (Images, keys::images_of(project)),
    ] {
        if wanted(&resource) {
            let counted = store.range(Range::prefix(prefix).count_only()).await?;
            used = used.with(resource, counted.count.unwrap_or_default());
        }
    }
    Ok(used)
}

async fn all<T: DeserializeOwned>(store: &dyn Store, prefix: String) -> Answer<Vec<T>> {
    let kvs = read_all(store, Range::prefix(prefix), PAGE).await?.kvs;
    let decoded = kvs.iter().map(|kv| record::decode(&kv.value));
    Ok(decoded.collect::<Result<_, _>>()?)
}
