//! What a guest is told at its first boot, read from files: user-data and public keys. Never sends a private key.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use symphony_core::machine::{SSH_KEY_BYTES_MAX, SSH_KEYS_MAX, USER_DATA_BYTES_MAX};
use symphony_core::quantity::Bytes;

use crate::failure::Failure;

/// How the types of public keys begin.
const KEY_TYPES: [&str; 4] = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
/// How what follows the type begins: the length of the type's name, in base64.
const KEY_BEGIN: &str = "AAAA";
/// Signs of a private key.
const PRIVATE: [&str; 2] = ["PRIVATE KEY-----", "PuTTY-User-Key-File"];

/// The user-data in a file.
///
/// # Errors
/// When it can't be read, is too large or is no text.
pub(super) fn user_data(path: &Path) -> Result<String, Failure> {
    let Some(bytes) = read(path, USER_DATA_BYTES_MAX)? else {
        return Err(Failure::usage(format!(
            "{} has more than {}, which is the most that user-data may have",
            path.display(),
            Bytes(USER_DATA_BYTES_MAX as u64)
        ))
        .hint("let it fetch what is large: cloud-init takes `#include` and a URL"));
    };
    String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("{} is no text, and user-data must be (UTF-8)", path.display())))
}

/// The public keys in files, each with one or more.
///
/// # Errors
/// When one can't be read, holds no key, a private one or too many.
pub(super) fn ssh_keys(paths: &[PathBuf]) -> Result<Vec<String>, Failure> {
    let mut keys = Vec::new();
    for path in paths {
        let what = path.display();
        let bytes = read(path, SSH_KEYS_MAX * SSH_KEY_BYTES_MAX)?
            .ok_or_else(|| Failure::usage(format!("{what} is too large for a file of public keys")))?;
        let text =
            String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{what} is no text, so no public key")))?;
        if PRIVATE.iter().any(|sign| text.contains(sign)) {
            return Err(private(path));
        }
        let before = keys.len();
        for line in text.lines().map(str::trim) {
            if !line.is_empty() && !line.starts_with('#') {
                keys.push(key(path, line)?);
            }
        }
        if keys.len() == before {
            return Err(Failure::usage(format!("{what} has no public key in it")));
        }
    }
    if keys.len() > SSH_KEYS_MAX {
        return Err(Failure::usage(format!(
            "a machine takes at most {SSH_KEYS_MAX} public keys, and these are {}",
            keys.len()
        )));
    }
    Ok(keys)
}

fn key(path: &Path, line: &str) -> Result<String, Failure> {
    if line.len() > SSH_KEY_BYTES_MAX {
        return Err(Failure::usage(format!(
            "a key in {} has more than {}",
            path.display(),
            Bytes(SSH_KEY_BYTES_MAX as u64)
        )));
    }
    // Options may come before the type.
    let words: Vec<_> = line.split_whitespace().collect();
    let is_key = words.windows(2).any(|pair| {
        let typed = KEY_TYPES.iter().any(|begin| pair[0].starts_with(begin));
        typed && pair[1].starts_with(KEY_BEGIN)
    });
    if is_key {
        Ok(line.to_owned())
    } else {
        Err(Failure::usage(format!(
            "a line of {} is no public key; one looks like `ssh-ed25519 AAAA… name`",
            path.display()
        )))
    }
}

fn private(path: &Path) -> Failure {
    let mut public = path.as_os_str().to_owned();
    public.push(".pub");
    let public = PathBuf::from(public);
    let failure = Failure::usage(format!(
        "{} is a private key, and was not sent; a machine gets the public one",
        path.display()
    ));
    if public.exists() {
        failure.hint(format!("use --ssh-key {}", public.display()))
    } else {
        failure.hint(format!(
            "make the public one from it: ssh-keygen -y -f {}",
            path.display()
        ))
    }
}

/// The bytes of a file; nothing when there are more than `max`.
fn read(path: &Path, max: usize) -> Result<Option<Vec<u8>>, Failure> {
    let failed = |error: &std::io::Error| Failure::caused(format!("could not read {}", path.display()), error);
    let file = File::open(path).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    file.take(max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(&error))?;
    Ok((bytes.len() <= max).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Exit;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me@here";

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
            let path = self.0.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    #[test]
    fn user_data_has_a_limit_and_is_text() {
        let folder = Folder::new();
        let full = "x".repeat(USER_DATA_BYTES_MAX);
        assert_eq!(user_data(&folder.file("full", &full)).unwrap(), full);
        let failure = user_data(&folder.file("over", full + "x")).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains("64KiB"), "{}", failure.message);
        let failure = user_data(&folder.file("bytes", [0xff, 0xfe])).unwrap_err();
        assert!(failure.message.contains("no text"), "{}", failure.message);
        let failure = user_data(&folder.0.path().join("nope")).unwrap_err();
        assert!(failure.message.contains("nope"), "{}", failure.message);
    }

    #[test]
    fn a_file_has_one_or_more_public_keys() {
        let folder = Folder::new();
        let one = folder.file("one.pub", format!("{KEY}\n"));
        let more = folder.file(
            "authorized_keys",
            format!("# ours\n\nrestrict,pty ssh-rsa AAAAB3 a\n  {KEY}\r\n"),
        );
        assert_eq!(
            ssh_keys(&[one, more]).unwrap(),
            [KEY, "restrict,pty ssh-rsa AAAAB3 a", KEY]
        );
        assert_eq!(ssh_keys(&[]).unwrap(), [] as [&str; 0]);
        for (name, text, why) in [
            ("empty", "\n# nothing\n", "has no public key"),
            ("junk", "hello world\n", "is no public key"),
        ] {
            let failure = ssh_keys(&[folder.file(name, text)]).unwrap_err();
            assert!(failure.message.contains(why), "{}", failure.message);
        }
    }

    #[test]
    fn a_private_key_is_refused_and_the_public_one_named() {
        let folder = Folder::new();
        let text = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
        let path = folder.file("id", text);
        let failure = ssh_keys(std::slice::from_ref(&path)).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains("is a private key"), "{}", failure.message);
        assert!(failure.hint.unwrap().contains("ssh-keygen -y"));
        folder.file("id.pub", KEY);
        assert!(ssh_keys(&[path]).unwrap_err().hint.unwrap().contains("id.pub"));
    }

    #[test]
    fn keys_have_limits() {
        let folder = Folder::new();
        let many = folder.file("many", format!("{KEY}\n").repeat(SSH_KEYS_MAX + 1));
        assert!(ssh_keys(&[many]).unwrap_err().message.contains("at most 32"));
        let long = folder.file("long", format!("{KEY}{}", "x".repeat(SSH_KEY_BYTES_MAX)));
        assert!(ssh_keys(&[long]).unwrap_err().message.contains("more than 4KiB"));
        let huge = folder.file("huge", "x".repeat(SSH_KEYS_MAX * SSH_KEY_BYTES_MAX + 1));
        assert!(ssh_keys(&[huge]).unwrap_err().message.contains("too large"));
    }
}
