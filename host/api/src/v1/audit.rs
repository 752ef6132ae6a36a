//! The audit log.

use serde::{Deserialize, Serialize};
use symphony_core::Timestamp;
use utoipa::ToSchema;

/// A write, or a request that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditLine {
    /// When it was answered.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// Finds the request in the manager's log.
    pub request_id: String,
    /// Who asked; `-` when nobody knows.
    pub principal: String,
    /// Where the request came from; absent: over the control socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// The method.
    pub method: String,
    /// The path, without its query.
    pub path: String,
    /// The project of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// How it was answered.
    pub status: u16,
    /// The revision of what was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// How many lines before this one could not be written.
    #[serde(default)]
    pub lost: u64,
    /// SHA-256 of the line before, in hexadecimal digits.
    pub prev: String,
}
