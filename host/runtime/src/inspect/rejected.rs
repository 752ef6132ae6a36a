//! Why a component is refused: one word for events, one sentence that says what to do.

use symphony_core::plugin::COMPONENT_BYTES_MAX;
use symphony_core::quantity::Bytes;

use super::INTERFACE_VERSION;
use crate::fault::{TEXT_BYTES_MAX, clip};

/// Why uploaded bytes can't be a plugin here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// No bytes.
    #[error("the upload is empty")]
    Empty,
    /// Over [`COMPONENT_BYTES_MAX`].
    #[error("a component has at most {}, this one has {}", Bytes(COMPONENT_BYTES_MAX), Bytes(*bytes))]
    TooLarge {
        /// What was uploaded.
        bytes: u64,
    },
    /// Some other file.
    #[error("this is not WebAssembly")]
    NotWasm,
    /// A native program or library.
    #[error("this is a native ELF file, not a WebAssembly component")]
    Elf,
    /// Machine code of wasmtime.
    #[error("this is compiled code (.cwasm); upload the .wasm that it was made from")]
    Precompiled,
    /// Wasm, but no component.
    #[error("this is a core module, not a component; build it with `symphony plugin build`, which makes it one")]
    CoreModule,
    /// The end is missing.
    #[error("the component is cut off: its end is missing")]
    Truncated,
    /// Not valid, or of a feature that is not allowed here.
    #[error("this component is not valid: {0}")]
    Malformed(String),
    /// Too many modules, functions or levels.
    #[error("the component has {count} {what}, over the limit of {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many it has.
        count: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// Asks for more memory from the start than any plugin may have.
    #[error("its memory starts at {}, over the limit of {}", Bytes(*bytes), Bytes(*limit))]
    Memory {
        /// What it declares.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// Imports what its world does not have.
    #[error(
        "it imports {import}{}, and a plugin may import only symphony:plugin/log@{INTERFACE_VERSION}; build it without that (for WASI: target wasm32-unknown-unknown, or stubbed)",
        if function.is_empty() { String::new() } else { format!(" ({function})") }
    )]
    Import {
        /// The import.
        import: String,
        /// One thing that it would call there; may be empty.
        function: String,
    },
    /// Built for another version of the interfaces.
    #[error(
        "it was built for {interface}@{found}, and this host serves {interface}@{INTERFACE_VERSION}; rebuild it with the SDK of {INTERFACE_VERSION}"
    )]
    InterfaceVersion {
        /// Which interface.
        interface: String,
        /// The version it was built for.
        found: String,
    },
    /// Exports none of the interfaces that a plugin serves by.
    #[error(
        "it exports none of policy, volume-driver, image-driver, machine-driver, network-driver, export-driver and fence-driver, so it can serve as nothing; it exports: {exports}"
    )]
    NoRole {
        /// What it exports instead.
        exports: String,
    },
    /// Exports more than one of them.
    #[error("a component serves as one thing, and this one exports {roles}")]
    SeveralRoles {
        /// Those that it exports.
        roles: String,
    },
    /// Says nothing of itself.
    #[error(
        "it has no custom section symphony:plugin, which says its name and version; build it with `symphony plugin build`"
    )]
    SectionMissing,
    /// Says something of itself that can't be.
    #[error("its custom section symphony:plugin is wrong: {0}")]
    Section(String),
}

impl Rejected {
    /// One word for events and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge { .. } => "too-large",
            Self::NotWasm => "not-wasm",
            Self::Elf => "elf",
            Self::Precompiled => "precompiled",
            Self::CoreModule => "core-module",
            Self::Truncated => "truncated",
            Self::Malformed(_) => "malformed",
            Self::TooMany { .. } => "too-many-parts",
            Self::Memory { .. } => "memory",
            Self::Import { .. } => "import",
            Self::InterfaceVersion { .. } => "interface-version",
            Self::NoRole { .. } => "no-role",
            Self::SeveralRoles { .. } => "several-roles",
            Self::SectionMissing => "section-missing",
            Self::Section(_) => "section",
        }
    }
}

pub(super) fn malformed(error: &wasmparser::BinaryReaderError) -> Rejected {
    Rejected::Malformed(clip(
        &format!("{} (at offset {:#x})", error.message(), error.offset()),
        TEXT_BYTES_MAX,
    ))
}
