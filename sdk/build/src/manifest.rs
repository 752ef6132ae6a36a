//! What a component says of itself in its custom section `symphony:plugin`: readable without compiling it.

use serde::{Deserialize, Serialize};

/// The name of the custom section.
pub const SECTION: &str = "symphony:plugin";

/// The version of the interfaces in `wit/` that plugins are built for.
pub const INTERFACE_VERSION: &str = "0.1.0";

/// What a plugin is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Decides where something goes.
    Scheduler,
    /// Decides how something is made.
    Driver,
}

/// Which resources a plugin is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Volumes.
    Volume,
    /// Images.
    Image,
    /// Machines.
    Machine,
    /// Networks.
    Network,
    /// Exports.
    Export,
    /// Fencing.
    Fence,
}

/// The section's content, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginManifest {
    /// Lower case, digits and `-`; at most 63 bytes.
    pub name: String,
    /// Semantic version of the plugin.
    pub version: String,
    /// What it is for.
    pub role: Role,
    /// Which resources it is for.
    pub kind: Kind,
    /// The version of the interfaces that it was built for.
    pub interface: String,
    /// The version of the SDK that it was built with; empty when it was built without.
    #[serde(default)]
    pub sdk: String,
    /// One line for a person.
    #[serde(default)]
    pub description: String,
    /// JSON Schema of its configuration; nothing when it takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<serde_json::Value>,
    /// What it asks for beyond its world. Nothing can be asked for yet.
    #[serde(default)]
    pub capabilities: Vec<String>,
}

/// Whether a plugin may have this name.
pub(crate) fn is_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 63 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(inner)
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn names() {
        for good in ["a", "spread", "my-policy-2"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-a", "2a", "A", "a_b", "a b", "../a", &"a".repeat(64)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
