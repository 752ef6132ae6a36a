//! The driver against a simulated node: from every state that a kill can leave.

use symphony_sdk::VolumeDriver;
use symphony_sdk::driver::volume::{
    Fact, ImageFormat, ImageSource, ImageState, Intent, ObjectFact, ObjectState, PartialObject, Step,
};
use symphony_sdk::driver::{Goal, Refusal};

use crate::File;
use crate::simulated::{Content, Node};

const MIB: u64 = 1 << 20;
const DIGEST: &str = "sha256:11";

fn empty() -> Intent {
    Intent {
        object: "v1".to_owned(),
        pool: "default".to_owned(),
        goal: Goal::Present,
        size_bytes: 16 * MIB,
        source: None,
    }
}

fn from_image() -> Intent {
    let digest = DIGEST.to_owned();
    let (stored_bytes, virtual_bytes) = (5 * MIB, 8 * MIB);
    Intent {
        source: Some(ImageSource {
            digest,
            format: ImageFormat::Qcow2,
            stored_bytes,
            virtual_bytes,
        }),
        ..empty()
    }
}

fn plan(intent: &Intent, node: &Node) -> Result<Vec<Step>, Refusal> {
    File.plan(intent, &node.facts(intent, &File.probes(intent)))
}

fn names(steps: &[Step]) -> Vec<&'static str> {
    let name = |step: &Step| match step {
        Step::Allocate(_) => "allocate",
        Step::FetchImage(_) => "fetch",
        Step::UnpackImage(_) => "unpack",
        Step::WriteImage(_) => "write",
        Step::CloneImage(_) => "clone",
        Step::Resize(_) => "resize",
        Step::Publish(_) => "publish",
        Step::Remove(_) => "remove",
        Step::Command(_) => "command",
    };
    steps.iter().map(name).collect()
}

fn partial(size_bytes: u64, written: Option<&str>) -> ObjectState {
    ObjectState::Partial(PartialObject {
        size_bytes,
        written: written.map(str::to_owned),
    })
}

#[test]
fn plans_in_words() {
    let node = |object, image, reflink| Node {
        object,
        image,
        ..Node::new(reflink)
    };
    let (absent, whole) = (ObjectState::Absent, ObjectState::Present(16 * MIB));
    let cases = [
        (
            empty(),
            node(absent.clone(), ImageState::Absent, true),
            vec!["allocate", "publish"],
        ),
        (
            empty(),
            node(partial(16 * MIB, None), ImageState::Absent, true),
            vec!["allocate", "publish"],
        ),
        (empty(), node(whole.clone(), ImageState::Absent, true), vec![]),
        (
            empty(),
            node(ObjectState::Present(MIB), ImageState::Absent, true),
            vec!["resize"],
        ),
        (
            from_image(),
            node(absent.clone(), ImageState::Absent, true),
            vec!["fetch", "unpack", "allocate", "clone", "resize", "publish"],
        ),
        (
            from_image(),
            node(absent.clone(), ImageState::Unpacked, true),
            vec!["allocate", "clone", "resize", "publish"],
        ),
        (
            from_image(),
            node(absent.clone(), ImageState::Absent, false),
            vec!["fetch", "allocate", "write", "resize", "publish"],
        ),
        (
            from_image(),
            node(absent, ImageState::Fetched, false),
            vec!["allocate", "write", "resize", "publish"],
        ),
        (
            from_image(),
            node(partial(8 * MIB, Some(DIGEST)), ImageState::Absent, false),
            vec!["resize", "publish"],
        ),
        (
            from_image(),
            node(partial(16 * MIB, Some(DIGEST)), ImageState::Absent, false),
            vec!["publish"],
        ),
        (from_image(), node(whole, ImageState::Absent, false), vec![]),
    ];
    for (intent, node, wanted) in cases {
        assert_eq!(names(&plan(&intent, &node).unwrap()), wanted, "{node:?}");
    }
}

/// Every state that a kill between or in the middle of steps can leave, of every intent: from each of them the plan
/// ends in what is wanted, and nothing half-made is ever published.
#[test]
fn every_state_leads_to_the_goal() {
    let smaller = Intent {
        size_bytes: 8 * MIB,
        ..from_image()
    };
    let absent = |intent: Intent| Intent {
        goal: Goal::Absent,
        ..intent
    };
    let intents = [empty(), from_image(), smaller, absent(empty()), absent(from_image())];
    for reflink in [false, true] {
        let mut states = vec![Node::new(reflink)];
        let mut next = 0;
        while next < states.len() {
            let state = states[next].clone();
            next += 1;
            for intent in &intents {
                let Ok(steps) = plan(intent, &state) else { continue };
                assert_eq!(
                    settled(intent, state.clone()).1,
                    1,
                    "from {state:?} a second plan was needed"
                );
                let mut node = state.clone();
                for step in &steps {
                    let mut cut = node.clone();
                    cut.run(step, true).unwrap();
                    node.run(step, false).unwrap();
                    for reached in [cut, node.clone()] {
                        check_published(intent, &reached);
                        if !states.contains(&reached) {
                            states.push(reached);
                        }
                    }
                }
            }
        }
        let cut_off = states.iter().any(|state| state.content == Content::Garbage);
        assert!(
            cut_off && states.len() > 10,
            "only {} states were reached",
            states.len()
        );
    }
}

/// Runs plans until there is none left; gives the node and how many plans it took.
fn settled(intent: &Intent, mut node: Node) -> (Node, usize) {
    for rounds in 0..4 {
        let steps = plan(intent, &node).unwrap();
        if steps.is_empty() {
            check_goal(intent, &node);
            return (node, rounds.max(1));
        }
        for step in &steps {
            node.run(step, false)
                .unwrap_or_else(|error| panic!("{step:?}: {error}"));
        }
    }
    panic!("the plan never ends: {node:?}");
}

fn check_goal(intent: &Intent, node: &Node) {
    match intent.goal {
        Goal::Absent => assert_eq!(node.object, ObjectState::Absent),
        Goal::Present => assert_eq!(node.object, ObjectState::Present(intent.size_bytes)),
    }
}

/// What is published is whole: the driver's first promise.
fn check_published(intent: &Intent, node: &Node) {
    if matches!(node.object, ObjectState::Present(_)) {
        assert_ne!(node.content, Content::Garbage, "{intent:?}");
    }
}

#[test]
fn an_image_is_on_the_volume_afterwards() {
    for reflink in [false, true] {
        let (node, _) = settled(&from_image(), Node::new(reflink));
        assert_eq!(node.content, Content::Image(DIGEST.to_owned()));
        let (node, _) = settled(&empty(), Node::new(reflink));
        assert_eq!(node.content, Content::Zeros);
    }
}

#[test]
fn a_partial_object_of_unknown_or_other_content_is_started_over() {
    for state in [
        partial(16 * MIB, None),
        partial(16 * MIB, Some("sha256:22")),
        partial(32 * MIB, Some(DIGEST)),
        partial(MIB, Some(DIGEST)),
    ] {
        let node = Node {
            object: state,
            content: Content::Garbage,
            ..Node::new(false)
        };
        let steps = plan(&from_image(), &node).unwrap();
        assert!(names(&steps).contains(&"allocate"), "{steps:?}");
        assert_eq!(
            settled(&from_image(), node).0.content,
            Content::Image(DIGEST.to_owned())
        );
    }
}

#[test]
fn what_can_never_be_met_is_refused() {
    let present = |size| Node {
        object: ObjectState::Present(size),
        ..Node::new(false)
    };
    let small = Intent {
        size_bytes: 4 * MIB,
        ..from_image()
    };
    let odd = Intent {
        size_bytes: 1000,
        ..empty()
    };
    let nothing = Intent {
        size_bytes: 0,
        ..empty()
    };
    for (intent, node) in [
        (small, Node::new(false)),
        (odd, Node::new(false)),
        (nothing, Node::new(false)),
        (empty(), present(32 * MIB)),
    ] {
        let answer = plan(&intent, &node);
        assert!(matches!(answer, Err(Refusal::Invalid(_))), "{intent:?}: {answer:?}");
    }
}

#[test]
fn a_missing_fact_is_unknown_not_absent() {
    let object = |object: &str| {
        Fact::Object(ObjectFact {
            object: object.to_owned(),
            state: ObjectState::Absent,
        })
    };
    for facts in [vec![], vec![object("v2")], vec![object("v1")]] {
        let answer = File.plan(&from_image(), &facts);
        assert!(matches!(answer, Err(Refusal::Unavailable(_))), "{facts:?}: {answer:?}");
    }
    let gone = Intent {
        goal: Goal::Absent,
        ..empty()
    };
    assert!(matches!(
        File.plan(&gone, &[object("v2")]),
        Err(Refusal::Unavailable(_))
    ));
}
