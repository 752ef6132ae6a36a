//! The nodes' data ports, as any manager reaches them: the leader knows which agents have a session, the others what is on
//! record.

use std::time::Duration;

use symphony_core::condition::Truth;
use symphony_core::name::Name;
use symphony_core::node::{Node, Role};
use symphony_core::{keys, record};
use symphony_pki::Expect;
use symphony_store::{Range, read_all};

use crate::app::Shared;
use crate::decisions::Standing;
use crate::failure::{Answer, Failure};
use crate::reading::load;

/// Nodes that are read at a time.
const PAGE: usize = 500;
/// How long a data port may take to be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Shared {
    /// Where a node's data port is; nothing when its agent is not heard of.
    pub(crate) async fn data_url(&self, node: &Name) -> Answer<Option<String>> {
        if let Standing::Leading(decisions) = self.standing() {
            return Ok(decisions.data_url(node));
        }
        let node = load::<Node>(&*self.store, &keys::node(node)).await?;
        let ready = node.filter(|node| node.value.status.ready.truth == Truth::True);
        Ok(ready.map(|node| node.value.status.data_url))
    }

    /// The node that takes new images, and its data port: the first by name that is heard of.
    pub(crate) async fn image_service(&self) -> Answer<Option<(Name, String)>> {
        if let Standing::Leading(decisions) = self.standing() {
            return Ok(decisions.image_service());
        }
        for kv in read_all(&*self.store, Range::prefix(keys::NODES), PAGE).await?.kvs {
            let node: Node = record::decode(&kv.value)?;
            if node.status.ready.truth == Truth::True && node.service(Role::Image).is_some() {
                return Ok(Some((node.meta.name, node.status.data_url)));
            }
        }
        Ok(None)
    }

    /// A client of one node's data port: nobody else is taken for it, wherever its address leads.
    pub(crate) fn data_client(&self, node: &Name) -> Answer<reqwest::Client> {
        let mut config = match &self.tls {
            Some(tls) => tls.client_config(Expect::Node(node.to_string())),
            None => symphony_pki::trusting_nobody(),
        };
        // Consoles are upgraded connections.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            // The images are for the nodes alone.
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build();
        client.map_err(|error| {
            tracing::error!(%error, "a client of a data port can't be made");
            Failure::new(symphony_api::Code::Internal, "a client of the data port can't be made")
        })
    }
}
