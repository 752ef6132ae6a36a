//! The ledger of a node: what is claimed in each of its pools.
//!
//! A claim is made in the same transaction as the placement that it is for, and given back in the same transaction that
//! removes the volume. So the sum of the placements on a node is its ledger, always.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::machine::MachineSize;
use crate::name::Name;
use crate::node::Compute;
use crate::quantity::Bytes;

/// Claims by pool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    pools: BTreeMap<Name, PoolClaims>,
    #[serde(default, skip_serializing_if = "MachineClaims::is_none")]
    machines: MachineClaims,
}

/// What is claimed for machines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineClaims {
    /// Virtual processors.
    pub cpus: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// How many machines.
    pub claims: u64,
}

impl MachineClaims {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What is claimed in one pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolClaims {
    /// Bytes.
    pub bytes: u64,
    /// How many claims.
    pub claims: u64,
}

/// Why a claim can't be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The pool has not that much left.
    #[error("pool {pool} has {free_bytes} bytes free, and {wanted_bytes} are wanted")]
    Full {
        /// The pool.
        pool: Name,
        /// What was asked for.
        wanted_bytes: u64,
        /// What is left.
        free_bytes: u64,
    },
    /// The node has not that many virtual processors left.
    #[error("{free} virtual processors are free, and {wanted} are wanted")]
    Cpus {
        /// What was asked for.
        wanted: u64,
        /// What is left.
        free: u64,
    },
    /// The node has not that much memory left.
    #[error("{} of memory are free, and {} are wanted", Bytes(*free_bytes), Bytes(*wanted_bytes))]
    Memory {
        /// What was asked for.
        wanted_bytes: u64,
        /// What is left.
        free_bytes: u64,
    },
    /// More was given back for a machine than is claimed: a bug, never an operator's fault.
    #[error("less is claimed for machines than is given back")]
    MachineUnderflow,
    /// More was given back than is claimed: a bug, never an operator's fault.
    #[error("pool {pool} has less claimed than is given back")]
    Underflow {
        /// The pool.
        pool: Name,
    },
}

impl Ledger {
    /// Bytes claimed in a pool.
    #[must_use]
    pub fn claimed_bytes(&self, pool: &Name) -> u64 {
        self.pools.get(pool).map_or(0, |claims| claims.bytes)
    }

    /// How many claims there are on the node.
    #[must_use]
    pub fn claims(&self) -> u64 {
        self.pools.values().map(|claims| claims.claims).sum::<u64>() + self.machines.claims
    }

    /// What is claimed for machines.
    #[must_use]
    pub const fn machines(&self) -> MachineClaims {
        self.machines
    }

    /// Reserves processors and memory for a machine.
    ///
    /// # Errors
    /// What there is too little of; nothing is changed then.
    pub fn claim_machine(&mut self, size: MachineSize, of: &Compute) -> Result<(), LedgerError> {
        let (wanted, free) = (
            u64::from(size.cpus()),
            of.cpus_claimable().saturating_sub(self.machines.cpus),
        );
        if wanted > free {
            return Err(LedgerError::Cpus { wanted, free });
        }
        let free_bytes = of.memory_bytes.saturating_sub(self.machines.memory_bytes);
        if size.memory_bytes() > free_bytes {
            return Err(LedgerError::Memory {
                wanted_bytes: size.memory_bytes(),
                free_bytes,
            });
        }
        self.machines.cpus += wanted;
        self.machines.memory_bytes += size.memory_bytes();
        self.machines.claims += 1;
        Ok(())
    }

    /// Gives a machine's claim back.
    ///
    /// # Errors
    /// [`LedgerError::MachineUnderflow`]; nothing is changed then.
    pub fn release_machine(&mut self, size: MachineSize) -> Result<(), LedgerError> {
        let less = |have: u64, given: u64| have.checked_sub(given).ok_or(LedgerError::MachineUnderflow);
        self.machines = MachineClaims {
            cpus: less(self.machines.cpus, u64::from(size.cpus()))?,
            memory_bytes: less(self.machines.memory_bytes, size.memory_bytes())?,
            claims: less(self.machines.claims, 1)?,
        };
        Ok(())
    }

    /// Reserves room for a new object.
    ///
    /// # Errors
    /// [`LedgerError::Full`]; nothing is changed then.
    pub fn claim(&mut self, pool: &Name, bytes: u64, capacity_bytes: u64) -> Result<(), LedgerError> {
        self.grow(pool, bytes, capacity_bytes)?;
        self.pools.entry(pool.clone()).or_default().claims += 1;
        Ok(())
    }

    /// Reserves more room for an object that has a claim.
    ///
    /// # Errors
    /// [`LedgerError::Full`]; nothing is changed then.
    pub fn grow(&mut self, pool: &Name, bytes: u64, capacity_bytes: u64) -> Result<(), LedgerError> {
        let free_bytes = capacity_bytes.saturating_sub(self.claimed_bytes(pool));
        if bytes > free_bytes {
            return Err(LedgerError::Full {
                pool: pool.clone(),
                wanted_bytes: bytes,
                free_bytes,
            });
        }
        self.pools.entry(pool.clone()).or_default().bytes += bytes;
        Ok(())
    }

    /// Gives a claim back.
    ///
    /// # Errors
    /// [`LedgerError::Underflow`]; nothing is changed then.
    pub fn release(&mut self, pool: &Name, bytes: u64) -> Result<(), LedgerError> {
        let underflow = || LedgerError::Underflow { pool: pool.clone() };
        let claims = self.pools.get_mut(pool).ok_or_else(underflow)?;
        let left = claims.bytes.checked_sub(bytes).ok_or_else(underflow)?;
        claims.claims = claims.claims.checked_sub(1).ok_or_else(underflow)?;
        claims.bytes = left;
        if *claims == PoolClaims::default() {
            self.pools.remove(pool);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_never_pass_the_capacity() {
        let pool: Name = "fast".parse().unwrap();
        let mut ledger = Ledger::default();
        ledger.claim(&pool, 60, 100).unwrap();
        let before = ledger.clone();
        assert_eq!(
            ledger.claim(&pool, 41, 100),
            Err(LedgerError::Full {
                pool: pool.clone(),
                wanted_bytes: 41,
                free_bytes: 40
            })
        );
        assert_eq!(
            ledger.claim(&pool, u64::MAX, 100).unwrap_err(),
            LedgerError::Full {
                pool: pool.clone(),
                wanted_bytes: u64::MAX,
                free_bytes: 40
            }
        );
        assert_eq!(ledger, before);
        ledger.grow(&pool, 40, 100).unwrap();
        assert_eq!((ledger.claimed_bytes(&pool), ledger.claims()), (100, 1));
    }

    #[test]
    fn machines_never_pass_what_a_node_may_give() {
        let node = Compute {
            hypervisor: crate::plan::machine::Hypervisor::Qemu,
            cpus: 2,
            cpu_overcommit_percent: 250,
            memory_bytes: 1 << 30,
        };
        let size = |cpus, mib: u64| MachineSize::new(cpus, mib << 20).unwrap();
        let mut ledger = Ledger::default();
        ledger.claim_machine(size(4, 512), &node).unwrap();
        let before = ledger.clone();
        assert_eq!(
            ledger.claim_machine(size(2, 16), &node),
            Err(LedgerError::Cpus { wanted: 2, free: 1 })
        );
        assert!(matches!(
            ledger.claim_machine(size(1, 513), &node),
            Err(LedgerError::Memory { .. })
        ));
        assert_eq!(ledger, before);
        ledger.claim_machine(size(1, 512), &node).unwrap();
        assert_eq!(ledger.claims(), 2);
        assert_eq!(ledger.release_machine(size(9, 16)), Err(LedgerError::MachineUnderflow));
        ledger.release_machine(size(1, 512)).unwrap();
        ledger.release_machine(size(4, 512)).unwrap();
        assert_eq!(ledger, Ledger::default());
        assert_eq!(
            serde_json::to_string(&ledger).unwrap(),
            r#"{"pools":{}}"#,
            "as records were before machines"
        );
    }

    #[test]
    fn what_is_given_back_was_claimed() {
        let pool: Name = "fast".parse().unwrap();
        let mut ledger = Ledger::default();
        assert!(ledger.release(&pool, 1).is_err());
        ledger.claim(&pool, 10, 100).unwrap();
        assert!(ledger.release(&pool, 11).is_err());
        ledger.release(&pool, 10).unwrap();
        assert_eq!(ledger, Ledger::default());
    }
}
