//! symphony-tests
