//! What can go wrong on the way from a crate to a component.

use std::path::PathBuf;

/// Why a plugin was not built, not read or not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `cargo` or `rustc` could not be started.
    #[error("failed to start {program}; is Rust installed (https://rustup.rs)?")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },

    /// The compiler lacks the target.
    #[error("the target {target} is not installed; run: rustup target add {target}", target = crate::TARGET)]
    NoTarget,

    /// Cargo said no. Its own messages went to stderr.
    #[error("cargo {verb} failed in {dir}{detail}", dir = dir.display())]
    Cargo {
        /// `build` or `metadata`.
        verb: &'static str,
        /// Where it ran.
        dir: PathBuf,
        /// What it said, when that was not shown already.
        detail: String,
    },

    /// Cargo's answer was not understood.
    #[error("cargo {verb} gave an answer that could not be read")]
    Answer {
        /// `build` or `metadata`.
        verb: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },

    /// No such package.
    #[error("there is no package {package} in {dir}", dir = dir.display())]
    NoPackage {
        /// What was looked for.
        package: String,
        /// Where.
        dir: PathBuf,
    },

    /// The package does not say what kind of plugin it is, or says it wrongly.
    #[error("{package}: [package.metadata.symphony] in Cargo.toml {what}")]
    Metadata {
        /// The package.
        package: String,
        /// What is missing or wrong.
        what: String,
    },

    /// The build gave no WebAssembly module.
    #[error("{package} gave no module; its [lib] needs crate-type = [\"cdylib\", \"rlib\"]")]
    NoModule {
        /// The package.
        package: String,
    },

    /// The module could not be made a component.
    #[error("{package} could not be made a component: {reason}")]
    Componentize {
        /// The package.
        package: String,
        /// What the encoder said.
        reason: String,
    },

    /// The bytes are no valid component.
    #[error("not a valid component: {reason}")]
    Invalid {
        /// What the parser said.
        reason: String,
    },

    /// A name that no plugin may have.
    #[error("{name:?} is no name for a plugin: use a-z, 0-9 and -, start with a letter, at most 63 bytes")]
    Name {
        /// The name.
        name: String,
    },

    /// The folder for a new plugin exists.
    #[error("{path} is there already", path = path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },

    /// A file could not be read or written.
    #[error("failed to {verb} {path}", path = path.display())]
    File {
        /// `read` or `write`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
