//! A volume driver that plans what it may not, in a way chosen by a feature.

use symphony_sdk::VolumeDriver;
use symphony_sdk::driver::volume::{Allocate, Fact, Intent, Probe, Resize, Step};
use symphony_sdk::driver::{Command, Refusal};

/// What the guest is called: the behaviour's name.
const NAME: &str = if cfg!(feature = "foreign-object") {
    "foreign-object"
} else if cfg!(feature = "path-object") {
    "path-object"
} else if cfg!(feature = "too-many-steps") {
    "too-many-steps"
} else if cfg!(feature = "never-done") {
    "never-done"
} else if cfg!(feature = "forbidden-command") {
    "forbidden-command"
} else if cfg!(feature = "driver-trap") {
    "driver-trap"
} else if cfg!(feature = "driver-loop") {
    "driver-loop"
} else {
    "does-nothing"
};

#[derive(Default)]
struct Hostile;

impl VolumeDriver for Hostile {
    const NAME: &'static str = NAME;

    fn probes(&self, intent: &Intent) -> Vec<Probe> {
        vec![Probe::Object(intent.object.clone())]
    }

    fn plan(&self, intent: &Intent, _facts: &[Fact]) -> Result<Vec<Step>, Refusal> {
        let own = || intent.object.clone();
        let resize = || {
            Step::Resize(Resize {
                object: own(),
                size_bytes: intent.size_bytes,
            })
        };
        Ok(match NAME {
            // Somebody else's file, hidden among steps that are right.
            "foreign-object" => {
                let allocate = Step::Allocate(Allocate {
                    object: own(),
                    size_bytes: intent.size_bytes,
                });
                vec![
                    allocate,
                    Step::Remove(format!("{}0", intent.object)),
                    Step::Publish(own()),
                ]
            }
            "path-object" => vec![Step::Remove("../../../etc/passwd".to_owned())],
            "too-many-steps" => (0..10_000).map(|_| resize()).collect(),
            "never-done" => vec![resize()],
            "forbidden-command" => vec![Step::Command(Command {
                program: "/bin/sh".to_owned(),
                arguments: vec!["-c".to_owned(), "id".to_owned()],
                stdin: String::new(),
                timeout_ms: 1000,
            })],
            "driver-trap" => panic!("this guest was told to trap"),
            "driver-loop" => loop {
                std::hint::black_box(&intent);
            },
            _ => vec![],
        })
    }
}

symphony_sdk::export_volume_driver!(Hostile);
