//! What can go wrong for a client.

use std::path::PathBuf;

use crate::problem::{Code, Problem};

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The manager said no, and why.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// Nothing was answered.
    #[error("{what}")]
    Transport {
        /// What was being done.
        what: String,
        /// Why it failed.
        #[source]
        source: reqwest::Error,
    },
    /// The answer is not one of a symphony manager.
    #[error(
        "{what} answered with status {status}, and not in a form that this client knows; is it a symphony manager?"
    )]
    Strange {
        /// The address.
        what: String,
        /// The HTTP status.
        status: u16,
    },
    /// The answer has another form than expected.
    #[error("the answer can't be read; is the manager newer than this client?")]
    Decode(#[source] serde_json::Error),
    /// The address is not one.
    #[error("{0:?} is not an address; write http://HOST:PORT or https://HOST:PORT")]
    Address(String),
    /// Nobody would know who answers there.
    #[error("{0} needs a token that names its cluster, as `symphony token create` prints it")]
    Unpinned(String),
    /// The control socket can't be reached.
    #[error("the control socket {} can't be reached; is the manager running?", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is something else at the path of the control socket.
    #[error("{} is not a socket", .0.display())]
    NoSocket(PathBuf),
    /// The control socket is neither root's nor the caller's own.
    #[error("the control socket {} belongs to another user, and is not used for that reason", .0.display())]
    ForeignSocket(PathBuf),
    /// A watch said nothing for too long, or ended, again and again.
    #[error("the watch was lost and could not be resumed")]
    WatchLost,
    /// The connection to a console broke, or was silent for too long. The machine goes on.
    #[error("the connection to the console was lost")]
    ConsoleLost(#[source] Option<Box<tokio_tungstenite::tungstenite::Error>>),
}

impl ClientError {
    pub(super) fn transport(what: impl Into<String>, source: reqwest::Error) -> Self {
        Self::Transport {
            what: what.into(),
            source,
        }
    }

    /// The manager's code, when it gave one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Problem(problem) => Some(problem.code),
            _ => None,
        }
    }

    /// The manager's problem, when it gave one.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    /// The exit code of a command that ends with it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.code().map_or(1, Code::exit_code)
    }

    /// Whether nothing was heard of the manager at all.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Transport { source, .. } if source.is_connect())
    }

    /// Whether the same request may succeed a moment later, and did nothing or can be repeated without harm.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Transport { source, .. } => !source.is_builder(),
            Self::Problem(problem) => matches!(
                problem.code,
                Code::StoreUnavailable | Code::TooManyRequests | Code::NotReady | Code::NoLeader
            ),
            _ => false,
        }
    }
}
