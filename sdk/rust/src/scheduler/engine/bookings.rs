//! What a batch books on top of the mirror: the mirror itself must stay what the digest is of.

use crate::policy::Request;
use crate::scheduler::cache::Cache;
use crate::scheduler::columns::Values;
use crate::scheduler::mirror::Mirror;

/// What is left in each row, and how to get back to what was there before the batch.
#[derive(Debug, Default)]
pub(super) struct Bookings {
    left: Left,
    /// Row and its disk before the booking.
    disks: Vec<(u32, u64)>,
    /// Row, and its processors and memory before the booking: one entry for each row of the node.
    machines: Vec<(u32, u64, u64)>,
}

/// What is left, one value per row.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) disk: Vec<u64>,
    pub(super) cpus: Vec<u64>,
    pub(super) memory: Vec<u64>,
}

impl Bookings {
    /// What is left now.
    #[inline]
    pub(super) const fn left(&self) -> &Left {
        &self.left
    }

    /// Room for the bookings of so many requests.
    pub(super) fn reserve(&mut self, requests: usize) {
        self.disks.reserve(requests);
    }

    /// Starts from all rows of the mirror.
    pub(super) fn load(&mut self, mirror: &Mirror) {
        self.disks.clear();
        self.machines.clear();
        for (left, values) in self.columns(mirror) {
            left.clear();
            left.extend_from_slice(values);
        }
    }

    /// Takes rows that changed from the mirror.
    pub(super) fn update(&mut self, mirror: &Mirror, rows: &[u32], cache: &mut Cache) {
        for (left, values) in self.columns(mirror) {
            for &row in rows {
                left[row as usize] = values[row as usize];
            }
        }
        rows.iter().for_each(|&row| cache.note(row));
    }

    /// Books a request: the disk in its row, processors and memory in all rows of the node.
    pub(super) fn book(&mut self, row: usize, request: &Request<'_>, nodes: &[u32], cache: &mut Cache) {
        let disk = &mut self.left.disk[row];
        self.disks.push((row as u32, *disk));
        *disk = disk.saturating_sub(request.disk_bytes());
        cache.note(row as u32);
        if !request.is_for_machine() {
            return;
        }
        for sibling in siblings(nodes, row) {
            let (cpus, memory) = (&mut self.left.cpus[sibling], &mut self.left.memory[sibling]);
            self.machines.push((sibling as u32, *cpus, *memory));
            *cpus = cpus.saturating_sub(request.cpus());
            *memory = memory.saturating_sub(request.memory_bytes());
            if sibling != row {
                cache.note(sibling as u32);
            }
        }
    }

    /// Forgets all bookings, the latest first.
    pub(super) fn forget(&mut self, cache: &mut Cache) {
        while let Some((row, disk)) = self.disks.pop() {
            self.left.disk[row as usize] = disk;
            cache.note(row);
        }
        while let Some((row, cpus, memory)) = self.machines.pop() {
            self.left.cpus[row as usize] = cpus;
            self.left.memory[row as usize] = memory;
            cache.note(row);
        }
    }

    /// What is left beside where it comes from.
    fn columns<'a>(&'a mut self, mirror: &'a Mirror) -> impl Iterator<Item = (&'a mut Vec<u64>, &'a [u64])> {
        let Left { disk, cpus, memory } = &mut self.left;
        let columns = [("disk.free", disk), ("cpu.free", cpus), ("memory.free", memory)];
        columns
            .into_iter()
            .filter_map(|(name, left)| match mirror.column(name) {
                Some(Values::U64s(values)) => Some((left, values.as_slice())),
                _ => None,
            })
    }
}

/// The rows of a row's node: the host keeps them together, for rows are ordered by node first.
fn siblings(nodes: &[u32], row: usize) -> std::ops::Range<usize> {
    let node = nodes[row];
    if node == 0 {
        return row..row + 1;
    }
    let before = nodes[..row].iter().rev().take_while(|other| **other == node).count();
    let after = nodes[row..].iter().take_while(|other| **other == node).count();
    row - before..row + after
}

#[cfg(test)]
mod tests {
    use super::siblings;

    #[test]
    fn rows_of_a_node_are_found_on_both_sides() {
        let nodes = [7, 7, 3, 9, 9, 9, 0, 0];
        let found: Vec<_> = (0..nodes.len()).map(|row| siblings(&nodes, row)).collect();
        let expected = [0..2, 0..2, 2..3, 3..6, 3..6, 3..6, 6..7, 7..8];
        assert_eq!(found, expected);
    }
}
