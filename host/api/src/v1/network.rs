//! Networks, and what is sent to make them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Condition, Kind, Labels, Metadata};

/// A virtual network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Network {
    /// `network`.
    pub kind: Kind,
    /// Identity and life.
    #[serde(flatten)]
    pub meta: Metadata,
    /// What is wanted.
    pub spec: NetworkSpec,
    /// What was seen.
    pub status: NetworkStatus,
}

/// What is wanted of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetworkSpec {
    /// `10.0.0.0/24`.
    pub subnet: String,
    /// Whether its machines may reach the outside.
    pub nat: bool,
    /// The longest packet, in bytes; absent from a manager that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
}

/// What was seen of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetworkStatus {
    /// The gateway's address, which is also the name server's.
    pub gateway: String,
    /// Most machines that it can have.
    pub addresses_max: u32,
    /// Its number between nodes (VXLAN); absent as long as it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// The details.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// Asks for a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateNetwork {
    /// Lower-case letters, digits and `-`, at most 63, not in the form of a UUID. Also its domain name.
    pub name: String,
    /// For people, and for what selects by them.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// What is wanted.
    pub spec: CreateNetworkSpec,
}

/// What is wanted of a new network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateNetworkSpec {
    /// `10.0.0.0/24`: it may not overlap with another of the project. The first of `10.N.0.0/24` that is free when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// Whether its machines may reach the outside.
    #[serde(default)]
    pub nat: bool,
    /// The longest packet, in bytes, from 576 to 8,950: what the network between nodes takes, less 50. 1,450 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
}
