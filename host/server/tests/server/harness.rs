//! Starts a server with everything around it, and takes it down again.

use std::path::PathBuf;
use std::sync::Arc;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use symphony_api::{Client, Code, Endpoint, Problem};
use symphony_core::condition::{Condition, Truth};
use symphony_core::id::{NodeId, ServiceId};
use symphony_core::meta::Meta;
use symphony_core::node::{Node, NodeSpec, NodeStatus, Pool, Role, Service};
use symphony_core::{Timestamp, keys, record};
use symphony_server::{Always, Limits, Server, ServerConfig, Tokens, serve};
use symphony_store::{Embedded, Options, Store, StoreExt as _};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::simulated::{SimulatedDataPort, SimulatedLoops};

pub(crate) const CLIENT_TOKEN: &str = "client-token";
pub(crate) const AGENT_TOKEN: &str = "agent-token";

pub(crate) struct Harness {
    pub(crate) base: String,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) loops: Arc<SimulatedLoops>,
    pub(crate) data: SimulatedDataPort,
    pub(crate) socket: PathBuf,
    pub(crate) shutdown: CancellationToken,
    pub(crate) server: Option<Server>,
    http: reqwest::Client,
    _folder: tempfile::TempDir,
}

/// A problem as it came, with its status checked against its code.
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) problem: Problem,
}

impl Refusal {
    #[track_caller]
    pub(crate) fn is(self, code: Code) -> Problem {
        assert_eq!(self.code, code, "{:?}", self.problem);
        self.problem
    }

    #[track_caller]
    pub(crate) fn at(self, code: Code, pointer: &str) -> Problem {
        let problem = self.is(code);
        assert!(
            problem.errors.iter().any(|error| error.pointer == pointer),
            "{pointer}: {:?}",
            problem.errors
        );
        problem
    }
}

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(
            Embedded::open(folder.path().join("store"), Options::default())
                .await
                .unwrap(),
        );
        let data = SimulatedDataPort::start().await;
        let loops = Arc::new(SimulatedLoops::new(store.clone(), data.url.clone()));
        let shutdown = CancellationToken::new();
        let socket = folder.path().join("control.sock");
        let config = ServerConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            control_socket: Some(socket.clone()),
            tokens: Tokens {
                client: CLIENT_TOKEN.into(),
                agent: Some(AGENT_TOKEN.into()),
            },
            tls: None,
            plain: true,
            advertise: None,
            manager: "m1".parse().unwrap(),
            audit_log: Some(folder.path().join("audit.log")),
            limits,
        };
        let server = serve(config, store.clone(), Arc::new(Always(loops.clone())), shutdown.clone())
            .await
            .unwrap();
        let base = format!("http://{}", server.address());
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(symphony_pki::trusting_nobody())
            .no_proxy()
            .build()
            .unwrap();
        Self {
            base,
            store,
            loops,
            data,
            socket,
            shutdown,
            server: Some(server),
            http,
            _folder: folder,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&Endpoint::Http(self.base.clone()), Some(CLIENT_TOKEN), "default").unwrap()
    }

    /// A request with the clients' token.
    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).bearer_auth(CLIENT_TOKEN)
    }

    /// Makes a token by its JSON; answers its id and its text.
    pub(crate) async fn token(&self, body: Value) -> (String, String) {
        let (_, made) = json(self.ask(Method::POST, "/v1/tokens").json(&body)).await;
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        (text("id"), text("text"))
    }

    pub(crate) async fn add_project(&self, name: &str) {
        json(
            self.ask(Method::POST, "/v1/projects")
                .json(&serde_json::json!({"name": name})),
        )
        .await;
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// A request without a token.
    pub(crate) fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn revision(&self) -> u64 {
        self.store.status().await.unwrap().revision.0
    }

    /// Asks, and expects a problem that changed nothing.
    #[track_caller]
    pub(crate) fn refused(&self, request: RequestBuilder) -> impl Future<Output = Refusal> {
        let store = self.store.clone();
        let place = std::panic::Location::caller();
        async move {
            let before = store.status().await.unwrap().revision;
            let refusal = refusal(request.send().await.unwrap(), place).await;
            assert_eq!(
                store.status().await.unwrap().revision,
                before,
                "{place}: something was changed"
            );
            refusal
        }
    }

    /// Asks for a volume by its JSON.
    pub(crate) fn post_volume(&self, body: &Value) -> RequestBuilder {
        self.ask(Method::POST, "/v1/projects/default/volumes").json(body)
    }

    /// Puts a node on record, as its agent's registration does.
    pub(crate) async fn add_node(&self, name: &str, ready: Truth) -> Node {
        let now = Timestamp::from_second(1).unwrap();
        let node = Node {
            meta: Meta::new(
                NodeId::new(Uuid::now_v7()),
                "default".parse().unwrap(),
                name.parse().unwrap(),
                "zone=a".parse().unwrap(),
                now,
            ),
            spec: NodeSpec::default(),
            status: NodeStatus {
                admission: symphony_core::counter::Admission(0),
                fence: symphony_core::node::Fence::None,
                ready: Condition {
                    kind: "ready".into(),
                    truth: ready,
                    reason: "r".into(),
                    message: String::new(),
                    since: now,
                },
                version: "0.1.0".into(),
                data_url: "http://127.0.0.1:1".into(),
                services: [Role::Block, Role::Image]
                    .map(|role| Service {
                        id: ServiceId::new(Uuid::now_v7()),
                        role,
                        since: now,
                    })
                    .into(),
                pools: vec![Pool {
                    name: "fast".parse().unwrap(),
                    capacity_bytes: 10 << 30,
                    reflink: true,
                }],
                compute: None,
                underlay: None,
                fence_programs: Vec::new(),
                fencing: None,
            },
        };
        self.store
            .put(keys::node(&node.meta.name), record::encode(&node).unwrap())
            .await
            .unwrap();
        node
    }

    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        if let Some(server) = self.server.take() {
            server.stopped().await;
        }
        self.store.close().await;
    }
}

async fn refusal(response: reqwest::Response, place: &std::panic::Location<'_>) -> Refusal {
    let status = response.status();
    let kind = response
        .headers()
        .get("content-type")
        .map(|kind| kind.to_str().unwrap().to_owned());
    let id = response
        .headers()
        .get("x-request-id")
        .map(|id| id.to_str().unwrap().to_owned());
    let text = response.text().await.unwrap();
    assert_eq!(
        kind.as_deref(),
        Some("application/problem+json"),
        "{place}: {status} {text}"
    );
    let problem: Problem = serde_json::from_str(&text).unwrap();
    assert_eq!(status.as_u16(), problem.code.status(), "{place}");
    assert_eq!(status.as_u16(), problem.status, "{place}");
    assert_eq!(id.as_deref(), Some(problem.request_id.as_str()), "{place}");
    assert!(
        problem.instance.starts_with('/') && !problem.detail.is_empty(),
        "{place}: {problem:?}"
    );
    Refusal {
        code: problem.code,
        problem,
    }
}

/// Asks, and expects success.
pub(crate) async fn json(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    assert!(status.is_success(), "{status}: {text}");
    (status, serde_json::from_str(&text).unwrap())
}
