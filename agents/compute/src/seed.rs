//! The seed disk of a machine: a FAT volume named CIDATA with what the guest is told at its first boot (cloud-init's
//! NoCloud), and its digest beside it. Never decides what is on it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};
use rustix::fs::FallocateFlags;
use symphony_core::plan::machine::{SEED_FILE_BYTES_MAX, SEED_FILES_MAX, SeedFile};

/// Size of the disk: the most files of the largest size, and the table.
const BYTES: u64 = 2 << 20;
const LABEL: [u8; 11] = *b"CIDATA     ";
const NAMES: [&str; 4] = ["user-data", "meta-data", "network-config", "vendor-data"];
const IMAGE: &str = "seed.img";
const DIGEST: &str = "seed.digest";
const DIGEST_BYTES_MAX: usize = 64;

/// A seed disk was not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too many files, too large ones, or names that no guest reads.
    #[error("the seed disk can't hold {0}")]
    Unfit(String),
    /// The file system said no.
    #[error("the seed disk was not written")]
    Io(#[from] io::Error),
}

/// Writes the disk into a machine's folder, in place of an older one; nothing when that one has this digest.
///
/// # Errors
/// When the files do not fit, or the file system fails.
pub(crate) fn write(folder: &Path, digest: &str, files: &[SeedFile]) -> Result<(), Error> {
    check(digest, files)?;
    if self::digest(folder)? == digest {
        return Ok(());
    }
    // The digest is there last and away first: what it names is always whole.
    remove(&folder.join(DIGEST))?;
    sync(folder)?;
    symphony_crash::point("compute.seed.before_image");
    let partial = folder.join("seed.img.partial");
    remove(&partial)?;
    let image = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&partial)?;
    rustix::fs::fallocate(&image, FallocateFlags::empty(), 0, BYTES).map_err(io::Error::from)?;
    fill(&image, files)?;
    image.sync_all()?;
    std::fs::rename(&partial, folder.join(IMAGE))?;
    sync(folder)?;
    symphony_crash::point("compute.seed.after_image");
    let partial = folder.join("seed.digest.partial");
    let mut noted = File::create(&partial)?;
    noted.write_all(digest.as_bytes())?;
    noted.sync_all()?;
    std::fs::rename(&partial, folder.join(DIGEST))?;
    sync(folder)?;
    symphony_crash::point("compute.seed.after_digest");
    Ok(())
}

/// The digest of the disk that is there; empty: none.
pub(crate) fn digest(folder: &Path) -> io::Result<String> {
    match std::fs::read_to_string(folder.join(DIGEST)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other,
    }
}

fn check(digest: &str, files: &[SeedFile]) -> Result<(), Error> {
    if digest.is_empty() || digest.len() > DIGEST_BYTES_MAX {
        return Err(Error::Unfit(format!("a digest of {} bytes", digest.len())));
    }
    if files.len() > SEED_FILES_MAX {
        return Err(Error::Unfit(format!("{} files", files.len())));
    }
    for file in files {
        if !NAMES.contains(&file.name.as_str()) {
            return Err(Error::Unfit(format!("a file named {:?}", file.name)));
        }
        if file.content.len() > SEED_FILE_BYTES_MAX {
            return Err(Error::Unfit(format!("{} bytes of {}", file.content.len(), file.name)));
        }
    }
    Ok(())
}

fn fill(image: &File, files: &[SeedFile]) -> io::Result<()> {
    fatfs::format_volume(image, FormatVolumeOptions::new().volume_label(LABEL))?;
    let volume = FileSystem::new(image, FsOptions::new())?;
    {
        let root = volume.root_dir();
        for file in files {
            let mut made = root.create_file(&file.name)?;
            made.truncate()?;
            made.write_all(file.content.as_bytes())?;
            made.flush()?;
        }
    }
    volume.unmount()
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes renames and removals in a folder last.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::Command;

    use super::*;

    fn file(name: &str, content: &str) -> SeedFile {
        SeedFile {
            name: name.to_owned(),
            content: content.to_owned(),
        }
    }

    fn read(folder: &Path, name: &str) -> String {
        let volume = FileSystem::new(File::open(folder.join(IMAGE)).map(ReadOnly).unwrap(), FsOptions::new()).unwrap();
        assert_eq!(volume.volume_label(), "CIDATA");
        assert_eq!(
            volume.read_volume_label_from_root_dir().unwrap().as_deref(),
            Some("CIDATA")
        );
        let mut content = String::new();
        volume
            .root_dir()
            .open_file(name)
            .unwrap()
            .read_to_string(&mut content)
            .unwrap();
        content
    }

    /// As the guest has it.
    struct ReadOnly(File);
    impl io::Read for ReadOnly {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0.read(buf)
        }
    }
    impl io::Seek for ReadOnly {
        fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }
    impl io::Write for ReadOnly {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ReadOnlyFilesystem.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_written_is_read_and_a_second_seed_replaces_the_first() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(digest(folder.path()).unwrap(), "");
        let large = "x".repeat(SEED_FILE_BYTES_MAX);
        write(
            folder.path(),
            "one",
            &[file("user-data", &large), file("meta-data", "instance-id: 1\n")],
        )
        .unwrap();
        assert_eq!(digest(folder.path()).unwrap(), "one");
        assert_eq!(read(folder.path(), "user-data"), large);
        assert_eq!(read(folder.path(), "meta-data"), "instance-id: 1\n");
        // The digest says that it is there: it is left alone.
        write(folder.path(), "one", &[file("meta-data", "other")]).unwrap();
        assert_eq!(read(folder.path(), "meta-data"), "instance-id: 1\n");
        write(folder.path(), "two", &[file("meta-data", "instance-id: 2\n")]).unwrap();
        assert_eq!(read(folder.path(), "meta-data"), "instance-id: 2\n");
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            2,
            "a partial file was left"
        );
    }

    #[test]
    fn the_most_that_is_allowed_fits() {
        let folder = tempfile::tempdir().unwrap();
        let large = "x".repeat(SEED_FILE_BYTES_MAX);
        let files: Vec<_> = NAMES.iter().map(|name| file(name, &large)).collect();
        write(folder.path(), "all", &files).unwrap();
        assert_eq!(read(folder.path(), "vendor-data"), large);
    }

    #[test]
    fn others_read_it_as_well() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "one", &[file("user-data", "#!/bin/sh\n")]).unwrap();
        let Ok(output) = Command::new("mtype")
            .arg("-i")
            .arg(folder.path().join(IMAGE))
            .arg("::user-data")
            .output()
        else {
            return; // No mtools here.
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout, b"#!/bin/sh\n");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "one", &[file("user-data", "old")]).unwrap();
        let large = file("user-data", &"x".repeat(SEED_FILE_BYTES_MAX + 1));
        let many = vec![file("user-data", ""); SEED_FILES_MAX + 1];
        for files in [vec![large], many, vec![file("../user-data", "")]] {
            assert!(matches!(write(folder.path(), "two", &files), Err(Error::Unfit(_))));
        }
        assert!(matches!(write(folder.path(), "", &[]), Err(Error::Unfit(_))));
        assert_eq!(digest(folder.path()).unwrap(), "one");
        assert_eq!(read(folder.path(), "user-data"), "old");
    }
}
