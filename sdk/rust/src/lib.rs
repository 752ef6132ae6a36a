//! symphony-sdk
