//! Stages of a machine's life: what is there before, the order that begins it, and what ends it.

use symphony_api::v1::{
    CreateMachine, CreateMachineSpec, CreateVolume, CreateVolumeSpec, DrainNode, FenceNode, Labels, Machine, PatchNode,
    PatchNodeSpec, Power, Size, WantedPort, WantedVolume,
};
use symphony_api::{Client, ClientError, Code};
use symphony_tests::apart::{IMAGES, MANAGERS, NODES, Space};
use symphony_tests::until;

use super::dice::Dice;
use super::{World, faults, guests};

/// The network of all machines.
pub(super) const NETWORK: &str = "net1";

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

/// What a round is about.
#[derive(Debug)]
pub(super) struct Subject {
    name: String,
    /// Where the volume is.
    home: Space,
    /// Where the machine is, or is to be; the home when its volume is there too.
    away: Space,
    machine: Option<Machine>,
    /// A volume that does not end with a machine.
    volume: Option<String>,
}

impl Subject {
    /// The nodes that matter to it.
    pub(super) fn nodes(&self) -> Vec<Space> {
        match self.machine {
            Some(_) => vec![self.home, self.away],
            None => vec![self.home, IMAGES],
        }
    }

    /// Its end, undisturbed: first what its guest has to say.
    pub(super) async fn retire(self, world: &World) {
        if let Some(machine) = &self.machine {
            guests::tell(world, machine).await;
            world.history.delete_machine(machine).await;
            is_gone(world, &machine.meta.name).await;
        }
        if let Some(volume) = &self.volume {
            world.history.delete_volume(volume).await;
        }
    }
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

impl Subject {
    /// A machine with its own root volume, at home.
    async fn local(&mut self, world: &World) {
        let wanted = CreateMachine {
            name: self.name.clone(),
            labels: Labels::default(),
            spec: CreateMachineSpec {
                memory: Some(Size::text("16MiB")),
                image: Some("tiny".to_owned()),
                require: zone(self.home),
                ports: vec![port()],
                ..CreateMachineSpec::default()
            },
        };
        self.machine = Some(world.history.create_machine(&wanted).await);
    }

    /// A machine on another node than its volume.
    async fn remote(&mut self, world: &World, power: Power) {
        let volume = from_image(&format!("{}-disk", self.name), self.home);
        world.history.create_volume(&volume).await;
        until("the volume to be ready", async || {
            let asked = world
                .history
                .ask("look at a volume", async |client| client.volume(&volume.name).await);
            asked.await.unwrap().is_ready().then_some(())
        })
        .await;
        cordon(world, self.home, true).await;
        let wanted = CreateMachine {
            name: self.name.clone(),
            labels: Labels::default(),
            spec: CreateMachineSpec {
                memory: Some(Size::text("16MiB")),
                volumes: vec![WantedVolume {
                    name: volume.name.clone(),
                    size: None,
                    delete_with_machine: false,
                }],
                remote_volumes: true,
                ports: vec![port()],
                power,
                ..CreateMachineSpec::default()
            },
        };
        self.volume = Some(volume.name);
        let machine = world.history.create_machine(&wanted).await;
        let placed = async || {
            let asked = world.history.ask("look at a machine", async |client| {
                client.machine(&machine.meta.name).await
            });
            asked.await.unwrap().node().map(str::to_owned)
        };
        let node = until("the machine to be placed", placed).await;
        cordon(world, self.home, false).await;
        self.away = NODES.into_iter().find(|space| space.0 == node).unwrap();
        assert_ne!(self.away, self.home, "it is not with its volume");
        self.machine = Some(machine);
    }

    async fn start(&mut self, world: &World) {
        let name = self.name.clone();
        let started = world
            .history
            .ask("start a machine", async |client| client.start_machine(&name).await);
        self.machine = Some(started.await.unwrap());
        is_settled(world, &name).await;
    }
}

fn from_image(name: &str, node: Space) -> CreateVolume {
    CreateVolume {
        name: name.to_owned(),
        labels: Labels::default(),
        spec: CreateVolumeSpec {
            image: Some("tiny".to_owned()),
            require: zone(node),
            ..CreateVolumeSpec::default()
        },
    }
}

fn port() -> WantedPort {
    WantedPort {
        network: NETWORK.to_owned(),
        ..WantedPort::default()
    }
}

fn zone(node: Space) -> Labels {
    Labels::from([("zone".to_owned(), node.0.to_owned())])
}

async fn cordon(world: &World, node: Space, cordoned: bool) {
    let patch = PatchNode {
        labels: None,
        spec: Some(PatchNodeSpec {
            cordoned: Some(cordoned),
        }),
    };
    let asked = world.history.ask("cordon a node", async |client| {
        client.patch_node(node.0, &patch, None).await
    });
    asked.await.unwrap();
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

pub(super) async fn is_settled(world: &World, name: &str) {
    until(&format!("{name} to be settled"), async || {
        let asked = world
            .history
            .ask("look at a machine", async |client| client.machine(name).await)
            .await;
        asked.unwrap().is_settled().then_some(())
    })
    .await;
}

pub(super) async fn is_gone(world: &World, name: &str) {
    until(&format!("{name} to be gone"), async || {
        let asked = world
            .history
            .ask("look at a machine", async |client| client.machine(name).await)
            .await;
        (asked == Err(Code::NotFound)).then_some(())
    })
    .await;
}
