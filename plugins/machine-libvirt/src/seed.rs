//! The seed disk: what the guest is told at its first boot, in the files that cloud-init looks for on a disk named CIDATA
//! (its data source `NoCloud`). Composes texts; the agent makes the disk.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use symphony_sdk::driver::Refusal;
use symphony_sdk::driver::machine::{FirstBoot, Port, SeedFile, Step, WriteSeed};

/// Largest file, in bytes.
const FILE_BYTES_MAX: usize = 128 << 10;

/// A seed disk's files, and what tells them from others.
pub(crate) struct Seed {
    pub(crate) digest: String,
    files: Vec<SeedFile>,
}

impl Seed {
    /// The files for this machine.
    pub(crate) fn compose(first_boot: &FirstBoot, ports: &[Port]) -> Result<Self, Refusal> {
        let mut files = vec![
            file("user-data", user_data(first_boot)),
            file("meta-data", meta_data(first_boot)),
        ];
        // Without a port there is nothing to configure, and an empty file would be taken for a broken one.
        if !ports.is_empty() {
            files.push(file("network-config", network_config(ports)));
        }
        match files.iter().find(|file| file.content.len() > FILE_BYTES_MAX) {
            Some(large) => Err(Refusal::Invalid(format!(
                "the file {} of the seed disk has {} bytes, over the limit of {FILE_BYTES_MAX}",
                large.name,
                large.content.len()
            ))),
            None => Ok(Self {
                digest: digest(&files),
                files,
            }),
        }
    }

    pub(crate) fn write(self, object: &str) -> Step {
        Step::WriteSeed(WriteSeed {
            object: object.to_owned(),
            digest: self.digest,
            files: self.files,
        })
    }
}

fn file(name: &str, content: String) -> SeedFile {
    SeedFile {
        name: name.to_owned(),
        content,
    }
}

/// As the user gave it; a data source without this file is none.
fn user_data(first_boot: &FirstBoot) -> String {
    if first_boot.user_data.is_empty() {
        "#cloud-config\n{}\n".to_owned()
    } else {
        first_boot.user_data.clone()
    }
}

fn meta_data(first_boot: &FirstBoot) -> String {
    let mut text = format!(
        "instance-id: {}\nlocal-hostname: {}\n",
        quoted(&first_boot.instance),
        quoted(&first_boot.hostname)
    );
    if !first_boot.ssh_keys.is_empty() {
        text.push_str("public-keys:\n");
        for key in &first_boot.ssh_keys {
            let _ = writeln!(text, "- {}", quoted(key.trim()));
        }
    }
    text
}

/// Each port takes its address by DHCP; the first has the way out.
fn network_config(ports: &[Port]) -> String {
    let mut text = "version: 2\nethernets:\n".to_owned();
    for (position, port) in ports.iter().enumerate() {
        let _ = writeln!(
            text,
            "  port{position}:\n    match:\n      macaddress: {}\n    dhcp4: true",
            quoted(&port.mac)
        );
        if position > 0 {
            let metric = 100 + 100 * position;
            let _ = writeln!(text, "    dhcp4-overrides:\n      route-metric: {metric}");
        }
    }
    text
}

/// A YAML text that stays one whatever is in it: what users wrote must not become structure.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Over names and contents, with their lengths between.
fn digest(files: &[SeedFile]) -> String {
    let mut hash = Sha256::new();
    for file in files {
        for part in [&file.name, &file.content] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_boot() -> FirstBoot {
        FirstBoot {
            hostname: "web".to_owned(),
            instance: "i-1".to_owned(),
            user_data: String::new(),
            ssh_keys: Vec::new(),
        }
    }

    fn port(mac: &str) -> Port {
        Port {
            id: "p".to_owned(),
            link: "l".to_owned(),
            bridge: "b".to_owned(),
            mac: mac.to_owned(),
            address: "10.0.0.5".to_owned(),
            prefix: 24,
            gateway: "10.0.0.1".to_owned(),
            rate_bits: 0,
        }
    }

    fn content<'a>(seed: &'a Seed, name: &str) -> Option<&'a str> {
        let file = seed.files.iter().find(|file| file.name == name)?;
        Some(&file.content)
    }

    #[test]
    fn the_files_say_what_cloud_init_reads() {
        let told = FirstBoot {
            ssh_keys: vec!["ssh-ed25519 AAAA me@home\n".to_owned()],
            ..first_boot()
        };
        let ports = [port("52:54:00:00:00:01"), port("52:54:00:00:00:02")];
        let seed = Seed::compose(&told, &ports).unwrap();
        assert_eq!(
            content(&seed, "meta-data"),
            Some("instance-id: \"i-1\"\nlocal-hostname: \"web\"\npublic-keys:\n- \"ssh-ed25519 AAAA me@home\"\n")
        );
        assert_eq!(content(&seed, "user-data"), Some("#cloud-config\n{}\n"));
        assert_eq!(
            content(&seed, "network-config"),
            Some(
                "version: 2\nethernets:\n  port0:\n    match:\n      macaddress: \"52:54:00:00:00:01\"\n    dhcp4: true\n  \
                 port1:\n    match:\n      macaddress: \"52:54:00:00:00:02\"\n    dhcp4: true\n    dhcp4-overrides:\n      \
                 route-metric: 200\n"
            )
        );
        let alone = Seed::compose(&told, &[]).unwrap();
        assert_eq!(content(&alone, "network-config"), None);
        assert_ne!(alone.digest, seed.digest);
    }

    #[test]
    fn user_data_is_taken_as_it_is() {
        let told = FirstBoot {
            user_data: "#!/bin/sh\necho \"hi\"\n".to_owned(),
            ..first_boot()
        };
        let seed = Seed::compose(&told, &[]).unwrap();
        assert_eq!(content(&seed, "user-data"), Some("#!/bin/sh\necho \"hi\"\n"));
    }

    #[test]
    fn what_users_write_never_becomes_structure() {
        assert_eq!(quoted("a\"b\\c\nd\u{85}\u{2028}é"), r#""a\"b\\c\u000ad\u0085\u2028é""#);
        let told = FirstBoot {
            hostname: "web\"\npublic-keys:\n- evil".to_owned(),
            ..first_boot()
        };
        let seed = Seed::compose(&told, &[]).unwrap();
        assert_eq!(content(&seed, "meta-data").unwrap().lines().count(), 2);
    }

    #[test]
    fn the_digest_tells_contents_apart_and_nothing_else() {
        let digest = |told: &FirstBoot| Seed::compose(told, &[]).unwrap().digest;
        assert_eq!(digest(&first_boot()), digest(&first_boot()));
        assert_eq!(digest(&first_boot()).len(), 64);
        let other = FirstBoot {
            instance: "i-2".to_owned(),
            ..first_boot()
        };
        assert_ne!(digest(&first_boot()), digest(&other));
    }

    #[test]
    fn a_file_over_the_limit_is_refused() {
        let told = FirstBoot {
            ssh_keys: vec!["k".repeat(FILE_BYTES_MAX)],
            ..first_boot()
        };
        assert!(matches!(Seed::compose(&told, &[]), Err(Refusal::Invalid(_))));
    }
}
