//! The executors of a node's roles.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use symphony_agent::config::Config;
use symphony_agent::{Executor, Jail, NoticeSink};
use symphony_compute::{ComputeExecutor, Disks, ServiceError, has_machines};
use symphony_core::node::Role;
use symphony_image::{ImageExecutor, StoreError};
use symphony_network::{NetworkError, NetworkExecutor};
use symphony_pki::Tls;
use symphony_storage::{PoolError, StorageExecutor, volume_file};

use crate::abilities::{self, Lack};

/// Why a role can't be filled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecutorError {
    /// This program's own path, for the jail.
    #[error("this program can't find itself")]
    Helper(#[source] io::Error),
    /// The jail.
    #[error("the jail for qemu-img can't be started")]
    Jail(#[source] io::Error),
    /// Block.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Image.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The memory for machines.
    #[error(transparent)]
    Compute(#[from] ServiceError),
    /// Network.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// What the node lacks for each of these roles.
pub(crate) async fn lacking(config: &Config, roles: &BTreeSet<Role>) -> Vec<(Role, Vec<Lack>)> {
    let mut lacking = Vec::new();
    for role in [Role::Compute, Role::Network] {
        if roles.contains(&role) {
            lacking.push((role, abilities::lacking(config, role).await));
        }
    }
    lacking
}

/// Opens roles of a node, one after the other, as it is let in for them.
pub(crate) struct Opener {
    config: Config,
    jail: Jail,
    tls: Tls,
    notices: NoticeSink,
}

impl Opener {
    /// Finds out whether the jail can be closed.
    pub(crate) async fn new(config: Config, tls: Tls, notices: NoticeSink) -> Result<Self, ExecutorError> {
        // The kernel's name for this very program: it stays right when the file is replaced by an upgrade.
        let helper = std::path::PathBuf::from("/proc/self/exe");
        let helper = if helper.exists() {
            helper
        } else {
            std::env::current_exe().map_err(ExecutorError::Helper)?
        };
        let jail = Jail::new(helper, config.agent.programs.get("qemu-img").cloned());
        jail.probe().await.map_err(ExecutorError::Jail)?;
        Ok(Self {
            config,
            jail,
            tls,
            notices,
        })
    }

    /// Opens what these roles need. Leaves a role out that the node lacks something for, and says so: the others must not
    /// suffer by it.
    pub(crate) async fn open(&self, roles: &BTreeSet<Role>) -> Result<Vec<(Role, Arc<dyn Executor>)>, ExecutorError> {
        let lacking = lacking(&self.config, roles).await;
        if let Some(sentence) = abilities::sentence(&lacking) {
            tracing::warn!("{sentence}");
        }
        let lacks = |role: &Role| lacking.iter().any(|(of, lacks)| of == role && !lacks.is_empty());
        let mut executors = Vec::new();
        for role in roles.iter().filter(|role| !lacks(role)) {
            if let Some(executor) = self.open_one(*role)? {
                executors.push((*role, executor));
            }
        }
        Ok(executors)
    }

    fn open_one(&self, role: Role) -> Result<Option<Arc<dyn Executor>>, ExecutorError> {
        let config = &self.config;
        Ok(Some(match role {
            Role::Block => Arc::new(StorageExecutor::open(config, self.jail.clone(), &self.tls)?),
            Role::Image => Arc::new(ImageExecutor::open(config, self.jail.clone())?),
            Role::Network => Arc::new(NetworkExecutor::open(config)?),
            Role::Compute => {
                match ComputeExecutor::open(config, Arc::new(PoolDisks(config.clone())), self.notices.clone()) {
                    Ok(executor) => Arc::new(executor),
                    // A person must mend the file; the others may pass, but not while this agent runs.
                    Err(error @ ServiceError::Memory(_)) => return Err(error.into()),
                    // Whoever keeps the agent running starts it again, until the machines are looked after.
                    Err(error) if has_machines(config) => return Err(error.into()),
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(error, "no machines on this node until its agent is started again");
                        return Ok(None);
                    }
                }
            }
        }))
    }
}

/// Machines' disks are the volumes of this node's pools.
struct PoolDisks(Config);

impl Disks for PoolDisks {
    fn path(&self, pool: &str, volume: &str) -> io::Result<PathBuf> {
        let missing = |what: String| io::Error::new(io::ErrorKind::NotFound, what);
        let known = self.0.agent.pools.iter().find(|known| known.name.as_str() == pool);
        let known = known.ok_or_else(|| missing(format!("this node has no pool {pool}")))?;
        let id = volume
            .parse()
            .map_err(|_| missing(format!("{volume:?} is no volume")))?;
        // Whoever writes to it from another node is the only one.
        if symphony_storage::is_served(&self.0, id)? {
            let text = format!("volume {volume} is served to another node");
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
        }
        let path = volume_file(&self.0.path(&known.path), id);
        // A link here would give a machine another file than the pool's.
        if path.symlink_metadata()?.is_file() {
            Ok(path)
        } else {
            Err(missing(format!("volume {volume} is no file")))
        }
    }
}
