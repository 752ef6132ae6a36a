//! `symphony restore`: a store from a backup, offline.

use std::io::Write as _;

use symphony_cli::{Failure, Globals};

use crate::args::RestoreArgs;
use crate::folder::Folder;
use crate::manager::state;
use crate::restore::{self, Restored};

/// Does it.
pub(crate) async fn run(globals: &Globals, args: &RestoreArgs) -> Result<(), Failure> {
    // Before anything is made or opened.
    let summary = restore::check(&args.file)?;
    let folder = Folder::open(&args.config_dir)?;
    let store = state::open(&folder, &args.etcd).await?;
    let restored = restore::restore(store.as_ref(), &args.file, &summary).await;
    store.close().await;
    let Restored { keys } = restored?;
    restore::forget_identity(&folder)?;
    if !globals.quiet {
        _ = writeln!(
            std::io::stderr(),
            "restored {keys} keys of revision {}, taken at {}; managers can be started on it",
            summary.header.revision,
            summary.header.taken_at
        );
    }
    Ok(())
}
