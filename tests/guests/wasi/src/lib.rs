//! A scheduler that lets a clock decide: the host must refuse it and name the import.

#[cfg(target_family = "wasm")]
mod guest {
    wit_bindgen::generate!({
        path: ["../../../wit", "clocks", "wit"],
        world: "guests:wasi/imports-wasi",
        generate_all,
    });

    use exports::symphony::plugin::policy::{Batch, Decisions, Delta, Descriptor, Error, Guest, Snapshot, Stamp};

    struct Timed;

    impl Guest for Timed {
        fn describe() -> Descriptor {
            Descriptor {
                name: "imports-wasi".to_owned(),
                version: "0.1.0".to_owned(),
                candidate_columns: vec!["disk.free".to_owned()],
                request_columns: vec!["disk.bytes".to_owned()],
                config_schema: String::new(),
            }
        }

        fn configure(_json: String) -> Result<(), Error> {
            Ok(())
        }

        fn load(snapshot: Snapshot) -> Result<Stamp, Error> {
            Ok(snapshot.at)
        }

        fn update(delta: Delta) -> Result<Stamp, Error> {
            Ok(delta.to)
        }

        fn place(batch: Batch) -> Result<Decisions, Error> {
            let row = (wasi::clocks::monotonic_clock::now() % 3) as u32;
            let requests = batch.requests.len();
            Ok(Decisions {
                at: batch.need,
                rows: vec![row; requests],
                scores: vec![0.0; requests],
                unplaceable: vec![],
            })
        }
    }

    export!(Timed);
}
