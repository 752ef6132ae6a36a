//! Faults: whom each strikes, how long it lasts, and how it ends. None lasts for a time: each until it had its effect.

use symphony_api::v1::{CreateVolume, CreateVolumeSpec, FenceNode, Labels, Size};
use symphony_tests::apart::{MANAGERS, MEMBERS, Space};
use symphony_tests::until;

use super::World;
use super::dice::Dice;
use super::subject::Subject;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    KillLeader,
    /// Past its lease; then it goes on as if it were still leading.
    FreezeLeader,
    CutLeaderFromEtcd,
    /// From everybody.
    CutLeaderOff,
    CutAgentFromManagers,
    /// It hears managers, and is not heard.
    CutAgentOneWay,
    KillAgent,
    /// Until it is missed.
    FreezeAgent,
    PowerCut,
    /// It is cut off and goes on, until its board takes its power, and so it is fenced.
    FencedByBoard,
    KillMember,
    FreezeMember,
    CutMember,
    RestartFollower,
}

impl Fault {
    pub(super) const ALL: [Self; 14] = [
        Self::KillLeader,
        Self::FreezeLeader,
        Self::CutLeaderFromEtcd,
        Self::CutLeaderOff,
        Self::CutAgentFromManagers,
        Self::CutAgentOneWay,
        Self::KillAgent,
        Self::FreezeAgent,
        Self::PowerCut,
        Self::FencedByBoard,
        Self::KillMember,
        Self::FreezeMember,
        Self::CutMember,
        Self::RestartFollower,
    ];
}

impl Fault {
    /// Whom it strikes.
    fn part(self) -> Part {
        match self {
            Self::KillMember | Self::FreezeMember | Self::CutMember => Part::Member,
            Self::CutAgentFromManagers
            | Self::CutAgentOneWay
            | Self::KillAgent
            | Self::FreezeAgent
            | Self::PowerCut
            | Self::FencedByBoard => Part::Node,
            Self::KillLeader
            | Self::FreezeLeader
            | Self::CutLeaderFromEtcd
            | Self::CutLeaderOff
            | Self::RestartFollower => Part::Manager,
        }
    }

    /// Those that may strike at the same time: of two members of etcd, or of all managers, nobody could do without.
    pub(super) fn others(self) -> Vec<Self> {
        Self::ALL
            .into_iter()
            .filter(|other| other.part() != self.part())
            .collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Member,
    Manager,
    Node,
}

/// A fault and its victim.
pub(super) struct Armed {
    fault: Fault,
    victim: Space,
    /// Of the leader when it was aimed.
    epoch: u64,
    /// The victim's process then.
    pid: u32,
}

impl Armed {
    /// Chooses the victim, which takes a moment, so that nothing is to be asked when it strikes.
    pub(super) async fn aim(world: &World, fault: Fault, subject: &Subject, dice: &mut Dice) -> Self {
        let (leader, epoch) = world.cluster.leads().await;
        let followers: Vec<Space> = MANAGERS.into_iter().filter(|manager| *manager != leader).collect();
        let victim = match fault.part() {
            Part::Member => dice.one(&MEMBERS),
            Part::Node => dice.one(&subject.nodes()),
            Part::Manager if fault == Fault::RestartFollower => dice.one(&followers),
            Part::Manager => leader,
        };
        let pid = until("the victim to run", async || world.cluster.pid(victim)).await;
        Self {
            fault,
            victim,
            epoch,
            pid,
        }
    }

    pub(super) fn victim(&self) -> Space {
        self.victim
    }

    pub(super) async fn strike(&self, world: &World) {
        let (cluster, victim) = (&world.cluster, self.victim);
        match self.fault {
            Fault::KillLeader | Fault::KillMember => _ = cluster.hold(victim).await,
            Fault::FreezeLeader | Fault::FreezeAgent | Fault::FreezeMember => _ = cluster.freeze(victim).await,
            Fault::CutLeaderFromEtcd => cluster.cut(victim, "from etcd", |victim| victim.cut(&MEMBERS)),
            Fault::CutAgentFromManagers | Fault::FencedByBoard => {
                cluster.cut(victim, "from managers", |victim| victim.cut(&MANAGERS))
            }
            Fault::CutAgentOneWay => cluster.cut(victim, "to managers", |victim| victim.cut_to(&MANAGERS)),
            Fault::KillAgent | Fault::RestartFollower => _ = cluster.kill(victim).await,
            Fault::PowerCut => cluster.power_cut(victim).await,
            Fault::CutLeaderOff | Fault::CutMember => cluster.cut(victim, "from all", Space::cut_off),
        }
    }

    /// Waits until it had its effect, and until something was acknowledged in spite of it.
    pub(super) async fn lasts(&self, world: &World, number: usize) {
        match self.fault {
            Fault::KillLeader | Fault::FreezeLeader | Fault::CutLeaderFromEtcd | Fault::CutLeaderOff => {
                let leader = world.cluster.leader_after(self.epoch).await;
                world
                    .story
                    .note(format!("{} leads with epoch {}", leader.manager, leader.epoch));
            }
            Fault::CutAgentFromManagers | Fault::CutAgentOneWay | Fault::FreezeAgent | Fault::PowerCut => {
                is_not_ready(world, self.victim).await;
            }
            Fault::FencedByBoard => fenced_by_board(world, self.victim).await,
            Fault::KillAgent | Fault::RestartFollower => world.cluster.runs_anew(self.victim, self.pid).await,
            Fault::KillMember | Fault::FreezeMember | Fault::CutMember => {
                assert!(!world.cluster.is_healthy(self.victim), "{} serves", self.victim.0);
            }
        }
        let during = CreateVolume {
            name: format!("during-{number}-{}", self.victim.0),
            labels: Labels::default(),
            spec: CreateVolumeSpec {
                size: Some(Size::text("1MiB")),
                ..CreateVolumeSpec::default()
            },
        };
        world.history.create_volume(&during).await;
    }

    /// Ends it, and waits until the victim is well again.
    pub(super) async fn ends(&self, world: &World) {
        let (cluster, victim) = (&world.cluster, self.victim);
        match self.fault {
            Fault::KillLeader | Fault::KillMember => cluster.release(victim),
            Fault::FreezeLeader | Fault::FreezeAgent | Fault::FreezeMember => cluster.thaw(victim, self.pid),
            Fault::CutLeaderFromEtcd
            | Fault::CutLeaderOff
            | Fault::CutAgentFromManagers
            | Fault::CutAgentOneWay
            | Fault::CutMember => cluster.heal(victim),
            Fault::PowerCut | Fault::FencedByBoard => cluster.power_on(victim),
            Fault::KillAgent | Fault::RestartFollower => {}
        }
        match self.fault.part() {
            Part::Member => {
                until("the member to serve again", async || {
                    cluster.is_healthy(victim).then_some(())
                })
                .await
            }
            Part::Manager => {
                let at = MANAGERS.iter().position(|manager| *manager == victim).unwrap();
                until("the manager to serve again", async || {
                    cluster.clients()[at].ready().await.ok()
                })
                .await;
            }
            Part::Node => is_ready(world, victim).await,
        }
    }
}

/// Has a node fenced that runs and is not heard of: it has no power by then.
async fn fenced_by_board(world: &World, node: Space) {
    is_not_ready(world, node).await;
    assert!(world.cluster.has_power(node), "{} runs, unheard", node.0);
    let asked = world.history.ask("fence a node", async |client| {
        client.fence_node(node.0, &FenceNode::default()).await
    });
    asked.await.unwrap();
    let what = format!("{} to be fenced", node.0);
    until(&what, async || (phase(world, node).await == "Fenced").then_some(())).await;
    assert!(!world.cluster.has_power(node), "{} was fenced, and runs", node.0);
    world.story.note(format!("{} is fenced by its board", node.0));
}

/// The phase of a node, by whatever manager answers.
async fn phase(world: &World, node: Space) -> String {
    let asked = world
        .history
        .ask("look at a node", async |client| client.node(node.0).await)
        .await;
    asked.unwrap().status.phase
}

pub(super) async fn is_ready(world: &World, node: Space) {
    let what = format!("{} to be ready", node.0);
    until(&what, async || (phase(world, node).await == "Ready").then_some(())).await;
}

pub(super) async fn is_not_ready(world: &World, node: Space) {
    let what = format!("{} to be missed", node.0);
    until(&what, async || (phase(world, node).await != "Ready").then_some(())).await;
}
