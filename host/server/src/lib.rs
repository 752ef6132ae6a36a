//! symphony-server
