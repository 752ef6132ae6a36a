//! What an answer that is no result means: whether something was done, and whether another member is worth asking.

use std::error::Error as _;
use std::sync::Arc;

use tonic::{Code, ConnectError, Status};

use crate::limits::{RANGE_BYTES_MAX, REQUEST_BYTES_MAX};
use crate::{Cause, Error};

/// How a call failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// History at the revision asked for is gone.
    Compacted,
    /// The revision asked for has not been written.
    Future,
    /// A lease does not exist (any more).
    NoLease,
    /// The answer is final, from whichever member.
    Refused(Error),
    /// Surely nothing was done: another member may do it, or the same one later.
    NotDone(Cause),
    /// It may have been done.
    Unknown(Cause),
}

/// Why a member gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Silence {
    #[error("{endpoint} did not answer in time")]
    Late { endpoint: String },
    #[error("{endpoint} failed")]
    Failed {
        endpoint: String,
        #[source]
        source: etcd_client::Error,
    },
    #[error("{endpoint} said: {said}")]
    Said { endpoint: String, said: String },
}

impl Fault {
    pub(super) fn late(endpoint: &str, sent: bool) -> Self {
        let endpoint = endpoint.to_owned();
        let cause: Cause = Arc::new(Silence::Late { endpoint });
        if sent {
            Self::Unknown(cause)
        } else {
            Self::NotDone(cause)
        }
    }

    /// What the client's error means.
    pub(super) fn of(endpoint: &str, error: etcd_client::Error) -> Self {
        use etcd_client::Error as Client;
        match error {
            Client::GRpcStatus(status) => Self::of_status(endpoint, status),
            Client::InvalidArgs(_) | Client::InvalidUri(_) | Client::TransportError(_) => {
                Self::Refused(Error::Misconfigured {
                    what: format!("{endpoint}: {}", chain(&error)),
                })
            }
            source => Self::Unknown(failed(endpoint, source)),
        }
    }

    fn of_status(endpoint: &str, status: Status) -> Self {
        let never_sent = is_connecting(&status);
        // etcd's errors differ by their text; the codes are shared by several. The texts are part of its API (rpctypes).
        let said = status.message();
        let has = |text: &str| said.contains(text);
        if has("required revision has been compacted") {
            Self::Compacted
        } else if has("required revision is a future revision") {
            Self::Future
        } else if has("requested lease not found") {
            Self::NoLease
        } else if has("database space exceeded") {
            Self::Refused(Error::NoSpace)
        } else if has("request is too large") {
            Self::Refused(Error::TooLarge {
                what: "request",
                max: REQUEST_BYTES_MAX,
            })
        } else if has("decoded message length too large") {
            Self::Refused(Error::TooLarge {
                what: "answer",
                max: RANGE_BYTES_MAX,
            })
        } else if has("revision of auth store is old") {
            Self::NotDone(Arc::new(said_so(endpoint, said)))
        } else if is_denial(status.code(), said) {
            Self::Refused(Error::Denied { said: said.to_owned() })
        } else if status.code() == Code::DataLoss || has("corrupt cluster") {
            Self::Refused(Error::Corrupt { what: said.to_owned() })
        } else if never_sent || is_before_proposal(said) {
            Self::NotDone(failed(endpoint, status.into()))
        } else {
            Self::Unknown(failed(endpoint, status.into()))
        }
    }

    /// What a watch that the member ended says.
    pub(super) fn of_cancel(endpoint: &str, reason: &str) -> Self {
        if is_denial(Code::Unknown, reason) {
            return Self::Refused(Error::Denied {
                said: reason.to_owned(),
            });
        }
        Self::NotDone(Arc::new(said_so(endpoint, reason)))
    }

    /// The same, of what changes nothing whether it was done or not.
    pub(super) fn harmless(self) -> Self {
        match self {
            Self::Unknown(cause) => Self::NotDone(cause),
            fault => fault,
        }
    }

    /// What the caller is told, when the call has nothing to do with revisions and leases.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Refused(error) => error,
            Self::NotDone(source) => Error::Unavailable {
                maybe_done: false,
                source,
            },
            Self::Unknown(source) => Error::Unavailable {
                maybe_done: true,
                source,
            },
            Self::Compacted | Self::Future | Self::NoLease => Error::Corrupt {
                what: format!("etcd answered {self:?} to what has no revision or lease"),
            },
        }
    }
}

fn failed(endpoint: &str, source: etcd_client::Error) -> Cause {
    let endpoint = endpoint.to_owned();
    Arc::new(Silence::Failed { endpoint, source })
}

fn said_so(endpoint: &str, said: &str) -> Silence {
    Silence::Said {
        endpoint: endpoint.to_owned(),
        said: said.to_owned(),
    }
}

/// Whether it failed while the connection was made.
fn is_connecting(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// Answers that a member gives before it hands a request on to the others.
fn is_before_proposal(said: &str) -> bool {
    const SURE: [&str; 6] = [
        "etcdserver: no leader",
        "etcdserver: not leader",
        "etcdserver: too many requests",
        "etcdserver: unhealthy cluster",
        "etcdserver: not capable",
        "etcdserver: rpc not supported for learner",
    ];
    SURE.contains(&said)
}

fn is_denial(code: Code, said: &str) -> bool {
    const TEXTS: [&str; 6] = [
        "permission denied",
        "invalid user ID or password",
        "user name is empty",
        "user name not found",
        "authentication is not enabled",
        "invalid auth token",
    ];
    matches!(code, Code::PermissionDenied | Code::Unauthenticated) || TEXTS.iter().any(|text| said.contains(text))
}

/// An error with its causes, for the log.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
