//! The raw way to write a scheduler: the interface itself, for those whose algorithm is not a filter and a score.

use crate::scheduler::{Batch, Decisions, Delta, Descriptor, Error, Snapshot, Stamp, Verdict};

/// A scheduler that answers the host's calls itself. [`crate::scheduler::Mirror`] keeps rows and digest for it.
///
/// Calls come one at a time: `configure`, `load`, then any number of `update` and `place`.
pub trait RawScheduler: 'static {
    /// What it is and which columns it wants. The version is filled in by the export macro.
    fn describe() -> Descriptor;

    /// Takes the configuration.
    ///
    /// # Errors
    /// `config`, with what is wrong and where.
    fn configure(&mut self, json: &str) -> Result<(), Error>;

    /// Takes all candidates and forgets what it had.
    ///
    /// # Errors
    /// See [`Error`].
    fn load(&mut self, snapshot: Snapshot) -> Result<Stamp, Error>;

    /// Takes changed rows.
    ///
    /// # Errors
    /// See [`Error`].
    fn update(&mut self, delta: Delta) -> Result<Stamp, Error>;

    /// Decides for each request of the batch, in order.
    ///
    /// # Errors
    /// See [`Error`].
    fn place(&mut self, batch: Batch) -> Result<Decisions, Error>;

    /// Gives every row's outcome for the last request of the batch. Unless overridden, it can't.
    ///
    /// # Errors
    /// See [`Error`].
    fn explain(&mut self, batch: Batch) -> Result<Vec<Verdict>, Error> {
        let _ = batch;
        Err(Error::Unsupported("this scheduler does not explain".to_owned()))
    }
}
