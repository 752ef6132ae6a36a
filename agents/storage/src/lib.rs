//! symphony-storage
