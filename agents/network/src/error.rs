//! What can go wrong with networks. Owns no remedy: every step may be repeated.

use std::io;
use std::path::PathBuf;

/// Why a step on a network failed, or a fact could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A name, an address or a number in the step is none; repeating it does not help.
    #[error("{what} is not valid: {value:?}")]
    Invalid {
        /// What it was to be.
        what: &'static str,
        /// What it is.
        value: String,
    },
    /// What the step builds on is not there; the steps before it have to be repeated.
    #[error("{0} is not there")]
    Missing(String),
    /// Something else has the name.
    #[error("{0} is there already, and is something else")]
    Taken(String),
    /// All link-local addresses are used.
    #[error("no link-local addresses are left on this node")]
    Full,
    /// The kernel refused.
    #[error("the kernel refuses to {what}")]
    Kernel {
        /// What was asked of it.
        what: String,
        /// Why.
        source: rtnetlink::Error,
    },
    /// A file or a namespace can't be used.
    #[error("{path} can't be {verb}")]
    File {
        /// Which.
        path: PathBuf,
        /// What was tried: `read`, `written`, …
        verb: &'static str,
        /// Why.
        source: io::Error,
    },
    /// What is kept of a network can't be understood.
    #[error("{path} is broken")]
    Broken {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A program is not there, or can't be spoken with.
    #[error("{program} can't be run")]
    Program {
        /// Which.
        program: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A program failed.
    #[error("{program} failed: {said}")]
    Failed {
        /// Which.
        program: &'static str,
        /// The beginning of what it said.
        said: String,
    },
    /// Something took too long.
    #[error("{0} did not end in time")]
    Late(&'static str),
}

/// An error of a file.
pub(crate) fn file(path: impl Into<PathBuf>, verb: &'static str) -> impl FnOnce(io::Error) -> NetworkError {
    let path = path.into();
    move |source| NetworkError::File { path, verb, source }
}
