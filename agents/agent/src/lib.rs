//! symphony-agent
