//! What clients were told: each acknowledged create and delete, by name and id. A client asks again, another manager each
//! time, until it is answered; what is not an answer has to be a code after which the same request may be sent again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use symphony_api::v1::{CreateMachine, CreateVolume, Machine, Volume, VolumesThen};
use symphony_api::{Client, ClientError, Code};

use super::Story;
use crate::writers::RETRYABLE;

/// How long one answer is waited for: a manager that is frozen or cut off gives none.
const ANSWER: Duration = Duration::from_secs(10);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(100);
/// Tries before a request counts as never taken.
const TRIES: usize = 600;

/// Names to ids.
type Ids = BTreeMap<String, String>;

/// The acknowledged.
pub struct History {
    clients: Vec<Client>,
    story: Story,
    next: AtomicUsize,
    again: AtomicUsize,
    volumes: Mutex<Ids>,
    machines: Mutex<Ids>,
}

impl History {
    /// Of nothing yet.
    #[must_use]
    pub fn new(clients: &[Client], story: &Story) -> Self {
        Self {
            clients: clients.to_vec(),
            story: story.clone(),
            next: AtomicUsize::new(0),
            again: AtomicUsize::new(0),
            volumes: Mutex::default(),
            machines: Mutex::default(),
        }
    }

    /// How often a request had to be sent again.
    #[must_use]
    pub fn again(&self) -> usize {
        self.again.load(Ordering::SeqCst)
    }

    /// Asks until there is an answer: what was asked for, or a code that asking again does not change.
    ///
    /// # Errors
    /// With that code.
    ///
    /// # Panics
    /// When something fails in a way that is none of these, or no manager ever answers.
    pub async fn ask<T>(&self, what: &str, ask: impl AsyncFn(Client) -> Result<T, ClientError>) -> Result<T, Code> {
        for _ in 0..TRIES {
            let at = self.next.fetch_add(1, Ordering::SeqCst) % self.clients.len();
            let why = match tokio::time::timeout(ANSWER, ask(self.clients[at].clone())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(ClientError::Problem(problem))) if !RETRYABLE.contains(&problem.code) => {
                    self.story.note(format!("{what}: {}: {}", problem.code, problem.detail));
                    return Err(problem.code);
                }
                Ok(Err(error @ (ClientError::Problem(_) | ClientError::Transport { .. }))) => error.to_string(),
                Ok(Err(other)) => panic!("{what}: {other:?}"),
                Err(_) => "no answer".to_owned(),
            };
            self.again.fetch_add(1, Ordering::SeqCst);
            self.story.note(format!("{what}: again, for m{}: {why}", at + 1));
            tokio::time::sleep(AGAIN).await;
        }
        panic!("{what}: never answered");
    }

    /// Makes a volume.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn create_volume(&self, wanted: &CreateVolume) -> Volume {
        let what = format!("create volume {}", wanted.name);
        let made = self
            .ask(&what, async |client| {
                client.create_volume_once(wanted, &wanted.name).await
            })
            .await;
        let made = made.unwrap_or_else(|code| panic!("{what}: {code}"));
        self.story.note(format!("{what}: acknowledged"));
        let before = lock(&self.volumes).insert(made.meta.name.clone(), made.meta.id.to_string());
        assert_eq!(before, None, "a name is used once");
        made
    }

    /// Makes a machine, with volumes that it brings.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn create_machine(&self, wanted: &CreateMachine) -> Machine {
        let what = format!("create machine {}", wanted.name);
        let made = self
            .ask(&what, async |client| {
                client.create_machine_once(wanted, &wanted.name).await
            })
            .await;
        let made = made.unwrap_or_else(|code| panic!("{what}: {code}"));
        self.story.note(format!("{what}: acknowledged as {}", made.meta.id));
        let before = lock(&self.machines).insert(made.meta.name.clone(), made.meta.id.to_string());
        assert_eq!(before, None, "a name is used once");
        for volume in &made.spec.volumes {
            lock(&self.volumes).insert(volume.name.clone(), volume.id.to_string());
        }
        made
    }

    /// Asks for a machine's end; its new volumes go with it, others stay. Acknowledged, not done.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn delete_machine(&self, machine: &Machine) {
        let name = machine.meta.name.as_str();
        let what = format!("delete machine {name}");
        let asked = self
            .ask(&what, async |client| {
                client.delete_machine(name, VolumesThen::AsSaid, None).await
            })
            .await;
        // A request that nobody answered may have been done.
        assert!(matches!(asked, Ok(_) | Err(Code::NotFound)), "{what}: {asked:?}");
        lock(&self.machines).remove(name);
        for volume in machine.spec.volumes.iter().filter(|volume| volume.delete_with_machine) {
            lock(&self.volumes).remove(&volume.name);
        }
        self.story.note(format!("{what}: acknowledged"));
    }

    /// Asks for a volume's end. Acknowledged, not done.
    ///
    /// # Panics
    /// When it is refused for another reason than that its machine is not gone yet.
    pub async fn delete_volume(&self, name: &str) {
        let what = format!("delete volume {name}");
        crate::until(&what, async || {
            match self
                .ask(&what, async |client| client.delete_volume(name, None).await)
                .await
            {
                Ok(_) | Err(Code::NotFound) => Some(()),
                Err(Code::VolumeInUse) => None,
                Err(code) => panic!("{what}: {code}"),
            }
        })
        .await;
        lock(&self.volumes).remove(name);
    }

    /// The volumes that are acknowledged and not deleted: name to id.
    #[must_use]
    pub fn volumes(&self) -> Ids {
        lock(&self.volumes).clone()
    }

    /// The machines that are acknowledged and not deleted: name to id.
    #[must_use]
    pub fn machines(&self) -> Ids {
        lock(&self.machines).clone()
    }
}

fn lock(ids: &Mutex<Ids>) -> std::sync::MutexGuard<'_, Ids> {
    ids.lock().unwrap_or_else(PoisonError::into_inner)
}
