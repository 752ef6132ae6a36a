//! Whether a machine could ever have a place. Where it goes is the place loop's to say.

use symphony_api::{Code, FieldError};
use symphony_core::machine::{Machine, MachinePlacement, MachineSize};
use symphony_core::node::{Compute, Node};
use symphony_core::place::Ledger;
use symphony_core::quantity::Bytes;
use symphony_core::{keys, record};
use symphony_store::{Range, Store, read_all};

use crate::failure::{Answer, Failure};
use crate::reading::load;

/// Nodes that are read at once.
const PAGE: usize = 500;

/// Refuses a size that no node has in all: such a machine would only wait. While no node runs machines nothing is known,
/// and anything may wait for one that does.
pub(super) async fn refuse_if_too_large(store: &dyn Store, size: MachineSize) -> Answer<()> {
    let mut nodes: Vec<Compute> = Vec::new();
    for kv in read_all(store, Range::prefix(keys::NODES), PAGE).await?.kvs {
        nodes.extend(record::decode::<Node>(&kv.value)?.status.compute);
    }
    if nodes.is_empty() {
        return Ok(());
    }
    let (cpus, memory) = (u64::from(size.cpus()), size.memory_bytes());
    let most_cpus = nodes.iter().map(Compute::cpus_claimable).max().unwrap_or(0);
    let most_memory = nodes.iter().map(|node| node.memory_bytes).max().unwrap_or(0);
    let mut errors = Vec::new();
    if cpus > most_cpus {
        let detail =
            format!("the largest node gives {most_cpus} virtual processors to machines, and {cpus} are wanted");
        errors.push(wrong("/spec/cpus", detail));
    }
    if memory > most_memory {
        let detail = format!(
            "the largest node gives {} of memory to machines, and {} are wanted",
            Bytes(most_memory),
            Bytes(memory)
        );
        errors.push(wrong("/spec/memory", detail));
    }
    let both = |node: &Compute| node.cpus_claimable() >= cpus && node.memory_bytes >= memory;
    if errors.is_empty() && !nodes.iter().any(both) {
        let detail = format!(
            "no node gives both {cpus} virtual processors and {} of memory",
            Bytes(memory)
        );
        errors.push(wrong("/spec", detail));
    }
    refuse(errors)
}

/// Refuses a new size that the machine's node has no room for: it can't go elsewhere. The claim itself is made by the
/// loops.
pub(super) async fn refuse_if_full(store: &dyn Store, machine: &Machine, size: MachineSize) -> Answer<()> {
    let Some(placement) = &machine.placement else {
        return refuse_if_too_large(store, size).await;
    };
    let node = load::<Node>(store, &keys::node(&placement.node)).await?;
    let Some(compute) = node.and_then(|node| node.value.status.compute) else {
        return Ok(());
    };
    let ledger = load::<Ledger>(store, &keys::ledger(&placement.node)).await?;
    let claimed = ledger.map(|ledger| ledger.value.machines()).unwrap_or_default();
    refuse(more_than_free(placement, size, &compute, claimed))
}

fn more_than_free(
    placement: &MachinePlacement,
    size: MachineSize,
    compute: &Compute,
    claimed: symphony_core::place::MachineClaims,
) -> Vec<FieldError> {
    let node = &placement.node;
    let more = u64::from(size.cpus().saturating_sub(placement.claimed.cpus()));
    let free = compute.cpus_claimable().saturating_sub(claimed.cpus);
    let mut errors = Vec::new();
    if more > free {
        let detail = format!("node {node} has {free} virtual processors free, and {more} more are wanted");
        errors.push(wrong("/spec/cpus", detail));
    }
    let more = size.memory_bytes().saturating_sub(placement.claimed.memory_bytes());
    let free = compute.memory_bytes.saturating_sub(claimed.memory_bytes);
    if more > free {
        let (free, more) = (Bytes(free), Bytes(more));
        let detail = format!("node {node} has {free} of memory free, and {more} more are wanted");
        errors.push(wrong("/spec/memory", detail));
    }
    errors
}

fn wrong(pointer: &str, detail: String) -> FieldError {
    FieldError {
        pointer: pointer.to_owned(),
        detail,
    }
}

fn refuse(errors: Vec<FieldError>) -> Answer<()> {
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Failure::fields(Code::Unplaceable, errors))
    }
}
