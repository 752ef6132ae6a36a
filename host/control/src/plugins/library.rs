//! The components themselves: in pieces in the store, for all managers, before they are on record; and as files named by
//! digest in this manager's folder, so that they are fetched once.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use symphony_core::digest::Digest;
use symphony_core::keys;
use symphony_core::plugin::COMPONENT_BYTES_MAX;
use symphony_runtime::inspect;
use symphony_runtime::smoke::smoke;
use symphony_runtime::{
    Compiled, DriverPlugin, Hosted, Manifest, PluginFault, PrepareError, Rejected, Runtime, SchedulerPlugin,
};
use symphony_store::{Range, Store, StoreExt as _, read_all};

use crate::write::WriteError;

/// Bytes of a piece in the store.
const PART_BYTES: usize = 512 << 10;
/// Pieces that are read at a time.
const PARTS_PAGE: usize = 8;

/// Why a component is not taken in.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It can't be a plugin here.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// It can't be compiled within the limits, or is cut off while it is.
    #[error("the component could not be compiled")]
    Compile(#[source] PrepareError),
    /// It fails its first run.
    #[error(transparent)]
    Smoke(PluginFault),
    /// It can't be kept.
    #[error("the component could not be stored")]
    Disk(#[source] std::io::Error),
    /// The store.
    #[error("the component could not be written to the store")]
    Store(#[from] symphony_store::Error),
    /// It can't be put on record.
    #[error("the plugin could not be recorded")]
    Write(#[from] WriteError),
}

/// Why a component that was taken in can't serve.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Its file is missing or unreadable.
    #[error("its component {digest} can't be read")]
    Missing {
        /// Which.
        digest: Digest,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store does not have it, or has other bytes.
    #[error("its component {0} is not in the store; push it again")]
    Lost(Digest),
    /// The store.
    #[error("its component can't be fetched from the store")]
    Store(#[from] symphony_store::Error),
    /// It can't be compiled any more.
    #[error("it can't be compiled")]
    Compile(#[source] PrepareError),
    /// It does not start.
    #[error(transparent)]
    Fault(#[from] PluginFault),
}

/// The folder of components, and the wasm host that runs them.
pub(crate) struct Library {
    dir: PathBuf,
    runtime: Runtime,
    store: Arc<dyn Store>,
}

impl Library {
    /// Opens the folder; it is made when it is missing.
    pub(crate) fn open(dir: PathBuf, runtime: Runtime, store: Arc<dyn Store>) -> std::io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        Ok(Self { dir, runtime, store })
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Checks, compiles and tries a component, then keeps its file.
    pub(crate) async fn keep(&self, bytes: Vec<u8>) -> Result<Manifest, UploadError> {
        if bytes.len() as u64 > COMPONENT_BYTES_MAX {
            return Err(Rejected::TooLarge {
                bytes: bytes.len() as u64,
            }
            .into());
        }
        let bytes: Arc<[u8]> = bytes.into();
        let compiled = self
            .runtime
            .prepare(Arc::clone(&bytes))
            .await
            .map_err(|error| match error {
                PrepareError::Rejected(rejected) => UploadError::Rejected(rejected),
                other => UploadError::Compile(other),
            })?;
        smoke(&compiled, "{}").await.map_err(UploadError::Smoke)?;
        let manifest = compiled.manifest().clone();
        self.share(&manifest.digest, &bytes).await?;
        self.write(manifest.digest, bytes).await.map_err(UploadError::Disk)?;
        Ok(manifest)
    }

    /// Puts a component's bytes into the store, in pieces. Pieces that are there are the same: they are named by digest.
    async fn share(&self, digest: &Digest, bytes: &[u8]) -> Result<(), symphony_store::Error> {
        let mut known = Range::prefix(keys::plugin_parts(digest));
        known.keys_only = true;
        let known = self.store.range(known).await?.kvs.len();
        for (number, part) in bytes.chunks(PART_BYTES).enumerate().skip(known) {
            self.store.put(keys::plugin_part(digest, number), part.to_vec()).await?;
        }
        Ok(())
    }

    async fn write(&self, digest: Digest, bytes: Arc<[u8]>) -> std::io::Result<()> {
        let path = self.path(&digest);
        let written = symphony_runtime::blocking::run(move || write_durably(&path, &bytes)).await;
        written.map_err(std::io::Error::other)?
    }

    /// A component's bytes, from the folder or else from the store.
    async fn bytes(&self, digest: Digest) -> Result<Arc<[u8]>, LoadError> {
        let path = self.path(&digest);
        let read = symphony_runtime::blocking::run(move || std::fs::read(path)).await;
        match read.unwrap_or_else(|gone| Err(std::io::Error::other(gone))) {
            Ok(bytes) => return Ok(bytes.into()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(LoadError::Missing { digest, source }),
        }
        let parts = read_all(
            self.store.as_ref(),
            Range::prefix(keys::plugin_parts(&digest)),
            PARTS_PAGE,
        )
        .await?;
        let bytes: Vec<u8> = parts.kvs.iter().flat_map(|part| part.value.iter().copied()).collect();
        if inspect::digest(&bytes) != digest {
            return Err(LoadError::Lost(digest));
        }
        let bytes: Arc<[u8]> = bytes.into();
        let written = self.write(digest, Arc::clone(&bytes)).await;
        written.map_err(|source| LoadError::Missing { digest, source })?;
        Ok(bytes)
    }

    pub(crate) async fn scheduler(&self, digest: Digest, config: &str) -> Result<Arc<SchedulerPlugin>, LoadError> {
        let compiled = self.compiled(digest).await?;
        Ok(Arc::new(SchedulerPlugin::start(&compiled, config).await?))
    }

    pub(crate) async fn driver<K: Hosted>(
        &self,
        digest: Digest,
        config: &str,
    ) -> Result<Arc<DriverPlugin<K>>, LoadError> {
        let compiled = self.compiled(digest).await?;
        Ok(Arc::new(DriverPlugin::start(&compiled, config).await?))
    }

    async fn compiled(&self, digest: Digest) -> Result<Compiled, LoadError> {
        let bytes = self.bytes(digest).await?;
        self.runtime.prepare(bytes).await.map_err(LoadError::Compile)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{}.wasm", digest.hex()))
    }
}

/// Writes a file so that it is there whole or not at all, also after a power cut.
fn write_durably(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|known| known.len() == bytes.len() as u64) {
        return Ok(());
    }
    let partial = path.with_extension("partial");
    let mut file = std::fs::File::create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    symphony_crash::point("control.plugin.before_rename");
    std::fs::rename(&partial, path)?;
    path.parent().map_or(Ok(()), |dir| std::fs::File::open(dir)?.sync_all())
}
