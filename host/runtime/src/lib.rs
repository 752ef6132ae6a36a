//! symphony-runtime
