//! One flat folder of regular files, held open as a capability.
//!
//! Every file of an executor is reached through here: by a bare name, from a directory handle, never through a symlink.
//! A name that is not a regular file counts as damage, whoever put it there; removing it removes the name only.

use std::fs::File;
use std::io;
use std::path::Path;

use cap_fs_ext::{DirExt as _, FollowSymlinks, OpenOptionsFollowExt as _};
use cap_std::fs::{Dir, OpenOptions};
use rustix::fs::FlockOperation;

/// A folder of files with names of our own making.
#[derive(Debug)]
pub struct Folder {
    name: String,
    dir: Dir,
    // The handle of `dir` is for paths only (O_PATH); this one can be flushed and locked.
    handle: File,
}

impl Folder {
    /// Opens the folder `name` in `parent`, making it when it is missing, and locks it for this process.
    ///
    /// # Errors
    /// It can't be made or opened, is a symlink, or another process has it.
    pub fn open(parent: &Dir, name: &str) -> io::Result<Self> {
        match parent.create_dir(name) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let dir = parent.open_dir_nofollow(name)?;
        let handle = dir.open(".")?.into_std();
        rustix::fs::flock(&handle, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("another process uses it ({error})"),
            )
        })?;
        Ok(Self {
            name: name.to_owned(),
            dir,
            handle,
        })
    }

    /// Its name in its parent, for messages and for programs that run in the parent.
    #[must_use]
    pub fn path_of(&self, file: &str) -> String {
        format!("{}/{file}", self.name)
    }

    /// The length of a file in bytes; nothing when there is none.
    ///
    /// # Errors
    /// The name is taken by something that is not a regular file.
    pub fn length(&self, file: &str) -> io::Result<Option<u64>> {
        match self.dir.symlink_metadata(bare(file)?) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Err(self.foreign(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// There is none, or it is not a regular file.
    pub fn open_read(&self, file: &str) -> io::Result<File> {
        self.open_with(file, OpenOptions::new().read(true))
    }

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// There is none, or it is not a regular file.
    pub fn open_write(&self, file: &str) -> io::Result<File> {
        self.open_with(file, OpenOptions::new().read(true).write(true))
    }

    /// Makes a file; one that is there already is an error.
    ///
    /// # Errors
    /// The name is taken, or it can't be made.
    pub fn create(&self, file: &str) -> io::Result<File> {
        self.open_with(file, OpenOptions::new().read(true).write(true).create_new(true))
    }

    /// Makes a file anew. What had the name before loses it, so whoever still writes there does no harm.
    ///
    /// # Errors
    /// It can't be removed or made.
    pub fn recreate(&self, file: &str) -> io::Result<File> {
        self.remove(file)?;
        self.create(file)
    }

    /// Removes a name; says whether there was one.
    ///
    /// # Errors
    /// It is a folder, or can't be removed.
    pub fn remove(&self, file: &str) -> io::Result<bool> {
        match self.dir.remove_file(bare(file)?) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Renames a file, here or into another folder. Durable after [`Self::sync`] of the folder it went to.
    ///
    /// # Errors
    /// The file system's.
    pub fn rename(&self, from: &str, to_folder: &Self, to: &str) -> io::Result<()> {
        self.dir.rename(bare(from)?, &to_folder.dir, bare(to)?)
    }

    /// Flushes the folder: names that were made, renamed or removed stay so after a power cut.
    ///
    /// # Errors
    /// The file system's.
    pub fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    /// The names of all files, at most `most`.
    ///
    /// # Errors
    /// The file system's.
    pub fn names(&self, most: usize) -> io::Result<Vec<String>> {
        let entries = self.dir.entries()?.take(most);
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn open_with(&self, file: &str, options: &mut OpenOptions) -> io::Result<File> {
        let opened = self.dir.open_with(bare(file)?, options.follow(FollowSymlinks::No))?;
        if opened.metadata()?.is_file() {
            Ok(opened.into_std())
        } else {
            Err(self.foreign(file))
        }
    }

    fn foreign(&self, file: &str) -> io::Error {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is not a regular file", self.path_of(file)),
        )
    }
}

/// Names are made from ids and digests; this holds even when one is not.
fn bare(file: &str) -> io::Result<&Path> {
    if file.is_empty() || file.starts_with('.') || file.contains(['/', '\0']) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{file:?} is not a file name"),
        ));
    }
    Ok(Path::new(file))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use cap_std::ambient_authority;

    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let temp = tempfile::tempdir().unwrap();
        let parent = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        let folder = Folder::open(&parent, "files").unwrap();
        (temp, folder)
    }

    #[test]
    fn files_come_and_go() {
        let (_temp, folder) = folder();
        assert_eq!(folder.length("a").unwrap(), None);
        folder.recreate("a").unwrap().write_all(b"abc").unwrap();
        assert_eq!(folder.length("a").unwrap(), Some(3));
        assert!(folder.create("a").is_err());
        folder.rename("a", &folder, "b").unwrap();
        folder.sync().unwrap();
        assert_eq!(folder.names(10).unwrap(), ["b"]);
        assert!(folder.remove("b").unwrap());
        assert!(!folder.remove("b").unwrap());
    }

    #[test]
    fn symlinks_and_paths_lead_nowhere() {
        let (temp, folder) = folder();
        let secret = temp.path().join("secret");
        std::fs::write(&secret, "secret").unwrap();
        std::os::unix::fs::symlink(&secret, temp.path().join("files/link")).unwrap();
        std::fs::write(temp.path().join("files/inside"), "inside").unwrap();
        std::os::unix::fs::symlink("inside", temp.path().join("files/near")).unwrap();
        for name in ["link", "near"] {
            assert!(folder.length(name).is_err());
            assert!(folder.open_read(name).is_err());
            assert!(folder.open_write(name).is_err());
            assert!(folder.create(name).is_err());
        }
        for name in ["../secret", "/etc/passwd", "", ".", "..", "a/b", "a\0b"] {
            assert!(folder.open_read(name).is_err(), "{name:?}");
            assert!(folder.recreate(name).is_err(), "{name:?}");
        }
        folder.recreate("link").unwrap().write_all(b"own").unwrap();
        assert_eq!(std::fs::read_to_string(secret).unwrap(), "secret");
    }

    #[test]
    fn a_folder_belongs_to_one_process() {
        let (temp, _folder) = folder();
        let parent = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        assert_eq!(
            Folder::open(&parent, "files").unwrap_err().kind(),
            io::ErrorKind::ResourceBusy
        );
        std::os::unix::fs::symlink("files", temp.path().join("alias")).unwrap();
        assert!(Folder::open(&parent, "alias").is_err());
    }
}
