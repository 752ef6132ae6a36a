//! The verbs of tokens.

use reqwest::Method;

use super::{Answer, all_pages};
use crate::client::Client;
use crate::client::request::ListQuery;
use crate::v1::{CreateToken, CreatedToken, List, Token};

/// Tokens.
impl Client {
    /// Asks for a token. Sent once: a token that nobody has the text of would be left behind.
    ///
    /// # Errors
    /// What is wrong with it, or that nothing was answered.
    pub async fn create_token(&self, token: &CreateToken) -> Answer<CreatedToken> {
        let url = self.url(&["v1", "tokens"])?;
        self.json(self.request(Method::POST, url).json(token)).await
    }

    /// A page of tokens.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn tokens(&self, query: &ListQuery) -> Answer<List<Token>> {
        self.get_with(&["v1", "tokens"], query).await
    }

    /// All tokens.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn all_tokens(&self) -> Answer<Vec<Token>> {
        all_pages!(self, tokens, None::<&str>)
    }

    /// Revokes a token, by id. Answers what it was.
    ///
    /// # Errors
    /// When there is none, or nothing was answered.
    pub async fn revoke_token(&self, id: &str) -> Answer<Token> {
        let url = self.url(&["v1", "tokens", id])?;
        self.json(self.request(Method::DELETE, url)).await
    }
}
