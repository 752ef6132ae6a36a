//! `symphony backup`: all that the managers keep, into a file of its owner's alone. A file is there only when it is whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use symphony_api::Client;
use symphony_api::backup::{Reader, Summary};

use crate::failure::Failure;
use crate::output::Output;
use crate::refusal::failure;

/// What `backup` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  symphony backup cloud.backup
  symphony backup - | age -r KEY > cloud.backup.age

All that the managers keep, as it was at one moment: `symphony restore` makes a store of it. What is on the nodes, the
bytes of volumes and images, is not in it.

The key of the cluster's authority and the digests of all tokens are in it: whoever can read the file can make himself a
member of the cluster. It is written with mode 0600; keep copies as safe. Only an admin may take one, and the audit log
says who did.")]
pub struct BackupArgs {
    /// The file, which is replaced when it is there; `-` is stdout
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
}

/// Does it.
pub(crate) async fn run(client: &Client, output: Output, args: &BackupArgs) -> Result<(), Failure> {
    if args.file.as_os_str() == "-" {
        let summary = fetch(client, &mut io::stdout().lock()).await?;
        output.remark(&told(&summary));
        return Ok(());
    }
    let path = &args.file;
    let failed = |error: io::Error| Failure::caused(format!("could not write {}", path.display()), &error);
    let draft = path.with_added_extension("new");
    _ = std::fs::remove_file(&draft);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .map_err(failed)?;
    let fetched = fetch(client, &mut file).await;
    let summary = match fetched.and_then(|summary| keep(&file, &draft, path).map(|()| summary).map_err(failed)) {
        Ok(summary) => summary,
        Err(failure) => {
            // Half a backup is none.
            _ = std::fs::remove_file(&draft);
            return Err(failure);
        }
    };
    output.remark(&format!(
        "{}; {} has the key of the cluster's authority in it: keep it safe",
        told(&summary),
        path.display()
    ));
    Ok(())
}

/// Writes a backup as it comes, and looks that it is whole.
async fn fetch(client: &Client, into: &mut impl Write) -> Result<Summary, Failure> {
    let taken = |error| failure("take a backup", error);
    let broken = |error| Failure::caused("could not take a backup", &error).hint("try again");
    let mut download = client.backup().await.map_err(taken)?;
    let mut reader = Reader::new();
    while let Some(piece) = download.next().await.map_err(taken)? {
        reader.feed(&piece, drop).map_err(broken)?;
        into.write_all(&piece)?;
    }
    into.flush()?;
    reader.finish().map_err(broken)
}

/// Gives the file its name once it is on the disk.
fn keep(file: &File, draft: &Path, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    std::fs::rename(draft, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn told(summary: &Summary) -> String {
    let Summary { header, count, sha256 } = summary;
    format!("{count} keys of revision {}, sha256 {}", header.revision, sha256.hex())
}
