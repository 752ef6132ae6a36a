//! What is to be placed.

use std::collections::BTreeSet;

use crate::labels::Labels;
use crate::machine::Machine;
use crate::name::Name;
use crate::volume::Volume;

/// A volume that wants a place, or a machine with the volumes that it brings. What is zero or empty is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Room that it needs in the pool, in bytes: a machine's volumes together.
    pub disk_bytes: u64,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// The pool it must be in; any when not given.
    pub pool: Option<Name>,
    /// The node it must be on: where the volumes that it has already are.
    pub node: Option<Name>,
    /// Whether it may be on another node when that one does not take it: its volumes are served to it there.
    pub elsewhere: bool,
    /// Labels that its node must have.
    pub require: Labels,
    /// Labels that its node should have.
    pub prefer: Labels,
    /// Nodes that it must not be on: there are machines that it wants to be apart from.
    pub avoid: BTreeSet<Name>,
    /// Nodes of which it must be on one: there are machines that it wants to be near; any when empty.
    pub near: BTreeSet<Name>,
}

/// What the rest of the cluster has to say about a machine's place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// What its volumes without a place need together, in bytes.
    pub disk_bytes: u64,
    /// The pool that they must be in.
    pub pool: Option<Name>,
    /// Where volumes are that it has already.
    pub node: Option<Name>,
    /// Whether those could be served to another node now.
    pub elsewhere: bool,
    /// Where the machines are that it wants to be apart from.
    pub avoid: BTreeSet<Name>,
    /// Where the machines are that it wants to be near.
    pub near: BTreeSet<Name>,
}

impl Request {
    /// The request of a volume.
    #[must_use]
    pub fn of(volume: &Volume) -> Self {
        Self {
            disk_bytes: volume.spec.size.bytes(),
            pool: volume.spec.pool.clone(),
            require: volume.spec.require.clone(),
            ..Self::default()
        }
    }

    /// The request of a machine with its volumes.
    #[must_use]
    pub fn of_machine(machine: &Machine, around: Surroundings) -> Self {
        let may_leave = around.elsewhere && around.node.is_some();
        Self {
            disk_bytes: around.disk_bytes,
            cpus: machine.spec.size.cpus(),
            memory_bytes: machine.spec.size.memory_bytes(),
            pool: around.pool,
            node: around.node,
            elsewhere: may_leave && machine.spec.wishes.remote_volumes,
            require: machine.spec.wishes.require.clone(),
            prefer: machine.spec.wishes.prefer.clone(),
            avoid: around.avoid,
            near: around.near,
        }
    }

    /// The same on any node.
    #[must_use]
    pub fn anywhere(&self) -> Self {
        Self {
            node: None,
            elsewhere: false,
            ..self.clone()
        }
    }

    /// Whether it asks for processors or memory: then only nodes that run machines can take it.
    #[must_use]
    pub const fn is_for_machine(&self) -> bool {
        self.cpus > 0 || self.memory_bytes > 0
    }
}
