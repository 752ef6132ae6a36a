//! Opening a store's file, and making a new one.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redb::{Builder, Database, DatabaseError, ReadableTable as _, StorageError, WriteTransaction};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::embedded::leases::{self, Leases};
use crate::embedded::shared::Shared;
use crate::embedded::tables::{FORMAT, Heads, META, Tables, failed};
use crate::embedded::writer::{Start, WriterThread};
use crate::embedded::{Embedded, Options};
use crate::{Error, LeaseId, Result};

/// A store's file, opened and read in.
struct Opened {
    database: Database,
    start: Start,
    /// Each lease's time to live.
    leases: Vec<(LeaseId, Duration)>,
}

impl Embedded {
    /// Opens the store in the file `path`, or makes a new one there (readable by its owner only). Its folder must exist.
    ///
    /// After a kill the file is checked first, which takes about 1.5 s for each GiB. Must be called in a tokio runtime.
    /// Errors: `AlreadyOpen`, `UnknownFormat`, `Corrupt` (also when the file is something else), `Failed`.
    pub async fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let cache_bytes = options.cache_bytes;
        let opening = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || open_file(&path, cache_bytes).and_then(read_in))
        };
        let opened = opening.await.unwrap_or_else(|panic| {
            // redb may panic on a file that was altered; its message is all there is to tell.
            Err(Error::Corrupt {
                what: panic.to_string(),
            })
        })?;
        Self::start(opened, Some(path), options)
    }

    /// Opens a store on another kind of storage, for tests of failing disks.
    #[cfg(feature = "conformance")]
    pub async fn open_on(backend: impl redb::StorageBackend, options: Options) -> Result<Self> {
        let database = builder(options.cache_bytes).create_with_backend(backend);
        let database = database.map_err(|error| open_failed(error, Path::new("backend")))?;
        Self::start(read_in(database)?, None, options)
    }

    fn start(opened: Opened, path: Option<PathBuf>, options: Options) -> Result<Self> {
        let leases = Leases::new(Arc::clone(&options.clock));
        for (lease, ttl) in opened.leases {
            leases.start(lease, ttl);
        }
        let (requests, queue) = mpsc::channel(options.queue_len.max(1));
        // Any single request must fit.
        let room = (options.queue_bytes / 1024).max(crate::limits::REQUEST_BYTES_MAX / 1024 + 1);
        let shared = Arc::new(Shared::new(opened.database, path, opened.start.heads, leases, options));
        let writer = WriterThread::spawn(Arc::clone(&shared), queue, opened.start)?;
        let cancel = CancellationToken::new();
        tokio::spawn(leases::run(Arc::clone(&shared), requests.downgrade(), cancel.clone()));
        Ok(Self {
            requests,
            _lease_clock: cancel.drop_guard(),
            _writer: writer,
            shared,
            room: Arc::new(Semaphore::new(room)),
        })
    }
}

fn builder(cache_bytes: usize) -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    builder
}

fn open_file(path: &Path, cache_bytes: usize) -> Result<Database> {
    let io = |error: std::io::Error| Error::Failed {
        source: Arc::new(error),
    };
    if !path.exists() {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(io)?;
    }
    // Without this a power cut could leave a store that was written to and has no name.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .map_err(io)?;
    builder(cache_bytes)
        .create(path)
        .map_err(|error| open_failed(error, path))
}

fn open_failed(error: DatabaseError, path: &Path) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => Error::AlreadyOpen { path: path.to_owned() },
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
            Error::Corrupt {
                what: format!("{} is not a store file", path.display()),
            }
        }
        error => failed(error),
    }
}

/// Makes the tables of a new store, and reads what the writer must know of an old one.
fn read_in(database: Database) -> Result<Opened> {
    let tx = database.begin_write().map_err(failed)?;
    let mut attached = HashMap::new();
    let mut leases = Vec::new();
    let new = check_format(&tx)?;
    let heads;
    {
        let mut tables = Tables::open(&tx)?;
        if new {
            tables.meta.insert("format", FORMAT).map_err(failed)?;
            Heads::NEW.save(&mut tables.meta)?;
        }
        heads = Heads::load(&tables.meta)?;
        for row in tables.leases.iter().map_err(failed)? {
            let (lease, ttl) = row.map_err(failed)?;
            attached.insert(lease.value(), 0);
            leases.push((LeaseId(lease.value()), Duration::from_millis(ttl.value())));
        }
        for row in tables.lease_keys.iter().map_err(failed)? {
            *attached.entry(row.map_err(failed)?.0.value().0).or_default() += 1;
        }
    }
    if new {
        symphony_crash::point("store.create.before");
        tx.commit().map_err(failed)?;
        symphony_crash::point("store.create.after");
    } else {
        tx.abort().map_err(failed)?;
    }
    Ok(Opened {
        database,
        start: Start { heads, attached },
        leases,
    })
}

/// Whether the store is new. Another format may have other tables, so this comes before they are opened.
fn check_format(tx: &WriteTransaction) -> Result<bool> {
    let new = tx.list_tables().map_err(failed)?.next().is_none();
    let meta = tx.open_table(META).map_err(failed)?;
    let format = meta.get("format").map_err(failed)?.map(|row| row.value());
    match format {
        Some(FORMAT) => Ok(false),
        Some(found) => Err(Error::UnknownFormat {
            found,
            supported: FORMAT,
        }),
        None if new => Ok(true),
        None => Err(Error::Corrupt {
            what: "format is missing".to_owned(),
        }),
    }
}
