//! Stages of a machine's life: what is there before, the order that begins it, and what ends it.

use symphony_api::v1::{DrainNode, FenceNode, Power};
use symphony_api::{Client, ClientError, Code};
use symphony_tests::apart::{MANAGERS, NODES, Space};
use symphony_tests::until;

use super::dice::Dice;
use super::subject::{Subject, cordon, from_image, is_settled};
use super::{World, faults};

/// Where a machine is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// A volume is being made from an image.
    Making,
    Starting,
    RunningLocal,
    /// Its volume is on another node.
    RunningRemote,
    Stopping,
    Deleting,
    /// Its node is drained, and it leaves.
    Draining,
    /// Its node lost its power, was fenced, and comes back.
    Returning,
}

impl Stage {
    pub(super) const ALL: [Self; 8] = [
        Self::Making,
        Self::Starting,
        Self::RunningLocal,
        Self::RunningRemote,
        Self::Stopping,
        Self::Deleting,
        Self::Draining,
        Self::Returning,
    ];

    /// Makes what is there before it.
    pub(super) async fn prepare(self, world: &World, number: usize, dice: &mut Dice) -> Subject {
        let home = dice.one(&NODES[1..]);
        let mut subject = Subject {
            name: format!("r{number}"),
            home,
            away: home,
            machine: None,
            volume: None,
        };
        match self {
            Self::Making | Self::Starting => {}
            Self::RunningLocal => subject.local(world).await,
            Self::RunningRemote | Self::Returning => subject.remote(world, Power::On).await,
            Self::Draining => subject.remote(world, Power::Off).await,
            Self::Stopping | Self::Deleting => {
                if dice.one(&[true, false]) {
                    subject.local(world).await;
                } else {
                    subject.remote(world, Power::On).await;
                }
            }
        }
        if subject.machine.is_some() {
            is_settled(world, &subject.name).await;
        }
        subject
    }

    /// Gives the order.
    pub(super) async fn begin(self, world: &World, number: usize, subject: &mut Subject) {
        let name = subject.name.clone();
        let history = &world.history;
        match self {
            Self::Making => {
                let volume = from_image(&format!("made-{number}"), subject.home);
                history.create_volume(&volume).await;
                subject.volume = Some(volume.name);
            }
            Self::Starting => subject.local(world).await,
            Self::RunningLocal | Self::RunningRemote => {}
            Self::Stopping => {
                let stopped = history.ask("stop a machine", async |client| client.stop_machine(&name).await);
                subject.machine = Some(stopped.await.unwrap());
            }
            Self::Deleting => history.delete_machine(subject.machine.as_ref().unwrap()).await,
            Self::Draining => {
                let away = subject.away.0;
                let drain = DrainNode { stop: false };
                let drained = history.ask("drain a node", async |client| client.drain_node(away, &drain).await);
                drained.await.unwrap();
            }
            Self::Returning => fenced_and_back(world, subject.away).await,
        }
    }

    /// Whether a manager that does not suffer sees it over already.
    pub(super) async fn is_seen_over(self, world: &World, subject: &Subject, victims: &[Space]) -> bool {
        if matches!(self, Self::RunningLocal | Self::RunningRemote) {
            return false;
        }
        let at = MANAGERS.iter().position(|manager| !victims.contains(manager)).unwrap();
        // Whoever does not know can't say that it was under way.
        self.has_ended(&world.cluster.clients()[at], subject)
            .await
            .unwrap_or(true)
    }

    /// Waits for its end.
    pub(super) async fn is_over(self, world: &World, subject: &Subject) {
        let what = format!("{self:?} of {} to be over", subject.name);
        let ended = async || {
            let asked = world
                .history
                .ask(&what, async |client| self.has_ended(&client, subject).await)
                .await;
            asked.unwrap().then_some(())
        };
        until(&what, ended).await;
        world.story.note(format!("{what}: it is"));
    }

    async fn has_ended(self, client: &Client, subject: &Subject) -> Result<bool, ClientError> {
        let name = subject.name.as_str();
        match self {
            Self::Making => Ok(client.volume(subject.volume.as_deref().unwrap()).await?.is_ready()),
            Self::Starting | Self::RunningLocal | Self::RunningRemote | Self::Stopping => {
                Ok(client.machine(name).await?.is_settled())
            }
            Self::Deleting => match client.machine(name).await {
                Err(error) if error.code() == Some(Code::NotFound) => Ok(true),
                other => other.map(|_| false),
            },
            Self::Draining => {
                let machine = client.machine(name).await?;
                let node = machine.node().map(str::to_owned);
                Ok(node.is_some_and(|node| node != subject.away.0) && machine.is_settled())
            }
            Self::Returning => {
                let ready = client.node(subject.away.0).await?.status.phase == "Ready";
                Ok(ready && client.machine(name).await?.is_settled())
            }
        }
    }

    /// Lets what is left go on, so that later rounds have it beside them.
    pub(super) async fn finish(self, world: &World, subject: &mut Subject) {
        match self {
            Self::Deleting => subject.machine = None,
            Self::Stopping => subject.start(world).await,
            Self::Draining => {
                cordon(world, subject.away, false).await;
                subject.start(world).await;
            }
            _ => {}
        }
    }
}

/// Takes a node's power, waits until it is missed, fences it, and gives it back.
async fn fenced_and_back(world: &World, node: Space) {
    world.cluster.power_cut(node).await;
    faults::is_not_ready(world, node).await;
    let fence = FenceNode { confirm: true };
    until("the node to be fenced", async || {
        // Refused as long as its agent may be heard of.
        world
            .history
            .ask("fence a node", async |client| client.fence_node(node.0, &fence).await)
            .await
            .ok()
    })
    .await;
    world.story.note(format!("fenced {}", node.0));
    world.cluster.power_on(node);
}
