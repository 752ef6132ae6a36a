//! What rounds are about: machines with a volume beside them or on another node.

use symphony_api::Code;
use symphony_api::v1::{
    CreateMachine, CreateMachineSpec, CreateVolume, CreateVolumeSpec, Labels, Machine, PatchNode, PatchNodeSpec, Power,
    Size, WantedPort, WantedVolume,
};
use symphony_tests::apart::{IMAGES, NODES, Space};
use symphony_tests::until;

use super::{World, guests};

/// The network of all machines.
pub(super) const NETWORK: &str = "net1";

/// What a round is about.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) name: String,
    /// Where the volume is.
    pub(super) home: Space,
    /// Where the machine is, or is to be; the home when its volume is there too.
    pub(super) away: Space,
    pub(super) machine: Option<Machine>,
    /// A volume that does not end with a machine.
    pub(super) volume: Option<String>,
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

impl Subject {
    /// A machine with its own root volume, at home.
    pub(super) async fn local(&mut self, world: &World) {
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
    pub(super) async fn remote(&mut self, world: &World, power: Power) {
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

    pub(super) async fn start(&mut self, world: &World) {
        let name = self.name.clone();
        let started = world
            .history
            .ask("start a machine", async |client| client.start_machine(&name).await);
        self.machine = Some(started.await.unwrap());
        is_settled(world, &name).await;
    }
}

pub(super) fn from_image(name: &str, node: Space) -> CreateVolume {
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

pub(super) async fn cordon(world: &World, node: Space, cordoned: bool) {
    let patch = PatchNode {
        labels: None,
        spec: Some(PatchNodeSpec {
            cordoned: Some(cordoned),
            ..PatchNodeSpec::default()
        }),
    };
    let asked = world.history.ask("cordon a node", async |client| {
        client.patch_node(node.0, &patch, None).await
    });
    asked.await.unwrap();
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
