//! What `wit-bindgen` makes of the contracts in `wit/`: plain types, the traits behind the exports, the export macros.
//!
//! Generated, and the only place with `unsafe` code. Nothing else is written here by hand.

#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::unwrap_used,
    clippy::too_many_lines
)]

/// The world of a scheduler that can explain itself.
pub mod scheduler {
    wit_bindgen::generate!({
        path: "wit",
        world: "explaining-scheduler",
        pub_export_macro: true,
        runtime_path: "::symphony_sdk::rt",
        additional_derives: [PartialEq],
    });
}

/// The world of a volume driver.
pub mod volume {
    wit_bindgen::generate!({
        path: "wit",
        world: "volume",
        pub_export_macro: true,
        runtime_path: "::symphony_sdk::rt",
        additional_derives: [PartialEq],
        with: { "symphony:plugin/log@0.1.0": crate::bindings::scheduler::symphony::plugin::log },
    });
}

/// The world of an image driver.
pub mod image {
    wit_bindgen::generate!({
        path: "wit",
        world: "image",
        pub_export_macro: true,
        runtime_path: "::symphony_sdk::rt",
        additional_derives: [PartialEq],
        with: {
            "symphony:plugin/log@0.1.0": crate::bindings::scheduler::symphony::plugin::log,
            "symphony:plugin/driving@0.1.0": crate::bindings::volume::symphony::plugin::driving,
        },
    });
}

/// The world of a machine driver.
pub mod machine {
    wit_bindgen::generate!({
        path: "wit",
        world: "machine",
        pub_export_macro: true,
        runtime_path: "::symphony_sdk::rt",
        additional_derives: [PartialEq],
        with: {
            "symphony:plugin/log@0.1.0": crate::bindings::scheduler::symphony::plugin::log,
            "symphony:plugin/driving@0.1.0": crate::bindings::volume::symphony::plugin::driving,
        },
    });
}

/// The world of a network driver.
pub mod network {
    wit_bindgen::generate!({
        path: "wit",
        world: "network",
        pub_export_macro: true,
        runtime_path: "::symphony_sdk::rt",
        additional_derives: [PartialEq],
        with: {
            "symphony:plugin/log@0.1.0": crate::bindings::scheduler::symphony::plugin::log,
            "symphony:plugin/driving@0.1.0": crate::bindings::volume::symphony::plugin::driving,
        },
    });
}

/// The world of a fence driver.
pub mod fencing {
    wit_bindgen::generate!({
        path: "wit",
        world: "fencing",
        pub_export_macro: true,
        runtime_path: "::symphony_sdk::rt",
        additional_derives: [PartialEq],
        with: {
            "symphony:plugin/log@0.1.0": crate::bindings::scheduler::symphony::plugin::log,
            "symphony:plugin/driving@0.1.0": crate::bindings::volume::symphony::plugin::driving,
        },
    });
}

/// The world of an export driver.
pub mod exporting {
    wit_bindgen::generate!({
        path: "wit",
        world: "exporting",
        pub_export_macro: true,
        runtime_path: "::symphony_sdk::rt",
        additional_derives: [PartialEq],
        with: {
            "symphony:plugin/log@0.1.0": crate::bindings::scheduler::symphony::plugin::log,
            "symphony:plugin/driving@0.1.0": crate::bindings::volume::symphony::plugin::driving,
        },
    });
}
