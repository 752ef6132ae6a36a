//! The verbs of machines.

use reqwest::Method;

use super::{Answer, all_pages, if_match};
use crate::client::Client;
use crate::client::request::ListQuery;
use crate::v1::{
    AttachVolume, CreateMachine, List, Machine, MachineExplanation, MachinePreview, PatchMachine, VolumesThen,
    WantedPort,
};

/// Machines.
impl Client {
    fn machine_url(&self, more: &[&str]) -> Answer<reqwest::Url> {
        let mut segments = vec!["v1", "projects", &*self.project, "machines"];
        segments.extend(more);
        self.url(&segments)
    }

    /// Asks for a machine. Sent again when nothing was answered: the key lets the manager make it once.
    ///
    /// # Errors
    /// What is wrong with it, or that nothing was answered.
    pub async fn create_machine(&self, machine: &CreateMachine) -> Answer<Machine> {
        self.create_machine_once(machine, &uuid::Uuid::now_v7().to_string())
            .await
    }

    /// Asks for a machine with an idempotency key of the caller's.
    ///
    /// # Errors
    /// As [`Client::create_machine`]; also when the key was used for another request.
    pub async fn create_machine_once(&self, machine: &CreateMachine, key: &str) -> Answer<Machine> {
        let url = self.machine_url(&[])?;
        self.repeat(|| {
            self.request(Method::POST, url.clone())
                .header("Idempotency-Key", key)
                .json(machine)
        })
        .await
    }

    /// Says where a machine would go with all that belongs to it. Nothing is made.
    ///
    /// # Errors
    /// What is wrong with it, or that no node takes it.
    pub async fn preview_machine(&self, machine: &CreateMachine) -> Answer<MachinePreview> {
        let mut url = self.machine_url(&[])?;
        url.query_pairs_mut().append_pair("dry_run", "true");
        self.repeat(|| self.request(Method::POST, url.clone()).json(machine))
            .await
    }

    /// A machine by name or id.
    ///
    /// # Errors
    /// When there is none, or nothing was answered.
    pub async fn machine(&self, name: &str) -> Answer<Machine> {
        let url = self.machine_url(&[name])?;
        self.repeat(|| self.request(Method::GET, url.clone())).await
    }

    /// A page of machines.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn machines(&self, query: &ListQuery) -> Answer<List<Machine>> {
        self.get_with(&["v1", "projects", &self.project, "machines"], query)
            .await
    }

    /// All machines, or those with these labels (`a=1,b=2`).
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn all_machines(&self, labels: Option<&str>) -> Answer<Vec<Machine>> {
        all_pages!(self, machines, labels)
    }

    /// Changes a machine; with a revision only when it is still that.
    ///
    /// # Errors
    /// What is wrong with the change, or that nothing was answered.
    pub async fn patch_machine(&self, name: &str, patch: &PatchMachine, revision: Option<u64>) -> Answer<Machine> {
        let request = self.request(Method::PATCH, self.machine_url(&[name])?).json(patch);
        self.json(if_match(request, revision)).await
    }

    /// Asks for a machine's end; with a revision only when it is still that. It is gone when it is not found any more.
    ///
    /// # Errors
    /// When there is none, or nothing was answered.
    pub async fn delete_machine(&self, name: &str, volumes: VolumesThen, revision: Option<u64>) -> Answer<Machine> {
        let mut url = self.machine_url(&[name])?;
        let then = match volumes {
            VolumesThen::AsSaid => None,
            VolumesThen::Keep => Some("keep"),
            VolumesThen::Delete => Some("delete"),
        };
        if let Some(then) = then {
            url.query_pairs_mut().append_pair("volumes", then);
        }
        self.json(if_match(self.request(Method::DELETE, url), revision)).await
    }

    /// Orders a machine to run; one that should run already is left alone.
    ///
    /// # Errors
    /// When there is none, or nothing was answered.
    pub async fn start_machine(&self, name: &str) -> Answer<Machine> {
        self.order(name, "start").await
    }

    /// Orders a machine to be off; one that should be off already is left alone.
    ///
    /// # Errors
    /// When there is none, or nothing was answered.
    pub async fn stop_machine(&self, name: &str) -> Answer<Machine> {
        self.order(name, "stop").await
    }

    /// Orders a machine to boot again. Each order is one boot more.
    ///
    /// # Errors
    /// When it should be off, there is none, or nothing was answered.
    pub async fn reboot_machine(&self, name: &str) -> Answer<Machine> {
        self.order(name, "reboot").await
    }

    async fn order(&self, name: &str, verb: &str) -> Answer<Machine> {
        self.json(self.request(Method::POST, self.machine_url(&[name, verb])?))
            .await
    }

    /// Gives a machine a volume that exists.
    ///
    /// # Errors
    /// Why it can't have it, or that nothing was answered.
    pub async fn attach_volume(&self, machine: &str, volume: &AttachVolume) -> Answer<Machine> {
        let url = self.machine_url(&[machine, "volumes"])?;
        self.json(self.request(Method::POST, url).json(volume)).await
    }

    /// Takes a volume from a machine. No other machine can have it before the node has let it go.
    ///
    /// # Errors
    /// When the machine needs it or does not have it, or nothing was answered.
    pub async fn detach_volume(&self, machine: &str, volume: &str) -> Answer<Machine> {
        let url = self.machine_url(&[machine, "volumes", volume])?;
        self.json(self.request(Method::DELETE, url)).await
    }

    /// Connects a machine to a network.
    ///
    /// # Errors
    /// Why it can't be, or that nothing was answered.
    pub async fn add_port(&self, machine: &str, port: &WantedPort) -> Answer<Machine> {
        let url = self.machine_url(&[machine, "ports"])?;
        self.json(self.request(Method::POST, url).json(port)).await
    }

    /// Takes a machine from a network, by the port's id or the network's name.
    ///
    /// # Errors
    /// When it has no such port, or nothing was answered.
    pub async fn remove_port(&self, machine: &str, port: &str) -> Answer<Machine> {
        let url = self.machine_url(&[machine, "ports", port])?;
        self.json(self.request(Method::DELETE, url)).await
    }

    /// Why a machine is where it is, or nowhere, and how each of its parts is.
    ///
    /// # Errors
    /// When there is none, or nothing was answered.
    pub async fn explain_machine(&self, name: &str) -> Answer<MachineExplanation> {
        let url = self.machine_url(&[name, "explanation"])?;
        self.repeat(|| self.request(Method::GET, url.clone())).await
    }
}
