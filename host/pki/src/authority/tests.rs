//! What is issued, and to whom.

use super::*;
use crate::credentials::MemberKey;
use crate::{Credentials, CredentialsError};

const NOW: u64 = 1_790_000_000;

fn cluster() -> Uuid {
    Uuid::from_u128(7)
}

fn authority() -> Authority {
    Authority::make(cluster(), NOW).unwrap()
}

#[test]
fn an_authority_reads_back_and_mixed_up_parts_are_refused() {
    let (one, two) = (authority(), authority());
    let loaded = Authority::load(&one.cert_pem(), one.key_pem(), &one.roots_pem()).unwrap();
    assert_eq!((loaded.cluster(), loaded.digest()), (cluster(), one.digest()));
    assert_eq!(one.digest().len(), 64);
    let refused = |cert: &str, key: &str, roots: &str| Authority::load(cert, key, roots).unwrap_err().to_string();
    assert_eq!(
        refused(&one.cert_pem(), two.key_pem(), &one.roots_pem()),
        "the authority's key can't be used"
    );
    assert_eq!(
        refused("", one.key_pem(), &one.roots_pem()),
        "the authority's certificate can't be used"
    );
    assert_eq!(
        refused(&one.cert_pem(), one.key_pem(), "x"),
        "the authority's roots can't be used"
    );
    let key = MemberKey::make().unwrap();
    let leaf = issue(&one, &key, &Identity::node(cluster(), "n1")).unwrap();
    let leaf_alone = pem::text(&pem::certificates(&leaf.cert_pem).unwrap()[0]);
    assert_eq!(
        refused(&leaf_alone, &key.to_pem(), &one.roots_pem()),
        "the authority's certificate can't be used"
    );
    assert_eq!(
        refused(&one.cert_pem(), one.key_pem(), &leaf_alone),
        "the authority's roots can't be used"
    );
    assert!(!format!("{one:?}").contains("PRIVATE"));
}

fn issue(authority: &Authority, key: &MemberKey, identity: &Identity) -> Result<Issued, AuthorityError> {
    authority.issue(&key.csr_pem().unwrap(), identity, &[], NOW, LIFE)
}

#[test]
fn a_certificate_says_who_until_when_and_nothing_of_the_request() {
    let authority = authority();
    // A request that claims to be a manager, and an authority.
    let pair = KeyPair::generate().unwrap();
    let mut claims = CertificateParams::new(vec!["manager.example".to_owned()]).unwrap();
    let uri = Identity::manager(cluster(), "m1").to_string().try_into().unwrap();
    claims.subject_alt_names.push(SanType::URI(uri));
    claims.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let request = claims.serialize_request(&pair).unwrap().pem().unwrap();
    let names = ["127.0.0.1".to_owned(), "n1.example".to_owned(), "::1".to_owned()];
    let issued = authority
        .issue(&request, &Identity::node(cluster(), "n1"), &names, NOW, LIFE)
        .unwrap();
    let credentials = Credentials::new(&pair.serialize_pem(), &issued.cert_pem, &authority.roots_pem()).unwrap();
    assert_eq!(*credentials.identity(), Identity::node(cluster(), "n1"));
    assert_eq!(
        (credentials.serial(), issued.serial.len()),
        (issued.serial.as_str(), 32)
    );
    assert_eq!((credentials.expires(), issued.not_after), (NOW + 86_400, NOW + 86_400));
    assert_eq!(credentials.renew_at(), NOW + 57_600);
    assert_eq!(credentials.info().not_before, NOW - CLOCK_GRACE_SECONDS);
    let leaf = &credentials.chain()[0];
    let (_, parsed) = X509Certificate::from_der(leaf).unwrap();
    assert!(!parsed.is_ca() && !format!("{parsed:?}").contains("manager.example"));
    assert_eq!(
        parsed
            .subject_alternative_name()
            .unwrap()
            .unwrap()
            .value
            .general_names
            .len(),
        4
    );
    assert!(credentials.trusts(&authority.digest()[..32]) && !credentials.trusts("") && !credentials.trusts("00"));
    let other = MemberKey::make().unwrap();
    assert!(matches!(
        Credentials::new(&other.to_pem(), &issued.cert_pem, &authority.roots_pem()),
        Err(CredentialsError::OtherKey)
    ));
    assert_ne!(
        issue(&authority, &other, credentials.identity()).unwrap().serial,
        issued.serial
    );
}

#[test]
fn bad_requests_and_names_are_refused() {
    let authority = authority();
    let key = MemberKey::make().unwrap();
    let node = Identity::node(cluster(), "n1");
    let good = key.csr_pem().unwrap();
    // Another key's signature under this key's request.
    let mut tampered = der_of(&good);
    let last = tampered.len() - 1;
    tampered[last] ^= 1;
    let tampered = pem_of(&tampered);
    for (request, text) in [
        (tampered.as_str(), "the certificate request can't be used"),
        ("", "the certificate request can't be used"),
        (
            &"x".repeat(PEM_BYTES_MAX + 1),
            "the certificate request is over 65536 bytes",
        ),
    ] {
        let error = authority.issue(request, &node, &[], NOW, LIFE).unwrap_err();
        assert_eq!(error.to_string(), text);
    }
    for identity in [
        Identity::node(Uuid::from_u128(8), "n1"),
        Identity::node(cluster(), "N/1"),
    ] {
        assert!(matches!(
            issue(&authority, &key, &identity),
            Err(AuthorityError::Foreign(_))
        ));
    }
    for name in ["", "a b", "*.x", "http://x", "ä", "-"] {
        let error = authority
            .issue(&good, &node, &[name.to_owned()], NOW, LIFE)
            .unwrap_err();
        assert!(matches!(error, AuthorityError::AltName(_)), "{name}: {error}");
    }
    let many = vec!["x".to_owned(); ALT_NAMES_MAX + 1];
    assert!(matches!(
        authority.issue(&good, &node, &many, NOW, LIFE),
        Err(AuthorityError::AltNames)
    ));
}

#[test]
fn a_renewal_needs_the_same_key_and_one_of_the_roots_at_any_time() {
    let mut authority = authority();
    let key = MemberKey::make().unwrap();
    let node = Identity::node(cluster(), "n1");
    // A node that was off for ten days.
    let old = authority
        .issue(&key.csr_pem().unwrap(), &node, &[], NOW - 10 * 86_400, LIFE)
        .unwrap();
    let request = key.csr_pem().unwrap();
    let late = authority.issue(&request, &node, &[], NOW, LIFE).unwrap();
    assert_eq!(
        authority.check_renewal(&late.cert_pem, &request).unwrap(),
        (node.clone(), late.serial)
    );
    assert_eq!(
        authority.check_renewal(&old.cert_pem, &request).unwrap(),
        (node.clone(), old.serial)
    );
    let other = MemberKey::make().unwrap().csr_pem().unwrap();
    assert!(matches!(
        authority.check_renewal(&late.cert_pem, &other),
        Err(AuthorityError::OtherKey)
    ));
    let next = Authority::make(cluster(), NOW).unwrap();
    assert!(matches!(
        next.check_renewal(&late.cert_pem, &request),
        Err(AuthorityError::NotOurs(_))
    ));
    // During a rotation both count, and after it only the new one.
    let mut next = next;
    next.trust(&authority.roots_pem()).unwrap();
    assert!(next.check_renewal(&late.cert_pem, &request).is_ok());
    next.trust_only_itself();
    assert!(next.check_renewal(&late.cert_pem, &request).is_err());
    for _ in 0..7 {
        authority
            .trust(&Authority::make(cluster(), NOW).unwrap().roots_pem())
            .unwrap();
    }
    assert!(
        authority
            .trust(&Authority::make(cluster(), NOW).unwrap().roots_pem())
            .is_err()
    );
    assert_eq!(pem::certificates(&authority.roots_pem()).unwrap().len(), 8);
}

fn der_of(request: &str) -> Vec<u8> {
    use rustls::pki_types::CertificateSigningRequestDer;
    use rustls::pki_types::pem::PemObject as _;
    CertificateSigningRequestDer::from_pem_slice(request.as_bytes())
        .unwrap()
        .to_vec()
}

fn pem_of(der: &[u8]) -> String {
    pem::text(&CertificateDer::from(der.to_vec())).replace("CERTIFICATE", "CERTIFICATE REQUEST")
}
