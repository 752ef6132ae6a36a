//! symphony-plugin-build
