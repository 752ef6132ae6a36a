//! Machine code on disk, under a MAC.
//!
//! A flipped byte in compiled code is accepted by wasmtime and runs. So each file carries an HMAC over its name and its
//! bytes, made with a key that is this directory's own (mode 0600). A file that is not vouched for counts as absent:
//! no state of this directory is ever an error, at worst everything is compiled again.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use symphony_core::digest::Digest;

use super::ARTEFACT_BYTES_MAX;

/// Most files that are kept; the least recently used go first.
pub(crate) const FILES_MAX: usize = 64;
const KEY_FILE: &str = "key";
const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;
const SUFFIX: &str = "cwasm";

/// Machine code that came from our own compiler.
#[derive(Debug)]
pub(crate) struct Vouched(Vec<u8>);

impl Vouched {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The directory and its key. Every function blocks.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    mac: Hmac<Sha256>,
}

impl Cache {
    /// Opens the directory; makes it, and its key, when they are not there.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let path = dir.join(KEY_FILE);
        let key = match read_key(&path)? {
            Some(key) => key,
            None => make_key(&path)?,
        };
        let mac = Hmac::new_from_slice(&key).map_err(io::Error::other)?;
        Ok(Self {
            dir: dir.to_owned(),
            mac,
        })
    }

    /// The code of a component for an engine; none when there is no file, or one that is not vouched for.
    pub(crate) fn get(&self, digest: &Digest, compatibility: u64) -> Option<Vouched> {
        let path = self.path(digest, compatibility);
        let mut file = File::open(&path).ok()?;
        let mut bytes = Vec::new();
        (&mut file)
            .take(ARTEFACT_BYTES_MAX + MAC_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .ok()?;
        let code = bytes.split_off(bytes.len().min(MAC_BYTES));
        if self.mac(digest, compatibility, &code).verify_slice(&bytes).is_err() {
            tracing::warn!(path = %path.display(), "compiled code is not what was written; it is compiled again");
            let _ = fs::remove_file(&path);
            return None;
        }
        // Its use, for the order in which files go.
        let _ = file.set_modified(SystemTime::now());
        Some(Vouched(code))
    }

    /// Takes what the compiler answered. That it can't be written is no reason not to use it.
    pub(crate) fn put(&self, digest: &Digest, compatibility: u64, code: Vec<u8>) -> Vouched {
        if let Err(error) = self.write(digest, compatibility, &code) {
            tracing::warn!(dir = %self.dir.display(), %error, "compiled code is not kept");
        }
        Vouched(code)
    }

    /// Forgets a component's code.
    pub(crate) fn remove(&self, digest: &Digest, compatibility: u64) {
        let _ = fs::remove_file(self.path(digest, compatibility));
    }

    fn write(&self, digest: &Digest, compatibility: u64, code: &[u8]) -> io::Result<()> {
        let path = self.path(digest, compatibility);
        let mac = self.mac(digest, compatibility, code).finalize().into_bytes();
        publish(&path, &[mac.as_slice(), code])?;
        self.prune()
    }

    fn mac(&self, digest: &Digest, compatibility: u64, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(file_name(digest, compatibility).as_bytes());
        mac.update(&[0]);
        mac.update(code);
        mac
    }

    fn path(&self, digest: &Digest, compatibility: u64) -> PathBuf {
        self.dir.join(file_name(digest, compatibility))
    }

    /// Keeps the directory bounded.
    fn prune(&self) -> io::Result<()> {
        let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let path = entry.path();
            if path.extension().is_some_and(|suffix| suffix == SUFFIX) {
                files.push((entry.metadata()?.modified()?, path));
            }
        }
        files.sort();
        let surplus = files.len().saturating_sub(FILES_MAX);
        files
            .iter()
            .take(surplus)
            .try_for_each(|(_, path)| fs::remove_file(path))
    }
}

fn file_name(digest: &Digest, compatibility: u64) -> String {
    format!("{}.{compatibility:016x}.{SUFFIX}", digest.hex())
}

/// The key; none when there is none, or one that others could have read or changed.
fn read_key(path: &Path) -> io::Result<Option<[u8; KEY_BYTES]>> {
    let mut file = match OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
    {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    let private = metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o077 == 0;
    let mut key = [0; KEY_BYTES];
    if !private || metadata.len() != KEY_BYTES as u64 {
        tracing::warn!(path = %path.display(), "the key of compiled code was open to others; it is made anew");
        return Ok(None);
    }
    file.read_exact(&mut key)?;
    Ok(Some(key))
}

fn make_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    publish(path, &[&key])?;
    Ok(key)
}

/// Writes a file whole or not at all, mode 0600. Not flushed: a file that a power cut spoils fails its MAC.
fn publish(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let temporary = path.with_extension(format!("{}.part", std::process::id()));
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    let written = parts
        .iter()
        .try_for_each(|part| file.write_all(part))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u8) -> Digest {
        Digest::new([n; 32])
    }

    #[test]
    fn gives_back_what_it_was_given_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        assert!(cache.get(&digest(1), 7).is_none());
        cache.put(&digest(1), 7, b"code".to_vec());
        assert_eq!(
            Cache::open(dir.path()).unwrap().get(&digest(1), 7).unwrap().bytes(),
            b"code"
        );
        assert!(cache.get(&digest(1), 8).is_none(), "another engine");
        // Another component's file under this one's name: the name is under the MAC.
        fs::rename(cache.path(&digest(1), 7), cache.path(&digest(2), 7)).unwrap();
        assert!(cache.get(&digest(2), 7).is_none());
    }

    #[test]
    fn a_changed_byte_or_key_means_absent() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        for at in [0, 31, 32, 35] {
            cache.put(&digest(1), 7, b"code".to_vec());
            let path = cache.path(&digest(1), 7);
            let mut bytes = fs::read(&path).unwrap();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert!(cache.get(&digest(1), 7).is_none(), "byte {at}");
        }
        cache.put(&digest(1), 7, b"code".to_vec());
        fs::set_permissions(
            dir.path().join(KEY_FILE),
            std::os::unix::fs::PermissionsExt::from_mode(0o644),
        )
        .unwrap();
        assert!(
            Cache::open(dir.path()).unwrap().get(&digest(1), 7).is_none(),
            "a key that others could read is no key"
        );
    }

    #[test]
    fn the_directory_is_private_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("cache");
        let cache = Cache::open(&dir).unwrap();
        for n in 0..=FILES_MAX {
            cache.put(&digest(u8::try_from(n).unwrap()), 7, vec![0]);
        }
        assert_eq!(
            fs::read_dir(&dir).unwrap().count(),
            FILES_MAX + 1,
            "the files and the key"
        );
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(dir.join(KEY_FILE)).unwrap().mode() & 0o777, 0o600);
    }
}
