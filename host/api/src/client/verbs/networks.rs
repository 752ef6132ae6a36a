//! The verbs of networks.

use reqwest::Method;

use super::{Answer, all_pages, if_match};
use crate::client::Client;
use crate::client::request::ListQuery;
use crate::v1::{CreateNetwork, List, Network};

/// Networks.
impl Client {
    fn network_url(&self, more: &[&str]) -> Answer<reqwest::Url> {
        let mut segments = vec!["v1", "projects", &*self.project, "networks"];
        segments.extend(more);
        self.url(&segments)
    }

    /// Asks for a network. Sent again when nothing was answered: the key lets the manager make it once.
    ///
    /// # Errors
    /// What is wrong with it, or that nothing was answered.
    pub async fn create_network(&self, network: &CreateNetwork) -> Answer<Network> {
        self.create_network_once(network, &uuid::Uuid::now_v7().to_string())
            .await
    }

    /// Asks for a network with an idempotency key of the caller's.
    ///
    /// # Errors
    /// As [`Client::create_network`]; also when the key was used for another request.
    pub async fn create_network_once(&self, network: &CreateNetwork, key: &str) -> Answer<Network> {
        let url = self.network_url(&[])?;
        self.repeat(|| {
            self.request(Method::POST, url.clone())
                .header("Idempotency-Key", key)
                .json(network)
        })
        .await
    }

    /// A network by name or id.
    ///
    /// # Errors
    /// When there is none, or nothing was answered.
    pub async fn network(&self, name: &str) -> Answer<Network> {
        let url = self.network_url(&[name])?;
        self.repeat(|| self.request(Method::GET, url.clone())).await
    }

    /// A page of networks.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn networks(&self, query: &ListQuery) -> Answer<List<Network>> {
        self.get_with(&["v1", "projects", &self.project, "networks"], query)
            .await
    }

    /// All networks, or those with these labels (`a=1,b=2`).
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn all_networks(&self, labels: Option<&str>) -> Answer<Vec<Network>> {
        all_pages!(self, networks, labels)
    }

    /// Asks for a network's end; with a revision only when it is still that.
    ///
    /// # Errors
    /// When machines are connected to it, there is none, or nothing was answered.
    pub async fn delete_network(&self, name: &str, revision: Option<u64>) -> Answer<Network> {
        let request = self.request(Method::DELETE, self.network_url(&[name])?);
        self.json(if_match(request, revision)).await
    }
}
