//! The authority that signs the certificates of members.

use serde::{Deserialize, Serialize};
use symphony_core::Timestamp;
use utoipa::ToSchema;

/// The authority, and what is left of those before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Authority {
    /// SHA-256 of its certificate, in hexadecimal digits; tokens name the first half of it.
    pub digest: String,
    /// Since when it issues.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Those before it that members still trust, by digest; empty when no rotation is under way.
    pub trusted: Vec<String>,
    /// Those before it by which clients and tokens may still know the cluster, by digest.
    pub known: Vec<String>,
    /// Members that still need one before it: `manager/NAME`, `node/NAME`.
    pub waiting: Vec<String>,
    /// Tokens for the API that name one before it.
    pub tokens: u64,
    /// The store's counter when this was so.
    pub revision: u64,
}
