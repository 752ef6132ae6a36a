//! symphony-core
