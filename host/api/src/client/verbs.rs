//! The verbs.

mod backup;
mod machines;
mod networks;
mod projects;
mod tokens;

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, IF_MATCH};
use reqwest::{Method, RequestBuilder};

use super::request::ListQuery;
use super::{Client, ClientError, Upload};
use crate::v1::{
    Activate, Authority, CreateVolume, DrainNode, Event, Explanation, FenceNode, Image, List, Membership, Node,
    NodeDrained, NodePowerSeen, PatchNode, PatchVolume, Plugin, Preview, Service, Slot, StoreHealth, Volume,
};

/// The result of a verb.
type Answer<T> = Result<T, ClientError>;

macro_rules! all_pages {
    ($client:expr, $page:ident, $labels:expr) => {{
        let mut query = ListQuery {
            limit: Some(crate::PAGE_MAX),
            labels: $labels.map(str::to_owned),
            page_token: None,
        };
        let mut all = Vec::new();
        loop {
            let page = $client.$page(&query).await?;
            all.extend(page.items);
            match page.next_page_token {
                Some(token) => query.page_token = Some(token),
                None => break Ok(all),
            }
        }
    }};
}
use all_pages;

/// Volumes.
impl Client {
    fn volume_url(&self, more: &[&str]) -> Answer<reqwest::Url> {
        let mut segments = vec!["v1", "projects", &*self.project, "volumes"];
        segments.extend(more);
        self.url(&segments)
    }

    /// Asks for a volume. Sent again when nothing was answered: the key lets the manager make it once.
    ///
    /// # Errors
    /// What is wrong with it, or that nothing was answered.
    pub async fn create_volume(&self, volume: &CreateVolume) -> Answer<Volume> {
        self.create_volume_once(volume, &uuid::Uuid::now_v7().to_string()).await
    }

    /// Asks for a volume with an idempotency key of the caller's.
    ///
    /// # Errors
    /// As [`Client::create_volume`]; also when the key was used for another request.
    pub async fn create_volume_once(&self, volume: &CreateVolume, key: &str) -> Answer<Volume> {
        let url = self.volume_url(&[])?;
        self.repeat(|| {
            self.request(Method::POST, url.clone())
                .header("Idempotency-Key", key)
                .json(volume)
        })
        .await
    }

    /// Says where a volume would go. Nothing is made.
    ///
    /// # Errors
    /// What is wrong with it, or that no node takes it.
    pub async fn preview_volume(&self, volume: &CreateVolume) -> Answer<Preview> {
        let mut url = self.volume_url(&[])?;
        url.query_pairs_mut().append_pair("dry_run", "true");
        self.repeat(|| self.request(Method::POST, url.clone()).json(volume))
            .await
    }

    /// A volume by name or id.
    ///
    /// # Errors
    /// When there is none, or nothing was answered.
    pub async fn volume(&self, name: &str) -> Answer<Volume> {
        let url = self.volume_url(&[name])?;
        self.repeat(|| self.request(Method::GET, url.clone())).await
    }

    /// A page of volumes.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn volumes(&self, query: &ListQuery) -> Answer<List<Volume>> {
        self.get_with(&["v1", "projects", &self.project, "volumes"], query)
            .await
    }

    /// All volumes, or those with these labels (`a=1,b=2`).
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn all_volumes(&self, labels: Option<&str>) -> Answer<Vec<Volume>> {
        all_pages!(self, volumes, labels)
    }

    /// Changes a volume; with a revision only when it is still that.
    ///
    /// # Errors
    /// What is wrong with the change, or that nothing was answered.
    pub async fn patch_volume(&self, name: &str, patch: &PatchVolume, revision: Option<u64>) -> Answer<Volume> {
        let request = self.request(Method::PATCH, self.volume_url(&[name])?).json(patch);
        self.json(if_match(request, revision)).await
    }

    /// Asks for a volume's end; with a revision only when it is still that. It is gone when it is not found any more.
    ///
    /// # Errors
    /// When there is none, or nothing was answered.
    pub async fn delete_volume(&self, name: &str, revision: Option<u64>) -> Answer<Volume> {
        self.json(if_match(
            self.request(Method::DELETE, self.volume_url(&[name])?),
            revision,
        ))
        .await
    }

    /// Why a volume is where it is, or nowhere.
    ///
    /// # Errors
    /// When there is none, or nothing was answered.
    pub async fn explain_volume(&self, name: &str) -> Answer<Explanation> {
        let url = self.volume_url(&[name, "explanation"])?;
        self.repeat(|| self.request(Method::GET, url.clone())).await
    }
}

/// Images.
impl Client {
    /// Uploads an image. With a digest (64 hexadecimal digits) the bytes must have it. Has no deadline.
    ///
    /// # Errors
    /// What is wrong with the name or the bytes, or that nothing was answered.
    pub async fn create_image(&self, name: &str, sha256: Option<&str>, upload: Upload) -> Answer<Image> {
        let mut url = self.url(&["v1", "projects", &self.project, "images"])?;
        url.query_pairs_mut().append_pair("name", name);
        if let Some(sha256) = sha256 {
            url.query_pairs_mut().append_pair("sha256", sha256);
        }
        let request = self
            .request(Method::POST, url)
            .header(CONTENT_TYPE, "application/octet-stream");
        self.upload(request, upload).await
    }

    async fn upload<T: serde::de::DeserializeOwned>(&self, request: RequestBuilder, upload: Upload) -> Answer<T> {
        let request = match upload.length {
            Some(length) => request.header(CONTENT_LENGTH, length),
            None => request,
        };
        // A body that is read while it is sent can't be sent again, to nobody.
        self.find_manager().await?;
        let response = self.send(request.body(upload.body)).await?;
        let lost = |source| ClientError::transport("the answer broke off", source);
        serde_json::from_slice(&response.bytes().await.map_err(lost)?).map_err(ClientError::Decode)
    }

    /// An image by name or id.
    ///
    /// # Errors
    /// When there is none, or nothing was answered.
    pub async fn image(&self, name: &str) -> Answer<Image> {
        self.get(&["v1", "projects", &self.project, "images", name]).await
    }

    /// A page of images.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn images(&self, query: &ListQuery) -> Answer<List<Image>> {
        self.get_with(&["v1", "projects", &self.project, "images"], query).await
    }

    /// All images, or those with these labels (`a=1,b=2`).
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn all_images(&self, labels: Option<&str>) -> Answer<Vec<Image>> {
        all_pages!(self, images, labels)
    }

    /// Asks for an image's end; with a revision only when it is still that.
    ///
    /// # Errors
    /// When it is in use, there is none, or nothing was answered.
    pub async fn delete_image(&self, name: &str, revision: Option<u64>) -> Answer<Image> {
        let url = self.url(&["v1", "projects", &self.project, "images", name])?;
        self.json(if_match(self.request(Method::DELETE, url), revision)).await
    }
}

/// Nodes and services.
impl Client {
    /// A node by name or id.
    ///
    /// # Errors
    /// When there is none, or nothing was answered.
    pub async fn node(&self, name: &str) -> Answer<Node> {
        self.get(&["v1", "nodes", name]).await
    }

    /// A page of nodes.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn nodes(&self, query: &ListQuery) -> Answer<List<Node>> {
        self.get_with(&["v1", "nodes"], query).await
    }

    /// All nodes, or those with these labels (`a=1,b=2`).
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn all_nodes(&self, labels: Option<&str>) -> Answer<Vec<Node>> {
        all_pages!(self, nodes, labels)
    }

    /// Changes a node; with a revision only when it is still that.
    ///
    /// # Errors
    /// What is wrong with the change, or that nothing was answered.
    pub async fn patch_node(&self, name: &str, patch: &PatchNode, revision: Option<u64>) -> Answer<Node> {
        let request = self
            .request(Method::PATCH, self.url(&["v1", "nodes", name])?)
            .json(patch);
        self.json(if_match(request, revision)).await
    }

    /// Fences a node: its machines may be started elsewhere. With `confirm` at once; without, once its devices were seen to
    /// have cut its power.
    ///
    /// # Errors
    /// The node is connected, it has no devices and it was not confirmed, or nothing was answered.
    pub async fn fence_node(&self, name: &str, fence: &FenceNode) -> Answer<Node> {
        let url = self.url(&["v1", "nodes", name, "fence"])?;
        self.json(self.request(Method::POST, url).json(fence)).await
    }

    /// Asks what cuts a node's power whether it is on; changes nothing.
    ///
    /// # Errors
    /// It has no devices, nobody can ask them, or nothing was answered.
    pub async fn node_power(&self, name: &str) -> Answer<NodePowerSeen> {
        let url = self.url(&["v1", "nodes", name, "power"])?;
        self.json(self.request(Method::POST, url)).await
    }

    /// Cordons a node and lets go what can go. May be repeated.
    ///
    /// # Errors
    /// There is no such node, or nothing was answered.
    pub async fn drain_node(&self, name: &str, drain: &DrainNode) -> Answer<NodeDrained> {
        let url = self.url(&["v1", "nodes", name, "drain"])?;
        self.json(self.request(Method::POST, url).json(drain)).await
    }

    /// All services, managers among them.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn services(&self) -> Answer<List<Service>> {
        self.get(&["v1", "services"]).await
    }

    /// The authority that signs members' certificates, and who still needs one before it.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn authority(&self) -> Answer<Authority> {
        self.get(&["v1", "authority"]).await
    }

    /// Has another authority issue from now on.
    ///
    /// # Errors
    /// The last rotation is under way, or nothing was answered.
    pub async fn rotate_authority(&self) -> Answer<Authority> {
        self.json(self.request(Method::POST, self.url(&["v1", "authority", "rotate"])?))
            .await
    }

    /// Ends all that comes of authorities before the present one; with `force` whoever needs it.
    ///
    /// # Errors
    /// Members or tokens need one of them, there is none, or nothing was answered.
    pub async fn retire_authorities(&self, force: bool) -> Answer<Authority> {
        let mut url = self.url(&["v1", "authority", "retire"])?;
        if force {
            url.query_pairs_mut().append_pair("force", "true");
        }
        self.json(self.request(Method::POST, url)).await
    }

    /// How the store is, as the manager that answers sees it.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn store(&self) -> Answer<StoreHealth> {
        self.get(&["v1", "store"]).await
    }

    /// Makes a manager a member of its store's cluster, or makes the cluster: on its control socket alone.
    ///
    /// # Errors
    /// When it is a member already, or can't become one.
    pub async fn manager_init(&self) -> Answer<Membership> {
        let request = self.request(Method::POST, self.url(&["v1", "manager", "init"])?);
        self.json(request).await
    }

    /// Removes a service; with `force` also one that still has resources. Answers what it was.
    ///
    /// # Errors
    /// When it still has resources, there is none, or nothing was answered.
    pub async fn remove_service(&self, id: &str, force: bool) -> Answer<Service> {
        let mut url = self.url(&["v1", "services", id])?;
        if force {
            url.query_pairs_mut().append_pair("force", "true");
        }
        self.json(self.request(Method::DELETE, url)).await
    }
}

/// Plugins and slots.
impl Client {
    /// Uploads a component. The same bytes twice are the same plugin.
    ///
    /// # Errors
    /// Why it is rejected, or that nothing was answered.
    pub async fn push_plugin(&self, component: Vec<u8>) -> Answer<Plugin> {
        let request = self
            .request(Method::POST, self.url(&["v1", "plugins"])?)
            .header(CONTENT_TYPE, "application/wasm");
        self.upload(request, Upload::bytes(component)).await
    }

    /// A plugin by name, `name@version` or digest.
    ///
    /// # Errors
    /// When there is none, or nothing was answered.
    pub async fn plugin(&self, reference: &str) -> Answer<Plugin> {
        self.get(&["v1", "plugins", reference]).await
    }

    /// A page of plugins.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn plugins(&self, query: &ListQuery) -> Answer<List<Plugin>> {
        self.get_with(&["v1", "plugins"], query).await
    }

    /// All plugins.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn all_plugins(&self) -> Answer<Vec<Plugin>> {
        all_pages!(self, plugins, None::<&str>)
    }

    /// All slots.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn slots(&self) -> Answer<List<Slot>> {
        self.get(&["v1", "slots"]).await
    }

    /// A slot: `scheduler/volume`, `driver/volume`, `driver/image`, `driver/machine`, `driver/network`, `driver/export`, `driver/fence`.
    ///
    /// # Errors
    /// When there is none, or nothing was answered.
    pub async fn slot(&self, slot: &str) -> Answer<Slot> {
        let (role, kind) = slot.split_once('/').unwrap_or((slot, ""));
        self.get(&["v1", "slots", role, kind]).await
    }

    /// Lets a plugin serve in a slot.
    ///
    /// # Errors
    /// Why it can't, or that nothing was answered.
    pub async fn activate(&self, slot: &str, activate: &Activate) -> Answer<Slot> {
        let (role, kind) = slot.split_once('/').unwrap_or((slot, ""));
        let url = self.url(&["v1", "slots", role, kind, "activate"])?;
        self.json(self.request(Method::POST, url).json(activate)).await
    }

    /// Lets what served before serve again.
    ///
    /// # Errors
    /// When nothing served before, or nothing was answered.
    pub async fn rollback(&self, slot: &str) -> Answer<Slot> {
        let (role, kind) = slot.split_once('/').unwrap_or((slot, ""));
        self.json(self.request(Method::POST, self.url(&["v1", "slots", role, kind, "rollback"])?))
            .await
    }
}

/// What happened, and how the manager is.
impl Client {
    /// A page of events, newest first.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn events(&self, query: &ListQuery) -> Answer<List<Event>> {
        self.get_with(&["v1", "events"], query).await
    }

    /// Whether the manager serves: no error means yes.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn ready(&self) -> Answer<()> {
        let request = self
            .request(Method::GET, self.url(&["readyz"])?)
            .timeout(super::REQUEST_TIMEOUT);
        self.send(request).await.map(drop)
    }

    /// The manager's metrics, in Prometheus' text format.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn metrics(&self) -> Answer<String> {
        let request = self
            .request(Method::GET, self.url(&["metrics"])?)
            .timeout(super::REQUEST_TIMEOUT);
        let lost = |source| ClientError::transport("the answer broke off", source);
        self.send(request).await?.text().await.map_err(lost)
    }
}

fn if_match(request: RequestBuilder, revision: Option<u64>) -> RequestBuilder {
    match revision {
        Some(revision) => request.header(IF_MATCH, format!("\"{revision}\"")),
        None => request,
    }
}
