//! The columns of volumes.

use jiff::Timestamp;
use symphony_api::v1::Volume;
use symphony_core::quantity::Bytes;

use super::{conditions, identity, labels};
use crate::age::age;
use crate::output::Listed;
use crate::table::or_dash;
use crate::verdicts::{decider, score, short};

impl Listed for Volume {
    const HEADERS: &'static [&'static str] = &[
        "NAME",
        "SIZE",
        "PHASE",
        "NODE",
        "POOL",
        "IMAGE",
        "MACHINE",
        "AGE",
        "SCHEDULER",
        "LABELS",
        "ID",
    ];
    const NARROW: usize = 8;

    fn cells(&self, now: Timestamp) -> Vec<String> {
        let placement = self.status.placement.as_ref();
        vec![
            self.meta.name.clone(),
            Bytes(self.spec.size).to_string(),
            self.status.phase.as_str().to_owned(),
            or_dash(placement.map(|placement| placement.node.clone())),
            or_dash(placement.map(|placement| placement.pool.clone())),
            or_dash(self.spec.image.as_ref().map(|image| image.name.clone())),
            or_dash(self.status.machine.clone()),
            age(self.meta.created_at, now),
            or_dash(placement.map(|placement| decider(&placement.decided_by))),
            labels(&self.meta.labels),
            self.meta.id.to_string(),
        ]
    }

    fn name(&self) -> String {
        self.meta.name.clone()
    }

    fn details(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let mut fields = identity(&self.meta, now);
        fields.push(("phase", self.status.phase.as_str().to_owned()));
        fields.push(("size", Bytes(self.spec.size).to_string()));
        fields.push(("size on node", Bytes(self.status.size_bytes).to_string()));
        if let Some(image) = &self.spec.image {
            fields.push(("image", format!("{} {}", image.name, short(&image.digest))));
        }
        if let Some(placement) = &self.status.placement {
            fields.push(("node", format!("{} (pool {})", placement.node, placement.pool)));
            fields.push((
                "decided by",
                format!("{}, score {}", decider(&placement.decided_by), score(placement.score)),
            ));
        }
        if let Some(machine) = &self.status.machine {
            fields.push(("machine", machine.clone()));
        }
        if self.spec.pool.is_some() || !self.spec.require.is_empty() {
            let pool = self.spec.pool.iter().map(|pool| format!("pool {pool}"));
            let wanted: Vec<_> = pool
                .chain(self.spec.require.iter().map(|(key, value)| format!("{key}={value}")))
                .collect();
            fields.push(("asks for", wanted.join(", ")));
        }
        fields.push(("conditions", conditions(&self.status.conditions, now)));
        fields
    }
}
