//! `enrolled.json`: what the node knows of its own membership beside its certificate.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use symphony_core::name::Name;
use symphony_core::node::Role;
use uuid::Uuid;

use super::address::ManagerAddress;

const FILE: &str = "enrolled.json";
const FILE_BYTES_MAX: u64 = 64 << 10;

/// What the node was let in for, and where managers are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Enrolled {
    /// The cluster.
    pub(super) cluster: Uuid,
    /// The name by which it was let in.
    pub(super) node: Name,
    /// What for.
    pub(super) roles: BTreeSet<Role>,
    /// Where managers are, as last heard of one; never empty.
    pub(super) managers: Vec<ManagerAddress>,
}

impl Enrolled {
    /// Reads it from the agent's folder; nothing when it is not there.
    pub(super) fn load(folder: &Path) -> io::Result<Option<Self>> {
        let file = match std::fs::File::open(folder.join(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut text = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
        let enrolled = serde_json::from_str(&text).map_err(io::Error::other)?;
        Ok(Some(enrolled))
    }

    /// Keeps it in the agent's folder.
    pub(super) fn save(&self, folder: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        symphony_crash::point("agent.enrolled.before_save");
        symphony_pki::write_private(folder, FILE, &text)?;
        symphony_crash::point("agent.enrolled.after_save");
        Ok(())
    }
}
