use super::*;
use crate::plan::{PROBES_MAX, Plan, STEPS_MAX, check_probes};

const OWN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const OTHER: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

fn check(intent: &Intent, facts: &[Fact], steps: Vec<Step>) -> Result<Plan<Volumes>, PlanFault> {
    crate::plan::check::<Volumes>(intent, facts, steps)
}

fn met(intent: &Intent, facts: &[Fact]) -> Option<u64> {
    Volumes::met(intent, facts)
}

fn intent(goal: Goal) -> Intent {
    let source = ImageSource {
        image: "tiny".parse().unwrap(),
        digest: Digest::new([1; 32]),
        format: Format::Qcow2,
        stored_bytes: 100,
        virtual_bytes: 1 << 20,
    };
    Intent {
        object: OWN.parse().unwrap(),
        pool: "default".parse().unwrap(),
        goal,
        size_bytes: 2 << 20,
        source: Some(source),
    }
}

fn present(size_bytes: u64) -> Vec<Fact> {
    vec![Fact::Object {
        object: OWN.into(),
        state: ObjectState::Present { size_bytes },
    }]
}

fn fault(goal: Goal, facts: &[Fact], step: Step) -> PlanFault {
    check(&intent(goal), facts, vec![step]).unwrap_err()
}

#[test]
fn a_whole_creation_passes() {
    let digest = Digest::new([1; 32]).to_string();
    let steps = vec![
        Step::FetchImage { digest: digest.clone() },
        Step::Allocate {
            object: OWN.into(),
            size_bytes: 1 << 20,
        },
        Step::WriteImage {
            object: OWN.into(),
            digest,
            format: Format::Qcow2,
            virtual_bytes: 1 << 20,
        },
        Step::Resize {
            object: OWN.into(),
            size_bytes: 2 << 20,
        },
        Step::Publish { object: OWN.into() },
    ];
    assert_eq!(
        check(&intent(Goal::Present), &[], steps.clone()).unwrap().steps(),
        steps
    );
}

#[test]
fn no_step_on_somebody_elses_file() {
    for object in [OTHER, "../../etc/passwd", "", &OWN.to_uppercase()] {
        let fault = fault(Goal::Absent, &[], Step::Remove { object: object.into() });
        assert!(
            matches!(fault, PlanFault::ForeignObject { step: 0, .. }),
            "{object}: {fault}"
        );
    }
    let digest = Digest::new([2; 32]).to_string();
    assert!(matches!(
        fault(Goal::Present, &[], Step::FetchImage { digest }),
        PlanFault::ForeignObject { .. }
    ));
    assert!(check_probes::<Volumes>(&intent(Goal::Present), vec![Probe::Object(OTHER.into())]).is_err());
}

#[test]
fn a_volume_that_should_stay_is_never_removed_or_shortened() {
    let remove = || Step::Remove { object: OWN.into() };
    assert_eq!(
        fault(Goal::Present, &present(2 << 20), remove()),
        PlanFault::AgainstIntent {
            step: 0,
            action: "remove"
        }
    );
    assert!(
        check(&intent(Goal::Present), &[], vec![remove()]).is_ok(),
        "a partial object may be taken down"
    );
    let twice = vec![Step::Publish { object: OWN.into() }, remove()];
    assert!(
        check(&intent(Goal::Present), &[], twice).is_err(),
        "not what the plan itself published"
    );
    let shorter = Step::Resize {
        object: OWN.into(),
        size_bytes: 1 << 20,
    };
    assert!(matches!(
        fault(Goal::Present, &present(2 << 20), shorter),
        PlanFault::WrongSize { .. }
    ));
}

#[test]
fn nothing_is_made_of_what_should_go() {
    let allocate = Step::Allocate {
        object: OWN.into(),
        size_bytes: 2 << 20,
    };
    assert_eq!(
        fault(Goal::Absent, &[], allocate),
        PlanFault::AgainstIntent {
            step: 0,
            action: "allocate"
        }
    );
    assert!(
        check(
            &intent(Goal::Absent),
            &present(2 << 20),
            vec![Step::Remove { object: OWN.into() }]
        )
        .is_ok()
    );
}

#[test]
fn sizes_are_the_intents() {
    for size_bytes in [0, 512, 4 << 20, u64::MAX] {
        let fault = fault(
            Goal::Present,
            &[],
            Step::Allocate {
                object: OWN.into(),
                size_bytes,
            },
        );
        assert_eq!(
            fault,
            PlanFault::WrongSize {
                step: 0,
                bytes: size_bytes
            }
        );
    }
}

#[test]
fn plans_and_commands_are_bounded() {
    let steps = vec![Step::Publish { object: OWN.into() }; STEPS_MAX + 1];
    assert_eq!(
        check(&intent(Goal::Present), &[], steps),
        Err(PlanFault::TooManySteps(STEPS_MAX + 1))
    );
    let probes = vec![Probe::Pool; PROBES_MAX + 1];
    assert_eq!(
        check_probes::<Volumes>(&intent(Goal::Present), probes),
        Err(PlanFault::TooManyProbes(PROBES_MAX + 1))
    );
    let command = |program: &str| {
        Step::Command(Command {
            program: program.into(),
            arguments: vec![],
            stdin: String::new(),
            timeout_ms: 1,
        })
    };
    assert!(check(&intent(Goal::Present), &[], vec![command("zfs")]).is_ok());
    for program in ["", "/bin/sh", "../sh", ".sh", "a b"] {
        assert_eq!(
            fault(Goal::Present, &[], command(program)),
            PlanFault::Command { step: 0 }
        );
    }
}

#[test]
fn the_host_believes_facts_not_drivers() {
    let state = |state| {
        vec![Fact::Object {
            object: OWN.into(),
            state,
        }]
    };
    let partial = ObjectState::Partial {
        size_bytes: 2 << 20,
        written: Some(Digest::new([1; 32]).to_string()),
    };
    assert_eq!(met(&intent(Goal::Present), &[]), None, "no fact is no proof");
    assert_eq!(met(&intent(Goal::Present), &state(partial.clone())), None);
    assert_eq!(met(&intent(Goal::Present), &present(1 << 20)), None, "too short");
    assert_eq!(met(&intent(Goal::Present), &present(2 << 20)), Some(2 << 20));
    assert_eq!(met(&intent(Goal::Absent), &state(partial)), None);
    assert_eq!(met(&intent(Goal::Absent), &state(ObjectState::Absent)), Some(0));
    let probes = check_probes::<Volumes>(&intent(Goal::Present), vec![Probe::Pool]).unwrap();
    assert!(
        probes.as_slice().contains(&Probe::Object(OWN.into())),
        "the host asks for its own proof"
    );
}

#[test]
fn a_volume_is_published_with_its_images_content_only() {
    let digest = Digest::new([1; 32]).to_string();
    let allocate = || Step::Allocate {
        object: OWN.into(),
        size_bytes: 2 << 20,
    };
    let publish = || Step::Publish { object: OWN.into() };
    let write = Step::WriteImage {
        object: OWN.into(),
        digest: digest.clone(),
        format: Format::Qcow2,
        virtual_bytes: 1 << 20,
    };
    let refused = |facts: &[Fact], steps| check(&intent(Goal::Present), facts, steps).unwrap_err().reason();
    assert_eq!(refused(&[], vec![allocate(), publish()]), "without-content");
    assert_eq!(
        refused(&[], vec![allocate(), write.clone(), allocate(), publish()]),
        "without-content"
    );
    let partial = |written| {
        let state = ObjectState::Partial {
            size_bytes: 2 << 20,
            written,
        };
        vec![Fact::Object {
            object: OWN.into(),
            state,
        }]
    };
    assert_eq!(refused(&partial(None), vec![publish()]), "without-content");
    assert!(check(&intent(Goal::Present), &partial(Some(digest)), vec![publish()]).is_ok());
    assert!(check(&intent(Goal::Present), &[], vec![allocate(), write, publish()]).is_ok());
    let empty = Intent {
        source: None,
        ..intent(Goal::Present)
    };
    assert!(check(&empty, &[], vec![allocate(), publish()]).is_ok());
}
