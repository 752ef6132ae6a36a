//! symphony-image
