//! Stand-ins for the loops, for an agent's session, and for the data port of an image service.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::ws::{CloseFrame, Message, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, put};
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use symphony_api::{Code, Problem};
use symphony_control::fence::{Drained, PowerSeen};
use symphony_control::{AsOf, Chosen, Explanation, MachinePreview, PlannedStep, Preview};
use symphony_core::counter::{Epoch, Revision};
use symphony_core::digest::Digest;
use symphony_core::id::PluginId;
use symphony_core::machine::Machine;
use symphony_core::name::Name;
use symphony_core::place::{Outcome, Part, Refusal, Request, Surroundings, Verdict};
use symphony_core::plan::image::{DetectedFormat, Header, Integrity, Upload};
use symphony_core::plugin::{Activation, Plugin, Slot};
use symphony_core::volume::{Decider, Volume};
use symphony_core::{Timestamp, keys, record};
use symphony_protocol::{Hello, ToAgent, ToManager, Welcome};
use symphony_server::{AgentSession, Decisions};
use symphony_store::{Store, StoreExt as _};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::harness::AGENT_TOKEN;

/// Answers what the loops would, from memory. One node `n1` with 10 GiB free takes what fits.
pub(crate) struct SimulatedLoops {
    store: Arc<dyn Store>,
    pub(crate) image_service: Mutex<Option<(Name, String)>>,
    pub(crate) not_ready: Mutex<Option<String>>,
    pub(crate) heard: Arc<Mutex<Vec<ToManager>>>,
    pub(crate) to_agent: Mutex<Option<mpsc::Sender<ToAgent>>>,
}

impl SimulatedLoops {
    pub(crate) fn new(store: Arc<dyn Store>, data_url: String) -> Self {
        Self {
            store,
            image_service: Mutex::new(Some(("n1".parse().unwrap(), data_url))),
            not_ready: Mutex::default(),
            heard: Arc::default(),
            to_agent: Mutex::default(),
        }
    }

    fn decide(request: &Request) -> Preview {
        let free: u64 = 10 << 30;
        let fits = request.disk_bytes <= free;
        let outcome = if fits {
            Outcome::Scored {
                score: 1.0,
                parts: vec![Part {
                    name: "free".into(),
                    value: 1.0,
                }],
            }
        } else {
            let detail = "not enough room".to_owned();
            Outcome::Removed(Refusal {
                filter: "room".into(),
                wanted: request.disk_bytes,
                available: free,
                detail,
            })
        };
        Preview {
            decided_by: Decider {
                name: "simulated".into(),
                version: "1".into(),
                digest: None,
                instead_of: None,
            },
            chosen: fits.then(|| Chosen {
                node: "n1".into(),
                pool: "fast".into(),
                score: 1.0,
            }),
            verdicts: vec![Verdict {
                node: "n1".into(),
                pool: "fast".into(),
                outcome,
            }],
            removed: Vec::new(),
            revision: Revision(7),
        }
    }
}

#[async_trait]
impl Decisions for SimulatedLoops {
    fn readiness(&self) -> Result<(), String> {
        self.not_ready.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    async fn preview(&self, request: Request) -> Result<Preview, Problem> {
        Ok(Self::decide(&request))
    }

    async fn explain(&self, volume: &Volume) -> Result<Explanation, Problem> {
        Ok(Explanation {
            preview: Self::decide(&Request::of(volume)),
            as_of: AsOf::Now,
        })
    }

    async fn fence(&self, _: &Name) -> Result<(), Problem> {
        Ok(())
    }

    async fn cut_power(&self, _: &Name, _: &str) -> Result<(), Problem> {
        Ok(())
    }

    async fn power(&self, _: &Name) -> Result<PowerSeen, Problem> {
        Err(Problem::new(Code::Conflict, "there are no agents here"))
    }

    async fn drain(&self, _: &Name, _: bool) -> Result<Drained, Problem> {
        Ok(Drained::default())
    }

    async fn preview_machine(&self, machine: &Machine, new: &[Volume]) -> Result<MachinePreview, Problem> {
        let around = Surroundings {
            disk_bytes: new.iter().map(|volume| volume.spec.size.bytes()).sum(),
            ..Surroundings::default()
        };
        let step = |kind: &str, name: &Name, action: &str| PlannedStep {
            kind: kind.into(),
            name: name.to_string(),
            action: action.into(),
        };
        let mut steps: Vec<_> = new
            .iter()
            .map(|volume| step("volume", &volume.meta.name, "allocate"))
            .collect();
        steps.push(step("machine", &machine.meta.name, "define"));
        Ok(MachinePreview {
            preview: Self::decide(&Request::of_machine(machine, around)),
            steps,
        })
    }

    async fn explain_machine(&self, machine: &Machine) -> Result<Explanation, Problem> {
        Ok(Explanation {
            preview: Self::decide(&Request::of_machine(machine, Surroundings::default())),
            as_of: AsOf::Now,
        })
    }

    async fn upload_plugin(&self, bytes: Vec<u8>) -> Result<Plugin, Problem> {
        if bytes == b"panic" {
            panic!("a fault of the manager");
        }
        let text = String::from_utf8(bytes.clone()).map_err(|_| Problem::new(Code::PluginRejected, "not text"))?;
        let (name, version) = text
            .split_once('@')
            .ok_or_else(|| Problem::new(Code::PluginRejected, "no version"))?;
        let plugin = Plugin {
            id: PluginId::new(Uuid::now_v7()),
            digest: Digest::new(Sha256::digest(&bytes).into()),
            name: name.parse().unwrap(),
            version: version.into(),
            description: String::new(),
            slot: Slot::VolumeScheduler,
            interface: "0.1.0".into(),
            size_bytes: bytes.len() as u64,
            first_party: false,
            uploaded_at: Timestamp::now(),
        };
        self.store
            .put(keys::plugin(&plugin.digest), record::encode(&plugin).unwrap())
            .await
            .unwrap();
        Ok(plugin)
    }

    async fn activate(&self, slot: Slot, digest: Digest, config: &str) -> Result<Activation, Problem> {
        let mut activation = Activation::first(slot, digest, "by request", Timestamp::now());
        config.clone_into(&mut activation.config);
        self.store
            .put(keys::activation(slot), record::encode(&activation).unwrap())
            .await
            .unwrap();
        Ok(activation)
    }

    async fn rollback(&self, slot: Slot) -> Result<Activation, Problem> {
        Err(Problem::new(
            Code::Conflict,
            format!("nothing was active in {slot} before"),
        ))
    }

    fn image_service(&self) -> Option<(Name, String)> {
        self.image_service.lock().unwrap().clone()
    }

    fn data_url(&self, node: &Name) -> Option<String> {
        let service = self.image_service.lock().unwrap().clone();
        service.filter(|(name, _)| name == node).map(|(_, url)| url)
    }

    async fn connect(&self, hello: Hello) -> Result<Box<dyn AgentSession>, String> {
        if hello.protocol != symphony_protocol::PROTOCOL_VERSION {
            return Err("another protocol".into());
        }
        let (sender, frames) = mpsc::channel(16);
        sender
            .try_send(ToAgent::Welcome(Welcome {
                epoch: Epoch(3),
                heartbeat_ms: 1000,
                ..Welcome::default()
            }))
            .unwrap();
        *self.to_agent.lock().unwrap() = Some(sender);
        Ok(Box::new(SimulatedSession {
            frames,
            heard: self.heard.clone(),
        }))
    }

    fn encode_metrics(&self, text: &mut String) {
        text.push_str("# HELP loops Simulated.\nloops 1\n# EOF\n");
    }
}

struct SimulatedSession {
    frames: mpsc::Receiver<ToAgent>,
    heard: Arc<Mutex<Vec<ToManager>>>,
}

#[async_trait]
impl AgentSession for SimulatedSession {
    async fn next(&mut self) -> Option<ToAgent> {
        self.frames.recv().await
    }

    fn receive(&self, frame: ToManager) {
        self.heard.lock().unwrap().push(frame);
    }
}

/// Takes uploads as an agent does: hashes them, and reads the first bytes as a command of the test.
pub(crate) struct SimulatedDataPort {
    pub(crate) url: String,
    pub(crate) seen: Arc<Mutex<Seen>>,
    /// What it answers for machines, when it refuses them.
    pub(crate) refusal: Arc<Mutex<Option<(u16, &'static str)>>>,
    /// Viewers that went away.
    pub(crate) gone: watch::Sender<usize>,
}

#[derive(Default)]
pub(crate) struct Seen {
    /// Whole uploads that were not given up, by id.
    pub(crate) kept: HashMap<String, Upload>,
    pub(crate) given_up: Vec<String>,
    /// Uploads that broke off, by id.
    pub(crate) broken: Vec<String>,
    /// Requests with bytes that came at all.
    pub(crate) begun: usize,
}

impl SimulatedDataPort {
    pub(crate) async fn start() -> Self {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new()
            .route("/data/v1/uploads/{id}", put(take).delete(give_up))
            .with_state(seen.clone());
        let refusal: Arc<Mutex<Option<(u16, &'static str)>>> = Arc::default();
        let gone = watch::Sender::new(0);
        let machines = axum::Router::new()
            .route("/data/v1/machines/{machine}/{what}", get(show))
            .route("/data/v1/machines/{machine}/console/log", get(log))
            .with_state((refusal.clone(), gone.clone()));
        let router = router.merge(machines);
        tokio::spawn(async move {
            let mut service = router.into_make_service();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let router = tower::Service::call(&mut service, ()).await.unwrap();
                let io = hyper_util::rt::TokioIo::new(stream);
                let service = hyper_util::service::TowerToHyperService::new(router);
                tokio::spawn(async move {
                    let http = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
                    let _ = http.serve_connection_with_upgrades(io, service).await;
                });
            }
        });
        Self {
            url,
            seen,
            refusal,
            gone,
        }
    }
}

type Machines = (Arc<Mutex<Option<(u16, &'static str)>>>, watch::Sender<usize>);

fn refused((refusal, _): &Machines, headers: &axum::http::HeaderMap) -> Option<Response> {
    if headers.get("authorization")? != format!("Bearer {AGENT_TOKEN}").as_str() {
        return Some(StatusCode::UNAUTHORIZED.into_response());
    }
    let (status, code) = (*refusal.lock().unwrap())?;
    let error = symphony_protocol::data::DataError {
        code: code.into(),
        message: "it was told to say no".into(),
    };
    Some((StatusCode::from_u16(status).unwrap(), axum::Json(error)).into_response())
}

async fn log(State(machines): State<Machines>, headers: axum::http::HeaderMap) -> Response {
    refused(&machines, &headers).unwrap_or_else(|| b"kept\r\n\xff".into_response())
}

/// Says whom it shows, then echoes; ends at the word `exit`.
async fn show(
    State(machines): State<Machines>,
    Path((machine, what)): Path<(String, String)>,
    headers: axum::http::HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if let Some(refused) = refused(&machines, &headers) {
        return refused;
    }
    upgrade.protocols(["binary"]).on_upgrade(move |mut socket| async move {
        let first = format!("{what} of {machine}").into_bytes();
        let mut echo = Some(Message::Binary(first.into()));
        while let Some(message) = echo {
            if socket.send(message).await.is_err() {
                break;
            }
            echo = match socket.recv().await {
                Some(Ok(Message::Binary(bytes))) if bytes == "exit" => Some(Message::Close(Some(CloseFrame {
                    code: 1000,
                    reason: "the machine is off".into(),
                }))),
                Some(Ok(message @ Message::Binary(_))) => Some(message),
                _ => None,
            };
        }
        machines.1.send_modify(|gone| *gone += 1);
    })
}

async fn take(
    State(seen): State<Arc<Mutex<Seen>>>,
    Path(id): Path<String>,
    headers: axum::http::HeaderMap,
    body: Body,
) -> Response {
    if headers
        .get("authorization")
        .is_none_or(|value| value != format!("Bearer {AGENT_TOKEN}").as_str())
    {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    seen.lock().unwrap().begun += 1;
    let (mut hash, mut head, mut stored_bytes) = (Sha256::new(), Vec::new(), 0);
    let mut stream = body.into_data_stream();
    while let Some(piece) = stream.next().await {
        let Ok(piece) = piece else {
            seen.lock().unwrap().broken.push(id);
            return StatusCode::BAD_REQUEST.into_response();
        };
        hash.update(&piece);
        stored_bytes += piece.len() as u64;
        head.extend_from_slice(&piece[..piece.len().min(16_usize.saturating_sub(head.len()))]);
    }
    if head.starts_with(b"FULL") {
        let error = symphony_protocol::data::DataError {
            code: "no-space".into(),
            message: "the disk is full".into(),
        };
        return (StatusCode::INSUFFICIENT_STORAGE, axum::Json(error)).into_response();
    }
    let refused = if head.starts_with(b"BACKED") {
        vec!["backing file /etc/passwd".to_owned()]
    } else {
        Vec::new()
    };
    let format = match &head {
        head if head.starts_with(b"VMDK") => DetectedFormat::Unsupported,
        head if head.starts_with(b"QFI") => DetectedFormat::Qcow2,
        _ => DetectedFormat::Raw,
    };
    let header = Header {
        format,
        virtual_bytes: stored_bytes,
        refused,
    };
    let upload = Upload {
        digest: Digest::new(hash.finalize().into()),
        stored_bytes,
        header,
        integrity: Integrity::Unchecked,
    };
    seen.lock().unwrap().kept.insert(id, upload.clone());
    axum::Json(upload).into_response()
}

async fn give_up(State(seen): State<Arc<Mutex<Seen>>>, Path(id): Path<String>) -> StatusCode {
    let mut seen = seen.lock().unwrap();
    seen.kept.remove(&id);
    seen.given_up.push(id);
    StatusCode::NO_CONTENT
}
