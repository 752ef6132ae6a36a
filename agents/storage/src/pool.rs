//! A pool: a folder of volumes and a cache of images, held open, and what its file system can do.

mod reflink;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use symphony_agent::StepError;
use symphony_agent::folder::Folder;
use symphony_core::digest::Digest;
use symphony_core::name::Name;
use symphony_core::plan::volume::{Fact, ImageState};
use symphony_core::quantity::{Bytes, SizeError};
use symphony_protocol::config::PoolConfig;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Most files of one folder that are looked at when a pool is opened.
const NAMES_MAX: usize = 1 << 20;

/// Why a pool can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// Its folder.
    #[error("pool {pool} at {path} can't be opened")]
    Open {
        /// Which pool.
        pool: Name,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its capacity.
    #[error("the capacity of pool {pool} is not a size")]
    Capacity {
        /// Which pool.
        pool: Name,
        /// Why.
        #[source]
        source: SizeError,
    },
    /// The HTTP client that fetches images.
    #[error("fetching images can't be prepared")]
    Client(#[source] reqwest::Error),
}

/// An open pool.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) name: Name,
    pub(crate) dir: Dir,
    pub(crate) volumes: Folder,
    pub(crate) cache: Folder,
    pub(crate) capacity_bytes: u64,
    pub(crate) reflink: bool,
    images: Mutex<HashMap<Digest, Weak<AsyncMutex<()>>>>,
}

impl Pool {
    pub(crate) fn open(config: &PoolConfig, path: &Path) -> Result<Self, PoolError> {
        let failed = |source| PoolError::Open {
            pool: config.name.clone(),
            path: path.to_owned(),
            source,
        };
        Dir::create_ambient_dir_all(path, ambient_authority()).map_err(failed)?;
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(failed)?;
        let volumes = Folder::open(&dir, "volumes").map_err(failed)?;
        let cache = Folder::open(&dir, "cache").map_err(failed)?;
        let size_bytes = file_system(&dir).map_err(failed)?.size_bytes;
        let capacity_bytes = match &config.capacity {
            None => size_bytes,
            Some(text) => {
                let parsed = text.parse::<Bytes>();
                parsed
                    .map_err(|source| PoolError::Capacity {
                        pool: config.name.clone(),
                        source,
                    })?
                    .0
            }
        };
        settle(&volumes, &cache).map_err(failed)?;
        let reflink = reflink::probe(&volumes).map_err(failed)?;
        Ok(Self {
            name: config.name.clone(),
            dir,
            volumes,
            cache,
            capacity_bytes,
            reflink,
            images: Mutex::default(),
        })
    }

    /// Waits until nobody else works on an image of the cache.
    pub(crate) async fn lock_image(&self, digest: Digest) -> OwnedMutexGuard<()> {
        let lock = {
            let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
            images.retain(|_, lock| lock.strong_count() > 0);
            let found = images.get(&digest).and_then(Weak::upgrade);
            found.unwrap_or_else(|| {
                let lock = Arc::new(AsyncMutex::new(()));
                images.insert(digest, Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }

    /// The fact of an image.
    pub(crate) fn image_fact(&self, digest: Digest) -> Result<Fact, StepError> {
        let length = |file: String| {
            self.cache
                .length(&file)
                .map_err(StepError::io(format!("look at cache/{file}")))
        };
        let state = if length(unpacked(digest))?.is_some() {
            ImageState::Unpacked
        } else if length(fetched(digest))?.is_some() {
            ImageState::Fetched
        } else {
            ImageState::Absent
        };
        Ok(Fact::Image {
            digest: digest.to_string(),
            state,
        })
    }

    /// The fact of the pool.
    pub(crate) fn fact(&self) -> Result<Fact, StepError> {
        let file_system = file_system(&self.dir).map_err(StepError::io("look at the pool's file system"))?;
        Ok(Fact::Pool {
            reflink: self.reflink,
            free_bytes: file_system.free_bytes,
        })
    }
}

/// The cache's file of an image as it is stored.
pub(crate) fn fetched(digest: Digest) -> String {
    format!("{}.src", digest.hex())
}

/// The cache's file of an image's raw copy.
pub(crate) fn unpacked(digest: Digest) -> String {
    format!("{}.raw", digest.hex())
}

/// While it is being made.
pub(crate) fn partial(file: &str) -> String {
    format!("{file}.partial")
}

/// Makes durable what the last process did not get to flush, and clears what it left half-way. From here on, what a
/// fact shows is on the disk.
fn settle(volumes: &Folder, cache: &Folder) -> io::Result<()> {
    let names: HashSet<_> = volumes.names(NAMES_MAX)?.into_iter().collect();
    for name in &names {
        if let Some(object) = name.strip_suffix(".written") {
            // Of a volume that was published, or of nothing.
            if !names.contains(&format!("{object}.partial")) {
                volumes.remove(name)?;
            }
        } else if name.ends_with(".raw") {
            match volumes.open_read(name) {
                Ok(file) => file.sync_all()?,
                Err(error) => tracing::warn!(%error, "volumes/{name} is damaged"),
            }
        }
    }
    volumes.sync()?;
    for name in cache.names(NAMES_MAX)? {
        if name.ends_with(".raw.partial") {
            cache.remove(&name)?;
        }
    }
    cache.sync()
}

struct FileSystem {
    size_bytes: u64,
    free_bytes: u64,
}

fn file_system(dir: &Dir) -> io::Result<FileSystem> {
    let stat = rustix::fs::fstatvfs(dir)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(FileSystem {
        size_bytes: bytes(stat.f_blocks),
        free_bytes: bytes(stat.f_bavail),
    })
}

/// The file of a whole volume, in a pool with this folder: what a machine has as its disk.
#[must_use]
pub fn volume_file(pool: &Path, volume: symphony_core::id::VolumeId) -> PathBuf {
    pool.join("volumes").join(crate::object::whole(volume))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_made_when_missing_and_belongs_to_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/pool");
        let config = PoolConfig {
            name: "p".parse().unwrap(),
            path: path.clone(),
            capacity: Some("2GiB".into()),
        };
        let pool = Pool::open(&config, &path).unwrap();
        assert_eq!(pool.capacity_bytes, 2 << 30);
        assert!(matches!(pool.fact().unwrap(), Fact::Pool { free_bytes, .. } if free_bytes > 0));
        assert!(matches!(Pool::open(&config, &path), Err(PoolError::Open { .. })));
        drop(pool);
        let whole = PoolConfig {
            capacity: None,
            ..config
        };
        assert!(Pool::open(&whole, &path).unwrap().capacity_bytes > 0);
    }

    #[test]
    fn an_opened_pool_has_nothing_half_done() {
        let folder = tempfile::tempdir().unwrap();
        let config = PoolConfig {
            name: "p".parse().unwrap(),
            path: folder.path().into(),
            capacity: None,
        };
        drop(Pool::open(&config, folder.path()).unwrap());
        let left = [
            "volumes/a.raw",
            "volumes/a.written",
            "volumes/b.partial",
            "volumes/b.written",
            "volumes/c.written",
        ];
        for file in left
            .iter()
            .chain(&["cache/d.raw.partial", "cache/e.src.partial", "cache/f.raw"])
        {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        let pool = Pool::open(&config, folder.path()).unwrap();
        let mut names = pool.volumes.names(10).unwrap();
        names.sort();
        assert_eq!(names, ["a.raw", "b.partial", "b.written"]);
        let mut names = pool.cache.names(10).unwrap();
        names.sort();
        assert_eq!(names, ["e.src.partial", "f.raw"]);
    }

    #[test]
    fn a_pool_whose_folder_is_a_symlink_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = folder.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        let path = folder.path().join("pool");
        std::fs::create_dir(&path).unwrap();
        std::os::unix::fs::symlink(&elsewhere, path.join("volumes")).unwrap();
        let config = PoolConfig {
            name: "p".parse().unwrap(),
            path: path.clone(),
            capacity: None,
        };
        assert!(Pool::open(&config, &path).is_err());
        assert_eq!(std::fs::read_dir(elsewhere).unwrap().count(), 0);
    }
}
