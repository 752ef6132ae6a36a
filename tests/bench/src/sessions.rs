//! A thousand agents at one manager: what each costs it. The agents are simulated: real certificates, sessions and signs of
//! life, and nothing behind them.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use symphony_api::v1::CreateToken;
use symphony_core::counter::Epoch;
use symphony_core::labels::Labels;
use symphony_core::node::Role;
use symphony_pki::{Credentials, Expect, MemberKey, Tls, pinned_client_config};
use symphony_protocol::enrol::{ENROL_PATH, EnrolAnswer, EnrolRequest};
use symphony_protocol::{Heartbeat, Hello, PROTOCOL_VERSION, SESSION_PATH, ToManager};
use symphony_tests::{Cloud, Options};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::cloud::{PATIENCE, by_many};
use crate::figure::{Aim, Figure, Values};
use crate::memory::{SETTLED, resident_mib};

const AGENTS: usize = 1_000;
/// How often each shows that it lives.
const SIGN_OF_LIFE: Duration = Duration::from_millis(symphony_protocol::HEARTBEAT_MS);
/// For how long the manager is watched while nothing happens.
const IDLE: Duration = Duration::from_secs(10);
/// Processor ticks in a second, as `/proc` counts them.
const TICKS: f64 = 100.0;

pub(crate) const FIGURES: [Figure; 4] = [
    Figure {
        name: "sessions.enrolled_per_s",
        unit: "1/s",
        aim: Aim::None,
        what: "nodes let in by a token and connected, 32 at once: key, certificate, session; until 1,000 are",
    },
    Figure {
        name: "sessions.ready_s",
        unit: "s",
        aim: Aim::None,
        what: "… until the manager shows all 1,000 as Ready, from the first",
    },
    Figure {
        name: "sessions.each_kib",
        unit: "KiB",
        aim: Aim::AtMost(256.0),
        what: "resident memory of the manager for each of 1,000 sessions (TLS, HTTP/2, the node's record)",
    },
    Figure {
        name: "sessions.idle_cpu_percent",
        unit: "%",
        aim: Aim::AtMost(25.0),
        what: "one processor's time that the manager takes for 1,000 sessions with a sign of life every 2 s",
    },
];

/// Measures; the cloud that it was done with.
pub(crate) async fn measure(values: &mut Values) -> Result<Cloud, Box<dyn Error>> {
    let options = Options {
        nodes: 1,
        ..Options::default()
    };
    let cloud = Cloud::start(options).await;
    tokio::time::sleep(SETTLED).await;
    let process = format!("/proc/{}", cloud.pid());
    let before = resident_mib(Path::new(&process))?;
    let wanted = CreateToken {
        role: "block".to_owned(),
        uses: Some(u32::try_from(AGENTS)?),
        ..CreateToken::default()
    };
    let token = cloud.client().create_token(&wanted).await?.text;
    let address = cloud.client().address().trim_start_matches("http://").to_owned();
    let start = Instant::now();
    let sessions = by_many(AGENTS, |number| {
        let (token, address) = (token.clone(), address.clone());
        async move {
            let session = connect(number, &token, &address).await;
            session.map_err(|error| error.to_string().into())
        }
    })
    .await?;
    values.put("sessions.enrolled_per_s", AGENTS as f64 / start.elapsed().as_secs_f64());
    loop {
        let nodes = cloud.client().all_nodes(None).await?;
        if nodes.iter().filter(|node| node.status.phase == "Ready").count() > AGENTS {
            break;
        }
        if start.elapsed() > PATIENCE {
            return Err("not all simulated agents are Ready".into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    values.put("sessions.ready_s", start.elapsed().as_secs_f64());
    tokio::time::sleep(SETTLED).await;
    let each = (resident_mib(Path::new(&process))? - before) * 1024.0 / AGENTS as f64;
    values.put("sessions.each_kib", each);
    let ticks = ticks(&process)?;
    tokio::time::sleep(IDLE).await;
    let spent = (self::ticks(&process)? - ticks) / TICKS;
    values.put("sessions.idle_cpu_percent", spent / IDLE.as_secs_f64() * 100.0);
    if sessions.iter().any(tokio::task::JoinHandle::is_finished) {
        return Err("a session ended while the manager was watched".into());
    }
    Ok(cloud)
}

/// Lets a node in and holds its session.
async fn connect(number: usize, token: &str, address: &str) -> Result<tokio::task::JoinHandle<()>, Box<dyn Error>> {
    let node = format!("simulated-{number}");
    let key = MemberKey::make()?;
    let request = EnrolRequest {
        token: token.to_owned(),
        csr_pem: key.csr_pem()?,
        node: node.parse()?,
        role: Role::Block,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL_VERSION,
        clock: 0,
    };
    let authority = token.rsplit('.').next().unwrap_or_default();
    let stranger = client(pinned_client_config(authority))?;
    let answer = stranger
        .post(format!("https://{address}{ENROL_PATH}"))
        .json(&request)
        .send();
    let answer: EnrolAnswer = serde_json::from_slice(&answer.await?.error_for_status()?.bytes().await?)?;
    let tls = Tls::new(&Credentials::new(&key.to_pem(), &answer.cert_pem, &answer.roots_pem)?)?;
    let mut config = tls.client_config(Expect::Manager);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let member = client(config)?;
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        node: node.parse()?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        roles: vec![Role::Block],
        pools: Vec::new(),
        compute: None,
        labels: Labels::default(),
        data_url: format!("https://127.0.0.1:{}", 20_000 + number),
        underlay: None,
        fence_programs: Vec::new(),
        epoch_seen: Epoch(0),
        revision_seen: 0,
        admission: None,
    };
    let (frames, body) = mpsc::channel::<Result<Bytes, std::io::Error>>(4);
    frames.send(Ok(line(&ToManager::Hello(hello))?)).await?;
    let body = reqwest::Body::wrap_stream(ReceiverStream::new(body));
    let answer = member
        .post(format!("https://{address}{SESSION_PATH}"))
        .body(body)
        .send();
    let mut told = answer.await?.error_for_status()?.bytes_stream();
    told.next().await.ok_or("the session ended at once")??;
    let sign = line(&ToManager::Heartbeat(Heartbeat::default()))?;
    Ok(tokio::spawn(async move {
        let _client = member;
        let mut signs = tokio::time::interval(SIGN_OF_LIFE);
        loop {
            tokio::select! {
                _ = signs.tick() => if frames.send(Ok(sign.clone())).await.is_err() { return },
                frame = told.next() => if !matches!(frame, Some(Ok(_))) { return },
            }
        }
    }))
}

fn client(tls: rustls::ClientConfig) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .build()
}

fn line(frame: &ToManager) -> Result<Bytes, serde_json::Error> {
    let mut line = serde_json::to_vec(frame)?;
    line.push(b'\n');
    Ok(line.into())
}

/// Processor time of a process so far, in ticks.
fn ticks(process: &str) -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string(format!("{process}/stat"))?;
    // The name, in parentheses, may have spaces in it; user and system time are the 12th and 13th fields after it.
    let (_, fields) = stat.rsplit_once(')').ok_or("a process' stat lacks its name")?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<f64>);
    let mut next = || times.next().ok_or("a process' stat is too short");
    Ok(next()?? + next()??)
}
