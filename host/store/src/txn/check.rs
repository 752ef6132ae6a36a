//! What can be said of a transaction before any store sees it: its size and its contradictions.

use std::collections::HashSet;

use crate::limits::{KEY_BYTES_MAX, OPS_MAX, REQUEST_BYTES_MAX, VALUE_BYTES_MAX};
use crate::txn::{Op, Target, Txn};
use crate::{Error, Key, Keys, Result};

impl Txn {
    /// The bytes of all keys and values in the transaction, and some for each part.
    pub fn request_bytes(&self) -> usize {
        const EACH: usize = 32;
        let compares = self.compares.iter().map(|compare| {
            let value = match &compare.target {
                Target::Value(value) => value.len(),
                _ => 0,
            };
            EACH + compare.keys.request_bytes() + value
        });
        let ops = self.success.iter().chain(&self.failure).map(|op| match op {
            Op::Put { key, value, .. } => EACH + key.as_bytes().len() + value.len(),
            Op::Delete { keys } => EACH + keys.request_bytes(),
            Op::Get { range } => EACH + range.keys.request_bytes(),
        });
        compares.chain(ops).sum()
    }

    /// Checks the limits and that no branch changes a key twice: [`Error::TooManyOps`], [`Error::TooLarge`],
    /// [`Error::EmptyKey`], [`Error::DuplicateKey`]. Every backend does so first.
    pub fn check(&self) -> Result<()> {
        check_count("compares", self.compares.len())?;
        check_count("operations", self.success.len())?;
        check_count("operations", self.failure.len())?;
        for compare in &self.compares {
            compare.keys.check()?;
        }
        for branch in [&self.success, &self.failure] {
            branch.iter().try_for_each(check_op)?;
            check_changed_once(branch)?;
        }
        if self.request_bytes() > REQUEST_BYTES_MAX {
            return Err(Error::TooLarge {
                what: "request",
                max: REQUEST_BYTES_MAX,
            });
        }
        Ok(())
    }
}

impl Key {
    /// Checks that the key can be stored: [`Error::EmptyKey`], [`Error::TooLarge`].
    pub fn check(&self) -> Result<()> {
        if self.as_bytes().is_empty() {
            return Err(Error::EmptyKey);
        }
        check_key_bytes(self.as_bytes().len())
    }
}

impl Keys {
    pub(crate) fn check(&self) -> Result<()> {
        match self.as_one() {
            Some(key) => key.check(),
            None => check_key_bytes(self.longest()),
        }
    }
}

fn check_count(what: &'static str, count: usize) -> Result<()> {
    let max = OPS_MAX;
    if count > max {
        return Err(Error::TooManyOps { what, count, max });
    }
    Ok(())
}

fn check_key_bytes(bytes: usize) -> Result<()> {
    if bytes > KEY_BYTES_MAX {
        return Err(Error::TooLarge {
            what: "key",
            max: KEY_BYTES_MAX,
        });
    }
    Ok(())
}

fn check_op(op: &Op) -> Result<()> {
    match op {
        Op::Put { key, value, .. } => {
            key.check()?;
            if value.len() > VALUE_BYTES_MAX {
                return Err(Error::TooLarge {
                    what: "value",
                    max: VALUE_BYTES_MAX,
                });
            }
            Ok(())
        }
        Op::Delete { keys } => keys.check(),
        Op::Get { range } => range.keys.check(),
    }
}

/// A key that is put may not be put or deleted again. Deletes may overlap: the second finds nothing.
fn check_changed_once(branch: &[Op]) -> Result<()> {
    let mut put = HashSet::new();
    let deletes = branch.iter().filter_map(|op| match op {
        Op::Delete { keys } => Some(keys),
        Op::Put { .. } | Op::Get { .. } => None,
    });
    for op in branch {
        if let Op::Put { key, .. } = op
            && (!put.insert(key) || deletes.clone().any(|keys| keys.contains(key)))
        {
            return Err(Error::DuplicateKey { key: key.clone() });
        }
    }
    Ok(())
}
