//! The runtime with the first-party scheduler in it, as a manager has it.

use std::error::Error;

use symphony_runtime::{Compiled, Compiler, Limits, Options, Runtime, SchedulerPlugin};

/// A prepared scheduler.
pub(crate) struct Sandbox {
    compiled: Compiled,
    /// Compiled code lies there as long as this value lives.
    _cache: tempfile::TempDir,
}

impl Sandbox {
    /// Compiles `spread`, with a manager's limits: fuel is on.
    pub(crate) async fn open() -> Result<Self, Box<dyn Error>> {
        let cache = tempfile::tempdir()?;
        let runtime = Runtime::open(Options {
            cache_dir: cache.path().to_owned(),
            compiler: Compiler::this_program(),
            limits: Limits::default(),
        })?;
        let compiled = runtime.prepare(symphony_tests::component("spread").into()).await?;
        Ok(Self {
            compiled,
            _cache: cache,
        })
    }

    /// A fresh instance on its own thread.
    pub(crate) async fn start(&self) -> Result<SchedulerPlugin, Box<dyn Error>> {
        Ok(SchedulerPlugin::start(&self.compiled, "{}").await?)
    }
}
