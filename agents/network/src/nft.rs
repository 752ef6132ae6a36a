//! nftables: whole tables in one transaction, and whether one is as we left it. In nft's own language, as its JSON (1.0.6)
//! knows no sets that rules add to. Every value in a script has been parsed first.

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::{NetworkError, program};

/// A table that is replaced as a whole.
#[derive(Debug)]
pub(crate) struct Table {
    family: &'static str,
    name: String,
    body: String,
}

impl Table {
    pub(crate) fn new(family: &'static str, name: String, body: String) -> Self {
        Self { family, name, body }
    }

    /// The name of an empty chain that says which body the table has: what a kernel without comments can keep.
    fn generation(&self) -> String {
        format!("settled_{}", hex::encode(&Sha256::digest(self.body.as_bytes())[..8]))
    }

    /// Puts it in place at once: there is no moment without a table when there was one.
    pub(crate) async fn replace(&self, inside: Option<&str>) -> Result<(), NetworkError> {
        let (family, name, body, generation) = (self.family, &self.name, &self.body, self.generation());
        let script = format!(
            "add table {family} {name}\ndelete table {family} {name}\ntable {family} {name} {{\nchain {generation} {{ }}\n{body}}}\n"
        );
        program::run(inside, "nft", &["-f", "-"], &script).await.map(drop)
    }

    /// Whether the kernel has it, with this body.
    pub(crate) async fn stands(&self, inside: Option<&str>) -> Result<bool, NetworkError> {
        let printed = program::run(inside, "nft", &["-j", "list", "chains", self.family], "").await?;
        let generation = self.generation();
        let is_it = |chain: &Chain| chain.table == self.name && chain.name == generation;
        Ok(chains(&printed)?.iter().any(is_it))
    }
}

/// Removes a table, or finds none.
pub(crate) async fn remove(inside: Option<&str>, family: &str, name: &str) -> Result<(), NetworkError> {
    let script = format!("add table {family} {name}\ndelete table {family} {name}\n");
    program::run(inside, "nft", &["-f", "-"], &script).await.map(drop)
}

#[derive(Debug, Deserialize)]
struct Chain {
    table: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Listing {
    nftables: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    chain: Option<Chain>,
}

fn chains(printed: &[u8]) -> Result<Vec<Chain>, NetworkError> {
    let listing: Listing = serde_json::from_slice(printed).map_err(|source| NetworkError::Broken {
        path: "nft's answer".into(),
        source,
    })?;
    Ok(listing.nftables.into_iter().filter_map(|entry| entry.chain).collect())
}
