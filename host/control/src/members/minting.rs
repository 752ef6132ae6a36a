//! Tokens that managers make themselves: their own, and those of a cloud that starts all its nodes.

use symphony_core::digest::Digest;
use symphony_core::keys;
use symphony_core::node::Role;
use symphony_core::token::{ApiRole, JOIN_SECONDS_DEFAULT, Token, TokenId, TokenKind, TokenText};
use symphony_pki::{random, sha256};
use symphony_store::{Compare, Txn};

use super::{MemberError, Members};
use crate::clock;
use crate::write::TxnRecords as _;

impl Members {
    /// Makes a token for the API that lasts until it is revoked.
    ///
    /// # Errors
    /// The store; no randomness; there is no cluster.
    pub async fn mint_api(&self, name: &str, role: ApiRole) -> Result<TokenText, MemberError> {
        self.mint(name, TokenKind::Api { role, project: None }, None).await
    }

    /// Makes a token that lets one process join, within a quarter of an hour.
    ///
    /// # Errors
    /// As [`Self::mint_api`].
    pub async fn mint_join(&self, name: &str, role: Role) -> Result<TokenText, MemberError> {
        self.mint(name, TokenKind::Join { role }, Some(1)).await
    }

    async fn mint(&self, name: &str, kind: TokenKind, uses_left: Option<u32>) -> Result<TokenText, MemberError> {
        let digest = self.authority_sha256().await?;
        let mut ca = [0; symphony_core::token::CA_BYTES];
        ca.copy_from_slice(&digest[..symphony_core::token::CA_BYTES]);
        let id = TokenId::new(random()?);
        let text = TokenText::new(id, random()?, Some(ca));
        let now = clock::now();
        let life = jiff::SignedDuration::from_secs(i64::try_from(JOIN_SECONDS_DEFAULT).unwrap_or(0));
        let token = Token {
            id,
            kind,
            name: name.to_owned(),
            secret_sha256: Digest::new(sha256(text.secret_hex().as_bytes())),
            expires_at: uses_left.map(|_| now + life),
            uses_left,
            created_by: "manager".to_owned(),
            created_at: now,
        };
        let key = keys::token(id);
        let txn = Txn::new().when(Compare::absent(&*key)).put_record(key.clone(), &token)?;
        self.store.txn(txn).await?;
        Ok(text)
    }
}
