//! From the mirror's columns to those of the contract: the same values, moved, not copied.

use symphony_core::place::mirror::{Batch, Column, ColumnData, NewSymbols, Stamp};

use crate::bindings::scheduler::symphony::plugin::scheduling as wit;

pub(super) fn stamp(stamp: Stamp) -> wit::Stamp {
    wit::Stamp {
        epoch: stamp.epoch,
        revision: stamp.revision,
        digest: stamp.digest,
    }
}

pub(super) fn symbols(symbols: NewSymbols) -> wit::Symbols {
    wit::Symbols {
        first: symbols.first,
        names: symbols.names,
    }
}

pub(super) fn columns(columns: Vec<Column>) -> Vec<wit::Column> {
    let column = |Column { name, data }| {
        let data = match data {
            ColumnData::U64s(values) => wit::ColumnData::U64s(values),
            ColumnData::Symbols(values) => wit::ColumnData::Symbols(values),
            ColumnData::Sets { offsets, values } => wit::ColumnData::Sets(wit::Sets { offsets, values }),
        };
        wit::Column { name, data }
    };
    columns.into_iter().map(column).collect()
}

pub(super) fn batch(batch: Batch, seed: u64) -> wit::Batch {
    wit::Batch {
        need: stamp(batch.need),
        seed,
        symbols: symbols(batch.symbols),
        requests: batch.requests,
        shapes: columns(batch.shapes),
    }
}
