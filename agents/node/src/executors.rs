//! The executors of a node's roles.

use std::io;
use std::sync::Arc;

use symphony_agent::config::Config;
use symphony_agent::{Executor, Jail};
use symphony_core::node::Role;
use symphony_image::{ImageExecutor, StoreError};
use symphony_storage::{PoolError, StorageExecutor};

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
    /// Not built yet.
    #[error("the role {0} is not known to this version; it knows block and image")]
    Role(&'static str),
}

/// Opens what the roles need.
pub(crate) async fn open(config: &Config) -> Result<Vec<Arc<dyn Executor>>, ExecutorError> {
    // The kernel's name for this very program: it stays right when the file is replaced by an upgrade.
    let helper = std::path::PathBuf::from("/proc/self/exe");
    let helper = if helper.exists() {
        helper
    } else {
        std::env::current_exe().map_err(ExecutorError::Helper)?
    };
    let jail = Jail::new(helper, config.agent.programs.get("qemu-img").cloned());
    jail.probe().await.map_err(ExecutorError::Jail)?;
    let mut executors: Vec<Arc<dyn Executor>> = Vec::new();
    for role in [Role::Block, Role::Image, Role::Compute, Role::Network] {
        if !config.has(role) {
            continue;
        }
        executors.push(match role {
            Role::Block => Arc::new(StorageExecutor::open(config, jail.clone())?),
            Role::Image => Arc::new(ImageExecutor::open(config, jail.clone())?),
            Role::Compute | Role::Network => return Err(ExecutorError::Role(role.as_str())),
        });
    }
    Ok(executors)
}
