//! The API over a real server.
