//! What libvirt keeps for us with a domain: the description, the boot count, and whether it was ordered to go off.

use serde::Deserialize;
use symphony_core::plan::machine::Description;

use super::xml;

/// The namespace of our element.
pub(crate) const NAMESPACE: &str = "urn:symphony:machine:1";

/// What is noted with a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Noted {
    /// As it was defined last.
    pub description: Description,
    /// The boot count of its last start; 0 before the first.
    pub boots: u64,
    /// Whether it was ordered to go off since.
    pub ordered: bool,
}

#[derive(Deserialize)]
struct Element {
    #[serde(rename = "@boots")]
    boots: u64,
    #[serde(rename = "@ordered")]
    ordered: bool,
    #[serde(rename = "$text")]
    description: String,
}

impl Noted {
    /// Our element; with its namespace, or for where libvirt puts that in.
    pub(super) fn element(&self, with_namespace: bool) -> Result<xml::Machine, quick_xml::SeError> {
        let description = serde_json::to_string(&self.description);
        let description = description.map_err(|error| quick_xml::SeError::Custom(error.to_string()))?;
        Ok(xml::Machine {
            namespace: with_namespace.then_some(NAMESPACE),
            boots: self.boots,
            ordered: self.ordered,
            description,
        })
    }

    /// Reads our element as libvirt gives it back; nothing when it is not ours to read.
    pub(crate) fn read(element: &str) -> Option<Self> {
        let element: Element = quick_xml::de::from_str(element).ok()?;
        Some(Self {
            description: serde_json::from_str(&element.description).ok()?,
            boots: element.boots,
            ordered: element.ordered,
        })
    }
}
