//! What goes over the wire between clients and managers, and the client that speaks it.
//!
//! Owns the shapes of HTTP API v1, its error codes, and the typed [`Client`] that the command line, agents' tests and
//! everything else uses. It never decides anything and knows nothing of how a server answers.
//!
//! - [`v1`]: the objects and bodies. Input is raw text and numbers and refuses unknown fields; what it means is checked
//!   by the server, so that an answer can name every field that is wrong at once.
//! - [`problem`]: the one form of every error, with its closed list of codes.
//! - [`convert`]: from the records of the core to the objects on the wire.
//! - [`client`]: every verb, uploads that stream, watches that resume.
//! - [`backup`]: the form of a backup of all that managers keep.
//! - [`config`]: the client's file of addresses and tokens.

#![warn(missing_docs)]

pub mod backup;
pub mod client;
pub mod config;
pub mod convert;
pub mod problem;
pub mod v1;

pub use client::{Client, ClientError, Endpoint};
pub use config::{ClientConfig, ConfigError, Context};
pub use problem::{Code, FieldError, Problem};

/// The port of the API when none is given.
pub const DEFAULT_PORT: u16 = 15760;
/// The project when none is given.
pub const DEFAULT_PROJECT: &str = "default";
/// Largest JSON body that the server takes, in bytes.
pub const JSON_BODY_BYTES_MAX: usize = 1 << 20;
/// Most items on a page of a list.
pub const PAGE_MAX: u32 = 500;
/// Items on a page when nothing is asked for.
pub const PAGE_DEFAULT: u32 = 100;
/// Longest `Idempotency-Key`, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// How often a watch is sent something when nothing happens, in seconds.
pub const WATCH_HEARTBEAT_SECONDS: u64 = 5;
