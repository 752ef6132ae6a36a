//! Volumes, between core's types and those of `wit/volume-driver.wit`.

use symphony_core::image::Format;
use symphony_core::plan::Command;
use symphony_core::plan::volume::{Fact, ImageState, Intent, ObjectState, Probe, Step, Volumes};

use crate::bindings::volume::exports::symphony::plugin::volume_driver as wit;

super::glue::glue!(Volumes, wit);

fn intent(intent: &Intent) -> wit::Intent {
    wit::Intent {
        object: intent.object.to_string(),
        pool: intent.pool.to_string(),
        goal: super::goal(intent.goal),
        size_bytes: intent.size_bytes,
        source: intent.source.as_ref().map(|source| wit::ImageSource {
            digest: source.digest.to_string(),
            format: format_of(source.format),
            stored_bytes: source.stored_bytes,
            virtual_bytes: source.virtual_bytes,
        }),
    }
}

fn format_of(format: Format) -> wit::ImageFormat {
    match format {
        Format::Raw => wit::ImageFormat::Raw,
        Format::Qcow2 => wit::ImageFormat::Qcow2,
    }
}

fn fact(fact: &Fact) -> wit::Fact {
    match fact {
        Fact::Object { object, state } => {
            let state = match state {
                ObjectState::Absent => wit::ObjectState::Absent,
                ObjectState::Partial { size_bytes, written } => wit::ObjectState::Partial(wit::PartialObject {
                    size_bytes: *size_bytes,
                    written: written.clone(),
                }),
                ObjectState::Present { size_bytes } => wit::ObjectState::Present(*size_bytes),
            };
            wit::Fact::Object(wit::ObjectFact {
                object: object.clone(),
                state,
            })
        }
        Fact::Image { digest, state } => {
            let state = match state {
                ImageState::Absent => wit::ImageState::Absent,
                ImageState::Fetched => wit::ImageState::Fetched,
                ImageState::Unpacked => wit::ImageState::Unpacked,
            };
            wit::Fact::Image(wit::ImageFact {
                digest: digest.clone(),
                state,
            })
        }
        Fact::Pool { reflink, free_bytes } => wit::Fact::Pool(wit::PoolFact {
            reflink: *reflink,
            free_bytes: *free_bytes,
        }),
    }
}

fn probe(said: wit::Probe) -> Probe {
    match said {
        wit::Probe::Object(object) => Probe::Object(object),
        wit::Probe::Image(digest) => Probe::Image(digest),
        wit::Probe::Pool => Probe::Pool,
    }
}

fn step(said: wit::Step) -> Step {
    let format = |said| match said {
        wit::ImageFormat::Raw => Format::Raw,
        wit::ImageFormat::Qcow2 => Format::Qcow2,
    };
    match said {
        wit::Step::Allocate(wit::Allocate { object, size_bytes }) => Step::Allocate { object, size_bytes },
        wit::Step::FetchImage(digest) => Step::FetchImage { digest },
        wit::Step::UnpackImage(said) => Step::UnpackImage {
            digest: said.digest,
            format: format(said.format),
            virtual_bytes: said.virtual_bytes,
        },
        wit::Step::WriteImage(said) => Step::WriteImage {
            object: said.object,
            digest: said.digest,
            format: format(said.format),
            virtual_bytes: said.virtual_bytes,
        },
        wit::Step::CloneImage(wit::CloneImage { object, digest }) => Step::CloneImage { object, digest },
        wit::Step::Resize(wit::Resize { object, size_bytes }) => Step::Resize { object, size_bytes },
        wit::Step::Publish(object) => Step::Publish { object },
        wit::Step::Remove(object) => Step::Remove { object },
        wit::Step::Command(said) => Step::Command(Command {
            program: said.program,
            arguments: said.arguments,
            stdin: said.stdin,
            timeout_ms: said.timeout_ms,
        }),
    }
}
