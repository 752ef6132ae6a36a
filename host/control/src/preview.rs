//! What the agents would be asked to do first for a machine that is not made yet: its drivers are asked for their plans on
//! a node where nothing of it is. Nothing is written, and no agent is called.

use symphony_core::export;
use symphony_core::id::VolumeId;
use symphony_core::machine::{Machine, MachinePlacement};
use symphony_core::name::Name;
use symphony_core::node::Node;
use symphony_core::plan::machine::{DiskSource, DomainFact, Machines, Parts};
use symphony_core::plan::network::{NetworkFact, Networks};
use symphony_core::plan::volume::{ImageState, ObjectState, Volumes};
use symphony_core::plan::{self, Kind, machine, network, volume};
use symphony_core::volume::{Placement, Volume};
use symphony_runtime::Hosted;

use crate::clock;
use crate::control::Control;
use crate::explain::Chosen;
use crate::place::round::built_in;
use crate::view::State;

/// One thing that an agent would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    /// `volume`, `network` or `machine`.
    pub kind: String,
    /// The name of what it is done for.
    pub name: String,
    /// What, in a word.
    pub action: String,
}

/// The steps for the volumes, the networks and the machine itself, in the order in which they would be done. What can't be
/// planned now (no driver serves) is left out: the preview is of what is known.
pub(crate) async fn steps(control: &Control, machine: &Machine, new: &[Volume], chosen: &Chosen) -> Vec<PlannedStep> {
    let Some(intents) = Intents::draw(&control.view().read(), machine, new, chosen) else {
        return Vec::new();
    };
    let mut steps = Vec::new();
    for (name, intent) in &intents.volumes {
        steps.extend(planned::<Volumes>(control, name, intent, nothing_of_volume).await);
    }
    for (name, intent) in &intents.networks {
        let nothing = |probe: &network::Probe| {
            let network::Probe::Network(object) = probe;
            network::Fact::Network(NetworkFact {
                object: object.clone(),
                found: None,
            })
        };
        steps.extend(planned::<Networks>(control, name, intent, nothing).await);
    }
    let hypervisor = intents.hypervisor;
    let nothing = |probe: &machine::Probe| match probe {
        machine::Probe::Domain(object) => machine::Fact::Domain(DomainFact {
            object: object.clone(),
            found: None,
            remains: false,
        }),
        machine::Probe::Node => machine::Fact::Node {
            hypervisor,
            hugepages: intents.machine.hugepages,
        },
    };
    let name = machine.meta.name.to_string();
    steps.extend(planned::<Machines>(control, &name, &intents.machine, nothing).await);
    steps
}

/// How the machine would get at a volume that is there already: on another node in the generation that would be made for it.
fn taken(state: &State, id: VolumeId, node: &Name, pool: &Name) -> DiskSource {
    let place = state.volume(id).and_then(|volume| volume.value.placement.as_ref());
    let pool = place.map_or(pool, |place| &place.pool).to_string();
    match place.filter(|place| place.node != *node) {
        None => DiskSource::Local { pool },
        Some(place) => {
            let before = state.exports.get(&id).map(|export| export.value.generation);
            DiskSource::Remote {
                export: export::name(id, before.unwrap_or_default().next()),
                node: place.node.to_string(),
            }
        }
    }
}

/// What would be wanted on the node.
struct Intents {
    hypervisor: machine::Hypervisor,
    volumes: Vec<(String, volume::Intent)>,
    networks: Vec<(String, network::Intent)>,
    machine: machine::Intent,
}

impl Intents {
    fn draw(state: &State, machine: &Machine, new: &[Volume], chosen: &Chosen) -> Option<Self> {
        let (name, pool): (Name, Name) = (chosen.node.parse().ok()?, chosen.pool.parse().ok()?);
        let node = &state.nodes.get(&name)?.value;
        let mut parts = Parts::default();
        let mut volumes = Vec::new();
        for attachment in &machine.spec.volumes {
            let Some(volume) = new.iter().find(|volume| volume.meta.id == attachment.id) else {
                parts
                    .volumes
                    .push((attachment.clone(), taken(state, attachment.id, &name, &pool)));
                continue;
            };
            let mut volume = volume.clone();
            volume.placement = Some(Placement {
                node: name.clone(),
                pool: pool.clone(),
                claimed_bytes: volume.spec.size.bytes(),
                decided_by: built_in(None),
                score: chosen.score,
                revision: symphony_core::counter::Revision(0),
                decided_at: clock::now(),
            });
            volumes.push((attachment.name.to_string(), volume::Intent::of(&volume)?));
            let pool = pool.to_string();
            parts.volumes.push((attachment.clone(), DiskSource::Local { pool }));
        }
        let mut networks = Vec::new();
        for port in &machine.spec.ports {
            let network = &state.network(port.network)?.value;
            parts.ports.push((port.clone(), network.spec.subnet));
            let ports = vec![network::Port::of(port, &machine.meta.name, &name)];
            networks.push((
                port.network_name.to_string(),
                network::Intent::of(network, &name, None, ports, Vec::new()),
            ));
        }
        Some(Self {
            hypervisor: hypervisor(node)?,
            volumes,
            networks,
            machine: machine::Intent::of(
                machine,
                &MachinePlacement {
                    node: name,
                    claimed: machine.spec.size,
                    decided_by: built_in(None),
                    score: chosen.score,
                    decided_at: clock::now(),
                },
                &parts,
            ),
        })
    }
}

fn hypervisor(node: &Node) -> Option<machine::Hypervisor> {
    node.status.compute.as_ref().map(|compute| compute.hypervisor)
}

fn nothing_of_volume(probe: &volume::Probe) -> volume::Fact {
    match probe {
        volume::Probe::Object(object) => volume::Fact::Object {
            object: object.clone(),
            state: ObjectState::Absent,
        },
        volume::Probe::Image(digest) => volume::Fact::Image {
            digest: digest.clone(),
            state: ImageState::Absent,
        },
        volume::Probe::Pool => volume::Fact::Pool {
            reflink: false,
            free_bytes: u64::MAX,
        },
    }
}

/// The checked plan of the driver that serves, as words.
async fn planned<K: Hosted>(
    control: &Control,
    name: &str,
    intent: &<K as Kind>::Intent,
    nothing: impl Fn(&<K as Kind>::Probe) -> <K as Kind>::Fact,
) -> Vec<PlannedStep> {
    let Some(driver) = control.slots().driver::<K>() else {
        return Vec::new();
    };
    let Ok(probes) = driver.probes(intent).await else {
        return Vec::new();
    };
    let Ok(probes) = plan::check_probes::<K>(intent, probes) else {
        return Vec::new();
    };
    let facts: Vec<K::Fact> = probes.as_slice().iter().map(nothing).collect();
    let Ok(Ok(steps)) = driver.plan(intent, &facts).await else {
        return Vec::new();
    };
    let planned = |step: &K::Step| PlannedStep {
        kind: K::NAME.to_owned(),
        name: name.to_owned(),
        action: K::action(step).to_owned(),
    };
    plan::check::<K>(intent, &facts, steps)
        .map(|plan| plan.steps().iter().map(planned).collect())
        .unwrap_or_default()
}
