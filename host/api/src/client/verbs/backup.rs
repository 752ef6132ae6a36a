//! The verb of backups.

use reqwest::Method;

use super::Answer;
use crate::client::{Client, Download};

/// Backups.
impl Client {
    /// Begins a backup of all that the managers keep, in the form of [`crate::backup`]. It has the key of the cluster's
    /// authority in it.
    ///
    /// # Errors
    /// When the principal is no admin, enough of them are under way, or nothing was answered.
    pub async fn backup(&self) -> Answer<Download> {
        let url = self.url(&["v1", "backup"])?;
        let begun = self.patiently(|| self.send(self.request(Method::GET, url.clone())));
        begun.await.map(Download)
    }
}
