//! How a pass can end early.

use symphony_core::plan::{PlanFault, Refusal};
use symphony_protocol::Failure;
use symphony_runtime::PluginFault;

use crate::write::WriteError;

/// Why a pass did not get to its end. It is made again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    /// The record changed while the pass ran.
    #[error("the record changed meanwhile")]
    Raced,
    /// The agent could not do it, or can't be reached.
    #[error("the node failed")]
    Node(#[from] Failure),
    /// The driver is at fault.
    #[error("the driver failed")]
    Driver(#[from] PluginFault),
    /// The driver's plan is not taken.
    #[error("the driver's plan was refused")]
    Plan(#[from] PlanFault),
    /// The driver gives no plan now.
    #[error("the driver waits")]
    Waits(#[source] Refusal),
    /// The volume is as large as its claim, and its spec is larger: the place loop claims the rest when there is room.
    #[error("the volume waits for room to grow")]
    WaitsForRoom,
    /// Something that the resource needs is not there yet. It is looked at again as soon as it is.
    #[error("waits for {0}")]
    Unready(String),
    /// It changes by itself as fast as it is worked on.
    #[error("it does not stay as it is put; it is left alone for a while")]
    Unsteady,
    /// What it is to become has ended for ever on its node: it needs another generation.
    #[error("its generation is over on its node")]
    Over,
    /// Its driver says that it can't be made as asked.
    #[error("it can't be made as asked: {0}")]
    Refused(String),
    /// No driver serves.
    #[error("no driver is active for this kind of resource; activate one with `symphony plugin activate`")]
    NoDriver,
    /// The image is not ready yet.
    #[error("image {0} is not ready yet")]
    NoImage(String),
    /// The agent answered something else than what it was asked.
    #[error("the node gave an answer of the wrong kind")]
    WrongAnswer,
    /// The store.
    #[error("the status could not be written")]
    Write(#[from] WriteError),
}

impl PassError {
    /// Whether nothing is wrong: something that it needs is not there yet.
    pub(crate) const fn is_waiting(&self) -> bool {
        matches!(self, Self::Unready(_) | Self::WaitsForRoom | Self::NoImage(_))
    }

    /// One word and one sentence for the resource's condition.
    pub(crate) fn condition(&self) -> (&'static str, String) {
        let reason = match self {
            Self::Raced | Self::Over => "changed",
            Self::Node(_) | Self::WrongAnswer => "node-failed",
            Self::Driver(_) | Self::Plan(_) => "driver-failed",
            Self::Unsteady => "unsteady",
            Self::Refused(_) => "refused",
            Self::Waits(_) | Self::WaitsForRoom | Self::Unready(_) => "waiting",
            Self::NoDriver => "no-driver",
            Self::NoImage(_) => "no-image",
            Self::Write(_) => "store",
        };
        (reason, crate::chain::chain(self))
    }
}
