//! The verbs, one module a noun: each reads its flags, calls the typed client and hands the answer to the output.

pub(crate) mod audit;
pub(crate) mod authority;
pub(crate) mod backup;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod image;
pub(crate) mod join;
pub(crate) mod machine;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod plugin;
pub(crate) mod project;
pub(crate) mod service;
pub(crate) mod token;
pub(crate) mod volume;
