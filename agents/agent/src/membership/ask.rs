//! Asks managers: one request, one answer, over TLS; goes on to the leader when told so.

use std::error::Error;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use symphony_pki::Trouble;
use symphony_protocol::enrol::{ENROL_BYTES_MAX, Refusal};

use super::address::ManagerAddress;
use crate::step::chain;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How often one manager may point to another.
const HOPS_MAX: u32 = 3;

/// Why a manager gave no answer that helps.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nothing listens there, or nothing leads there.
    #[error("the manager at {address} can't be reached ({why})")]
    Unreachable {
        /// Which.
        address: ManagerAddress,
        /// Why.
        why: String,
    },
    /// It listens, and says nothing.
    #[error("what listens at {0} does not answer; is it a manager?")]
    Silent(ManagerAddress),
    /// TLS failed, on either side.
    #[error("TLS with the manager at {address} failed: {trouble}")]
    Tls {
        /// Which.
        address: ManagerAddress,
        /// What is wrong.
        trouble: Trouble,
    },
    /// An answer that no manager gives.
    #[error("what answers at {address} is no manager ({what})")]
    Nonsense {
        /// Which.
        address: ManagerAddress,
        /// What it answered.
        what: String,
    },
    /// It refused, and says why.
    #[error("{refusal}")]
    Refused {
        /// Which.
        address: ManagerAddress,
        /// Why.
        refusal: Refusal,
    },
    /// None leads at the moment, or each says that another does.
    #[error("no manager leads at the moment; try again in some seconds")]
    NoLeader,
    /// The HTTP client.
    #[error("the request can't be prepared")]
    Client(#[source] reqwest::Error),
}

impl AskError {
    /// The code of the refusal; nothing when it is none.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { refusal, .. } => Some(&refusal.code),
            _ => None,
        }
    }
}

/// Asks a manager, or the leader that it names. Answers with who answered.
///
/// # Errors
/// There is no answer that helps.
pub(super) async fn ask<T: DeserializeOwned>(
    tls: &rustls::ClientConfig,
    first: &ManagerAddress,
    path: &str,
    request: &(impl Serialize + Sync),
) -> Result<(T, ManagerAddress), AskError> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(0)
        .build()
        .map_err(AskError::Client)?;
    let mut address = first.clone();
    for _ in 0..HOPS_MAX {
        let asked = once(&client, &address, path, request);
        let asked = tokio::time::timeout(ANSWER_TIMEOUT, asked).await;
        let answer = asked.unwrap_or_else(|_| Err(AskError::Silent(address.clone())))?;
        match answer {
            Answer::Good(bytes) => {
                let answer = serde_json::from_slice(&bytes).map_err(|error| AskError::Nonsense {
                    address: address.clone(),
                    what: format!("its answer can't be understood: {error}"),
                })?;
                return Ok((answer, address));
            }
            Answer::Elsewhere(Some(leader)) if leader != address => address = leader,
            Answer::Elsewhere(_) => return Err(AskError::NoLeader),
        }
    }
    Err(AskError::NoLeader)
}

enum Answer {
    Good(Vec<u8>),
    Elsewhere(Option<ManagerAddress>),
}

async fn once(
    client: &reqwest::Client,
    address: &ManagerAddress,
    path: &str,
    request: &(impl Serialize + Sync),
) -> Result<Answer, AskError> {
    let request = client.post(format!("https://{address}{path}")).json(request);
    let answer = request.send().await.map_err(|error| failed(address, &error))?;
    let status = answer.status().as_u16();
    let bytes = body(answer).await.map_err(|error| failed(address, &error))?;
    if status == 200 || status == 201 {
        return Ok(Answer::Good(bytes));
    }
    let refusal = refusal(status, &bytes).map_err(|what| AskError::Nonsense {
        address: address.clone(),
        what,
    })?;
    if status == 421 || status == 503 {
        return Ok(Answer::Elsewhere(leader(&refusal)));
    }
    Err(AskError::Refused {
        address: address.clone(),
        refusal,
    })
}

/// What a manager that does not lead says of the leader.
pub(crate) fn leader(refusal: &Refusal) -> Option<ManagerAddress> {
    refusal.leader.as_ref().and_then(|leader| leader.parse().ok())
}

/// The reason in an answer that says no; else what it is, for a person.
pub(crate) fn refusal(status: u16, bytes: &[u8]) -> Result<Refusal, String> {
    serde_json::from_slice(bytes).map_err(|_| format!("it answered with HTTP status {status} and no reason"))
}

/// What there is of an answer, up to the limit.
pub(crate) async fn body(answer: reqwest::Response) -> reqwest::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chunks = answer.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        bytes.extend_from_slice(&chunk?);
        if bytes.len() > ENROL_BYTES_MAX {
            // Of no manager.
            bytes.truncate(ENROL_BYTES_MAX);
            break;
        }
    }
    Ok(bytes)
}

/// Why there is no answer.
pub(crate) fn failed(address: &ManagerAddress, error: &(dyn Error + 'static)) -> AskError {
    let address = address.clone();
    if let Some(trouble) = symphony_pki::trouble(error) {
        return AskError::Tls { address, trouble };
    }
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return AskError::Unreachable {
                address,
                why: chain(io),
            };
        }
        cause = error.source();
    }
    let is_timeout = error
        .downcast_ref::<reqwest::Error>()
        .is_some_and(reqwest::Error::is_timeout);
    if is_timeout {
        return AskError::Unreachable {
            address,
            why: format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()),
        };
    }
    AskError::Unreachable {
        address,
        why: chain(error),
    }
}
