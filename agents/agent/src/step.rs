//! Why a step failed, before it becomes a [`Failure`] on the wire.

use std::error::Error as _;
use std::io;

use symphony_protocol::{Failure, FailureKind};

/// Why a step or a probe failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The file system said no.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// Something that the step needs is not on this node.
    #[error("{0}")]
    Missing(String),
    /// Bytes are not what they should be.
    #[error("{0}")]
    Corrupt(String),
    /// Another node can't be reached, or ended in the middle.
    #[error("{0}")]
    Unreachable(String),
    /// Took longer than it may.
    #[error("{0}")]
    Deadline(String),
    /// The file system is full, as a program said.
    #[error("{0}")]
    NoSpace(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl StepError {
    /// For `map_err`: names what was being done.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// As it is sent: with the cause, as the other side has no other way to learn of it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let kind = match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureKind::NoSpace,
                _ => FailureKind::Other,
            },
            Self::Missing(_) => FailureKind::Missing,
            Self::Corrupt(_) => FailureKind::Corrupt,
            Self::Unreachable(_) => FailureKind::Unreachable,
            Self::Deadline(_) => FailureKind::Deadline,
            Self::NoSpace(_) => FailureKind::NoSpace,
            Self::Other(_) => FailureKind::Other,
        };
        let message = match self.source() {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        };
        Failure::new(kind, message)
    }

    /// The failure of a step of a plan.
    #[must_use]
    pub fn failure_at(&self, position: usize, action: &str) -> Failure {
        let position = u32::try_from(position).unwrap_or(u32::MAX);
        Failure {
            step: Some((position, action.to_owned())),
            ..self.failure()
        }
    }
}

/// An error with its causes, in one line: the other side has no other way to learn of them.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Runs file work where it may block.
///
/// # Errors
/// The work's own; [`StepError::Other`] when it panicked.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StepError> + Send + 'static,
) -> Result<T, StepError> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.unwrap_or_else(|_| Err(StepError::Other("the step stopped on an internal error".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_errors() {
        let full = StepError::io("write x")(io::Error::from_raw_os_error(28));
        assert_eq!(full.failure().kind, FailureKind::NoSpace);
        assert!(full.failure().message.starts_with("write x: "));
        let denied = StepError::io("write x")(io::Error::from_raw_os_error(13));
        assert_eq!(denied.failure_at(3, "publish").step, Some((3, "publish".to_owned())));
        assert_eq!(denied.failure().kind, FailureKind::Other);
    }
}
