//! symphony-api
