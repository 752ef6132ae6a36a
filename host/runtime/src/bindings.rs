//! What wasmtime makes of the contracts in `wit/`. Generated; nothing here is written by hand.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::unwrap_used,
    clippy::too_many_lines
)]

/// A scheduler that can explain itself; its two interfaces are looked up one by one, so that the second may be missing.
pub mod scheduler {
    wasmtime::component::bindgen!({ path: "../../wit", world: "explaining-scheduler" });
}

/// A driver for volumes.
pub mod volume {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "volume",
        with: { "symphony:plugin/log": crate::bindings::scheduler::symphony::plugin::log },
    });
}

/// A driver for images.
pub mod image {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "image",
        with: {
            "symphony:plugin/log": crate::bindings::scheduler::symphony::plugin::log,
            "symphony:plugin/driving": crate::bindings::volume::symphony::plugin::driving,
        },
    });
}

/// A driver for machines.
pub mod machine {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "machine",
        with: {
            "symphony:plugin/log": crate::bindings::scheduler::symphony::plugin::log,
            "symphony:plugin/driving": crate::bindings::volume::symphony::plugin::driving,
        },
    });
}

/// A driver for networks.
pub mod network {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "network",
        with: {
            "symphony:plugin/log": crate::bindings::scheduler::symphony::plugin::log,
            "symphony:plugin/driving": crate::bindings::volume::symphony::plugin::driving,
        },
    });
}

/// A driver for fencing.
pub mod fencing {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "fencing",
        with: {
            "symphony:plugin/log": crate::bindings::scheduler::symphony::plugin::log,
            "symphony:plugin/driving": crate::bindings::volume::symphony::plugin::driving,
        },
    });
}

/// A driver for exports.
pub mod exporting {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "exporting",
        with: {
            "symphony:plugin/log": crate::bindings::scheduler::symphony::plugin::log,
            "symphony:plugin/driving": crate::bindings::volume::symphony::plugin::driving,
        },
    });
}
