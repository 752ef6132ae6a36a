//! symphony-cli
