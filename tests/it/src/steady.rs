//! A client's patience: it starts the manager again when it died, and tries again what failed.

use symphony_api::{Client, ClientError};

use crate::Cloud;

/// How often something is tried before it counts as never done.
const TRIES: u32 = 2_000;

/// A client of a cloud that may die at any time.
pub struct Steady<'a> {
    cloud: &'a mut Cloud,
}

/// Something that is not so yet, or an error.
#[derive(Debug)]
pub enum NotYet {
    /// Asked well, and not so yet.
    Waiting,
    /// The question failed.
    Failed(Box<ClientError>),
}

impl From<ClientError> for NotYet {
    fn from(error: ClientError) -> Self {
        Self::Failed(Box::new(error))
    }
}

impl<'a> Steady<'a> {
    /// Of this cloud.
    pub fn of(cloud: &'a mut Cloud) -> Self {
        Self { cloud }
    }

    /// Its client now.
    #[must_use]
    pub fn client(&self) -> &Client {
        self.cloud.client()
    }

    /// The cloud's folder.
    #[must_use]
    pub fn dir(&self) -> &std::path::Path {
        self.cloud.dir()
    }

    /// Tries until it is done.
    ///
    /// # Panics
    /// When that is never.
    pub async fn until_done<E: Into<NotYet>>(&mut self, what: &str, attempt: impl AsyncFn(&Client) -> Result<(), E>) {
        for _ in 0..TRIES {
            if self.cloud.is_dead() {
                self.cloud.restart().await;
            }
            match attempt(self.cloud.client()).await.map_err(Into::into) {
                Ok(()) => return,
                Err(NotYet::Waiting) => {}
                // Expected while the manager is down; shown by `--nocapture`.
                Err(NotYet::Failed(error)) => eprintln!("  (trying again: {error})"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
        panic!("it never came to be that {what}");
    }
}
