//! The folder.

use std::os::unix::fs::PermissionsExt as _;

use uuid::Uuid;

use super::*;
use crate::authority::{Authority, LIFE};

const NOW: u64 = 1_790_000_000;

fn made(authority: &Authority, key: &MemberKey) -> Credentials {
    let node = Identity::node(authority.cluster(), "n1");
    let issued = authority.issue(&key.csr_pem().unwrap(), &node, &[], NOW, LIFE).unwrap();
    Credentials::new(&key.to_pem(), &issued.cert_pem, &authority.roots_pem()).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_is_saved_is_loaded_and_private() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("identity");
    let authority = Authority::make(Uuid::from_u128(7), NOW).unwrap();
    assert_eq!(Credentials::load(&folder).unwrap(), None);
    let key = MemberKey::keep(&folder).unwrap();
    assert_eq!(MemberKey::keep(&folder).unwrap().to_pem(), key.to_pem());
    assert_eq!(Credentials::load(&folder).unwrap(), None, "a key alone is nobody");
    let first = made(&authority, &key);
    first.save(&folder).unwrap();
    assert_eq!(Credentials::load(&folder).unwrap().as_ref(), Some(&first));
    assert_eq!(mode(&folder), 0o700);
    for file in [KEY_FILE, CERT_FILE, ROOTS_FILE] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
    let second = made(&authority, &key);
    let renewed = first.renewed(second.cert_pem(), second.roots_pem()).unwrap();
    renewed.save(&folder).unwrap();
    assert_eq!(Credentials::load(&folder).unwrap().unwrap().serial(), second.serial());
    // Another key: no moment with its predecessor's certificate, which the order of the files holds.
    let other = made(&authority, &MemberKey::make().unwrap());
    other.save(&folder).unwrap();
    assert_eq!(Credentials::load(&folder).unwrap(), Some(other));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3, "nothing is left over");
}

#[test]
fn what_was_tampered_with_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("identity");
    let authority = Authority::make(Uuid::from_u128(7), NOW).unwrap();
    let credentials = made(&authority, &MemberKey::make().unwrap());
    credentials.save(&folder).unwrap();
    let key = folder.join(KEY_FILE);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    for error in [
        Credentials::load(&folder).unwrap_err(),
        MemberKey::keep(&folder).unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(text.ends_with("key.pem can be read by others than its owner; make a new identity, or take their rights away (chmod 600)"), "{text}");
    }
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&key, MemberKey::make().unwrap().to_pem()).unwrap();
    assert!(matches!(Credentials::load(&folder), Err(CredentialsError::OtherKey)));
    std::fs::write(&key, "x").unwrap();
    assert!(matches!(
        Credentials::load(&folder),
        Err(CredentialsError::Broken("key"))
    ));
    std::fs::remove_file(&key).unwrap();
    assert!(matches!(
        Credentials::load(&folder),
        Err(CredentialsError::Broken("key"))
    ));
    std::fs::write(folder.join(CERT_FILE), "x".repeat(crate::PEM_BYTES_MAX + 1)).unwrap();
    assert!(matches!(Credentials::load(&folder), Err(CredentialsError::Io { .. })));
}
