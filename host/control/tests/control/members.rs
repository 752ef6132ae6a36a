//! Members, as several managers let them in at the same time, and the authority that is replaced under them.

use std::sync::Arc;
use std::time::Duration;

use symphony_control::members::{Admission, Applicant, MemberError, Members, RotationError};
use symphony_core::keys;
use symphony_core::node::Role;
use symphony_core::token::{Token, TokenFault, TokenText};
use symphony_pki::{Credentials, MemberKey};

use super::harness::{Loops, name};

/// A node that asks.
struct Node {
    name: String,
    key: MemberKey,
}

impl Node {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            key: MemberKey::make().unwrap(),
        }
    }

    async fn enrols(&self, members: &Members, token: &TokenText) -> Result<Admission, MemberError> {
        let applicant = Applicant {
            node: &name(&self.name),
            role: Role::Block,
            token,
            csr_pem: &self.key.csr_pem().unwrap(),
            alt_names: &[],
        };
        members.enrol(applicant).await
    }

    fn credentials(&self, admission: &Admission) -> Credentials {
        Credentials::new(&self.key.to_pem(), &admission.cert_pem, &admission.roots_pem).unwrap()
    }

    /// It uses its certificate for the first time.
    async fn shows(&self, members: &Members, admission: &Admission) {
        let credentials = self.credentials(admission);
        members
            .shown(credentials.identity(), credentials.serial())
            .await
            .unwrap();
    }

    async fn renews(&self, members: &Members, cert_pem: &str) -> Admission {
        let csr = self.key.csr_pem().unwrap();
        members.renew(cert_pem, &csr, &[]).await.unwrap()
    }
}

impl Loops {
    /// A manager's way to the members.
    fn members(&self) -> Members {
        Members::new(Arc::clone(&self.store))
    }

    /// A token that lets so many in.
    async fn token(&self, uses: u32) -> TokenText {
        let token = self.members().mint_join("", Role::Block).await.unwrap();
        self.change::<Token>(keys::token(token.id()), |token| token.uses_left = Some(uses))
            .await;
        token
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_many_uses_serves_all_who_come_at_once_and_nobody_more() {
    const NODES: usize = 96;
    let loops = Loops::start().await;
    let managers = [loops.members(), loops.members(), loops.members()];
    managers[0].found().await.unwrap();
    let token = loops.token(NODES as u32).await;
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..NODES {
        let (members, token) = (managers[number % managers.len()].clone(), token.clone());
        asking.spawn(async move {
            Node::new(&format!("n{number}"))
                .enrols(&members, &token)
                .await
                .map(|_| ())
        });
    }
    while let Some(asked) = asking.join_next().await {
        asked.unwrap().unwrap();
    }
    let left: Token = loops.read(keys::token(token.id())).await.unwrap();
    assert_eq!(left.uses_left, Some(0));
    let late = Node::new("late").enrols(&managers[1], &token).await.unwrap_err();
    assert!(matches!(late, MemberError::Token(TokenFault::Used)), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_rotations_at_once_one_counts() {
    let loops = Loops::start().await;
    let managers = [loops.members(), loops.members()];
    managers[0].found().await.unwrap();
    // Somebody who is away: so the end of the first one is not over at once.
    let token = loops.token(1).await;
    let node = Node::new("n1");
    let admitted = node.enrols(&managers[0], &token).await.unwrap();
    node.shows(&managers[0], &admitted).await;
    let before = managers[0].authority_view().await.unwrap().digest;
    let (a, b) = tokio::join!(managers[0].rotate_authority(), managers[1].rotate_authority());
    let (done, refused) = if a.is_ok() { (a, b) } else { (b, a) };
    let done = done.unwrap();
    assert_ne!(done.digest, before);
    assert_eq!(done.trusted, [before]);
    let refused = refused.unwrap_err();
    assert!(
        matches!(&refused, RotationError::UnderWay { waiting, .. } if waiting.contains("node/n1")),
        "{refused}"
    );
    assert_eq!(managers[1].authority_view().await.unwrap().digest, done.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_authority_ends_by_itself_once_nobody_who_is_a_member_needs_it() {
    let loops = Loops::start().await;
    let members = loops.members();
    members.found().await.unwrap();
    let token = loops.token(2).await;
    let (here, away) = (Node::new("here"), Node::new("away"));
    let first = here.enrols(&members, &token).await.unwrap();
    let other = away.enrols(&members, &token).await.unwrap();
    here.shows(&members, &first).await;
    away.shows(&members, &other).await;
    let rotated = members.rotate_authority().await.unwrap();
    assert_eq!(rotated.waiting, ["node/away", "node/here"]);
    let next = here.renews(&members, &first.cert_pem).await;
    // Until it was shown it may never have arrived.
    assert_eq!(members.authority_view().await.unwrap().waiting.len(), 2);
    here.shows(&members, &next).await;
    // The loop looks at each change. It has had time for this one; what it must not do it has not done.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let held = members.authority_view().await.unwrap();
    assert_eq!(
        (held.waiting.as_slice(), held.trusted.len()),
        (["node/away".to_owned()].as_slice(), 1)
    );
    assert!(matches!(
        members.retire_authorities(false).await,
        Err(RotationError::UnderWay { .. })
    ));

    let gone = away.credentials(&other);
    members.revoke(&gone.identity().member).await.unwrap();
    for _ in 0..3_000 {
        if members.authority_view().await.unwrap().trusted.is_empty() {
            // A renewal of the old one's certificate comes too late.
            let csr = away.key.csr_pem().unwrap();
            assert!(members.renew(&other.cert_pem, &csr, &[]).await.is_err());
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!(
        "the old authority is trusted still: {:?}",
        members.authority_view().await
    );
}
