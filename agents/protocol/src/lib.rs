//! symphony-protocol
