//! Chaos: three members of etcd, three managers and five nodes, each in namespaces of its own, which are cut off, healed,
//! killed, frozen and restarted at every stage of a machine's life. In the end each acknowledged resource is there once,
//! claims are what runs, no volume was ever writable by two, and no machine ran twice. Nobody's word is taken for that but
//! the processes', the guests' and the clients'.
//!
//! A round is a stage of a machine's life and a fault in the midst of it, or two at once. One test passes a short list of rounds with every
//! stage and every fault in it; `cargo xtask chaos` goes on for as long as it is told to, at random, from a seed.

mod check;
mod dice;
mod faults;
mod guests;
mod stages;
mod subject;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use symphony_api::client::Upload;
use symphony_api::v1::{CreateNetwork, CreateNetworkSpec};
use symphony_tests::apart::{Apart, Churn, History, Space, Story, Witness, apart};
use symphony_tests::lab;

use dice::Dice;
use faults::{Armed, Fault};
use stages::Stage;
use subject::Subject;

/// The seed of the test that has none given.
const SEED: u64 = 7;
/// Subjects of earlier rounds that go on while others suffer.
const KEPT_MAX: usize = 4;

/// All that a round needs.
struct World {
    cluster: Apart,
    history: Arc<History>,
    witness: Witness,
    story: Story,
}

impl World {
    async fn start() -> Self {
        let story = Story::default();
        let cluster = Apart::start(&story).await;
        let witness = Witness::start(&cluster.dir().join("nodes"), &story);
        let history = Arc::new(History::new(cluster.clients(), &story));
        let disk = cluster.dir().join("tiny.raw");
        lab::tiny(&disk, "of chaos").unwrap();
        let bytes = std::fs::read(disk).unwrap();
        let network = CreateNetwork {
            name: subject::NETWORK.to_owned(),
            labels: Default::default(),
            spec: CreateNetworkSpec {
                subnet: Some("10.42.0.0/24".to_owned()),
                nat: false,
                mtu: None,
            },
        };
        cluster.clients()[0].create_network(&network).await.unwrap();
        cluster.clients()[0]
            .create_image("tiny", None, Upload::bytes(bytes))
            .await
            .unwrap();
        Self {
            cluster,
            history,
            witness,
            story,
        }
    }

    /// A stage and faults in it. Gives what is left of it, and whether the stage was under way when they struck.
    async fn round(
        &self,
        number: usize,
        stage: Stage,
        faults: &[Fault],
        first: First,
        dice: &mut Dice,
    ) -> (Subject, bool) {
        self.story.note(format!(
            "--- round {number}: {stage:?} and {faults:?}, {first:?} first ---"
        ));
        let mut subject = stage.prepare(self, number, dice).await;
        let mut armed = Vec::new();
        for fault in faults {
            armed.push(Armed::aim(self, *fault, &subject, dice).await);
        }
        if matches!(first, First::Stage) {
            stage.begin(self, number, &mut subject).await;
        }
        for fault in &armed {
            fault.strike(self).await;
        }
        let under_way = match first {
            First::Stage => {
                let victims: Vec<Space> = armed.iter().map(Armed::victim).collect();
                !stage.is_seen_over(self, &subject, &victims).await
            }
            // What begins after they struck, and before they end, can't be over before.
            First::Fault => {
                stage.begin(self, number, &mut subject).await;
                true
            }
        };
        for fault in &armed {
            fault.lasts(self, number).await;
        }
        for fault in &armed {
            fault.ends(self).await;
        }
        stage.is_over(self, &subject).await;
        stage.finish(self, &mut subject).await;
        self.nothing_forbidden();
        (subject, under_way)
    }

    fn nothing_forbidden(&self) {
        let violations = self.witness.violations();
        assert!(violations.is_empty(), "{violations:#?}");
    }
}

/// What comes first in a round.
#[derive(Debug, Clone, Copy)]
enum First {
    Stage,
    Fault,
}

/// Rounds, one after the other, with what is left of them.
struct Rounds<'a> {
    world: &'a World,
    churn: Churn,
    dice: Dice,
    number: usize,
    kept: Vec<Subject>,
    stages: BTreeSet<Stage>,
    faults: BTreeSet<Fault>,
}

impl<'a> Rounds<'a> {
    fn new(world: &'a World, seed: u64) -> Self {
        Self {
            world,
            churn: Churn::start(&world.history),
            dice: Dice::new(seed),
            number: 0,
            kept: Vec::new(),
            stages: BTreeSet::new(),
            faults: BTreeSet::new(),
        }
    }

    /// One round; once more when the stage was over too soon, then with the fault first. A node that returns takes its time,
    /// and a fault that struck it before would be over when its power goes.
    async fn pass(&mut self, stage: Stage, faults: &[Fault]) {
        let then = if stage == Stage::Returning {
            First::Stage
        } else {
            First::Fault
        };
        for first in [First::Stage, then] {
            let began = Instant::now();
            assert!(!self.churn.has_failed(), "a client was refused for good");
            self.number += 1;
            let (subject, under_way) = self
                .world
                .round(self.number, stage, faults, first, &mut self.dice)
                .await;
            eprintln!(
                "round {:3}: {:13} {:38} {:5.1} s{}",
                self.number,
                format!("{stage:?}"),
                format!("{faults:?}"),
                began.elapsed().as_secs_f64(),
                if under_way {
                    ""
                } else {
                    ", over before the fault: once more"
                }
            );
            self.kept.push(subject);
            if self.kept.len() > KEPT_MAX {
                self.kept.remove(0).retire(self.world).await;
            }
            if under_way {
                self.stages.insert(stage);
                self.faults.extend(faults);
                return;
            }
        }
    }

    async fn end(self) {
        let churned = self.churn.stop().await;
        check::all_is_well(self.world).await;
        for subject in self.kept {
            subject.retire(self.world).await;
        }
        check::nothing_is_left(self.world).await;
        self.world.nothing_forbidden();
        let (machines, volumes, nodes) = self.world.witness.ever();
        eprintln!(
            "{} rounds; {machines} machines ran, on up to {nodes} nodes each, {volumes} volumes were written to, {churned} came and \
             went; {} requests were sent again",
            self.number,
            self.world.history.again()
        );
        assert!(machines > 0 && volumes > 0, "the witness saw what it is there for");
    }
}

fn seed() -> u64 {
    let given = std::env::var("SYMPHONY_CHAOS_SEED").ok();
    given.map_or(SEED, |seed| seed.parse().expect("SYMPHONY_CHAOS_SEED is a number"))
}

#[test]
fn every_fault_and_every_stage() {
    apart("system::chaos::every_fault_and_every_stage", async {
        let world = World::start().await;
        let mut rounds = Rounds::new(&world, seed());
        let faults = rounds.dice.shuffled(&Fault::ALL);
        let stages = rounds.dice.shuffled(&Stage::ALL);
        // More faults than stages: some stages suffer twice.
        for (fault, stage) in faults.into_iter().zip(stages.into_iter().cycle()) {
            rounds.pass(stage, &[fault]).await;
        }
        // Whatever the dice say: a machine runs unheard, and is to run elsewhere, with the volume that it writes to.
        rounds.pass(Stage::RunningRemote, &[Fault::FencedByBoard]).await;
        assert_eq!(rounds.stages, BTreeSet::from(Stage::ALL), "each stage was disturbed");
        assert_eq!(rounds.faults, BTreeSet::from(Fault::ALL), "each fault happened");
        rounds.end().await;
    });
}

#[test]
#[ignore = "goes on for as long as it is told to: `cargo xtask chaos`"]
fn on_and_on() {
    apart("system::chaos::on_and_on", async {
        let minutes = std::env::var("SYMPHONY_CHAOS_MINUTES").map_or(10, |minutes| {
            minutes.parse::<u64>().expect("SYMPHONY_CHAOS_MINUTES is a number")
        });
        let seed = seed();
        eprintln!("seed {seed}: SYMPHONY_CHAOS_SEED={seed} does the same again, as far as processes allow");
        let until = Instant::now() + Duration::from_secs(60 * minutes);
        let world = World::start().await;
        let mut rounds = Rounds::new(&world, seed);
        while Instant::now() < until {
            let (stage, fault) = (rounds.dice.one(&Stage::ALL), rounds.dice.one(&Fault::ALL));
            let second = rounds.dice.one(&fault.others());
            let faults = [fault, second];
            let at_once = rounds.dice.one(&[1, 1, 2]);
            rounds.pass(stage, &faults[..at_once]).await;
        }
        rounds.end().await;
    });
}
