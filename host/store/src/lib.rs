//! symphony-store
