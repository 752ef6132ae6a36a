//! volume-file
