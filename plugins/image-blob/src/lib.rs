//! image-blob
