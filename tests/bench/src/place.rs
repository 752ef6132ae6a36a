//! Placement: the sandboxed policy against the same policy run natively, and what it costs to keep it up to date.

mod change;
mod field;
mod sandbox;
mod scan;

use std::error::Error;

use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

use crate::figure::{Aim, Figure, Values, Wanted};
use field::Field;

const TAX: &str = "one request, full scan, fuel on: sandbox / the same policy native";

pub(crate) const FIGURES: [Figure; 8] = [
    Figure {
        name: "place.scan.tax.1k",
        unit: "x",
        aim: Aim::AtMost(1.5),
        what: TAX,
    },
    Figure {
        name: "place.scan.tax.10k",
        unit: "x",
        aim: Aim::AtMost(1.5),
        what: TAX,
    },
    Figure {
        name: "place.scan.tax.100k",
        unit: "x",
        aim: Aim::AtMost(1.5),
        what: TAX,
    },
    Figure {
        name: "place.scan.native_us.10k",
        unit: "µs",
        aim: Aim::None,
        what: "… native",
    },
    Figure {
        name: "place.scan.wasm_us.10k",
        unit: "µs",
        aim: Aim::None,
        what: "… in the sandbox",
    },
    Figure {
        name: "place.cached_us.10k",
        unit: "µs",
        aim: Aim::None,
        what: "one request in the sandbox, of 2,048 in a batch that have 8 shapes",
    },
    Figure {
        name: "place.update_us",
        unit: "µs",
        aim: Aim::AtMost(1.0),
        what: "one changed node of 1,000 that changed among 10,000: found, handed over, digested",
    },
    Figure {
        name: "place.snapshot_ms.10k",
        unit: "ms",
        aim: Aim::AtMost(1.0),
        what: "a fresh instance's first call less its second: columns made, handed over, digested",
    },
];

/// Measures what is asked for, on one processor: where processors are shared with strangers one may be twice as fast as
/// the other, and a scheduler has a thread of its own.
pub(crate) fn measure(wanted: &Wanted, values: &mut Values) -> Result<(), Box<dyn Error>> {
    if !wanted.any(&FIGURES) {
        return Ok(());
    }
    let measure = || {
        let mut here = CpuSet::new();
        here.set(sched_getcpu());
        // Threads that are started from here on stay here too.
        sched_setaffinity(None, &here).map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let measured = runtime
            .map_err(|error| error.to_string())?
            .block_on(all(wanted, values));
        measured.map_err(|error| error.to_string())
    };
    let measured: Result<(), String> = std::thread::scope(|scope| {
        scope
            .spawn(measure)
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    Ok(measured?)
}

async fn all(wanted: &Wanted, values: &mut Values) -> Result<(), Box<dyn Error>> {
    let wants = |name: &str| FIGURES.iter().any(|figure| figure.name == name && wanted.has(figure));
    let sandbox = sandbox::Sandbox::open().await?;
    for (name, rows, batch) in [
        ("place.scan.tax.1k", 1_000, 512),
        ("place.scan.tax.10k", 10_000, 128),
        ("place.scan.tax.100k", 100_000, 64),
    ] {
        let times = ["place.scan.native_us.10k", "place.scan.wasm_us.10k"];
        let with_times = rows == 10_000 && times.iter().any(|name| wants(name));
        if !wants(name) && !with_times {
            continue;
        }
        let scan = scan::full(&sandbox, &Field::new(rows), batch).await?;
        values.put(name, scan.tax);
        if with_times {
            values.put(times[0], scan.native_us);
            values.put(times[1], scan.sandbox_us);
        }
    }
    let field = Field::new(10_000);
    if wants("place.cached_us.10k") {
        values.put("place.cached_us.10k", scan::cached(&sandbox, &field).await?);
    }
    if wants("place.update_us") {
        values.put("place.update_us", change::update(&sandbox, &field).await?);
    }
    if wants("place.snapshot_ms.10k") {
        values.put("place.snapshot_ms.10k", change::snapshot(&sandbox, &field).await?);
    }
    Ok(())
}
