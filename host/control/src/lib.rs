//! symphony-control
