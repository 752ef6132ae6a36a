//! The columns of networks.

use jiff::Timestamp;
use symphony_api::v1::Network;

use super::{conditions, identity, labels};
use crate::age::age;
use crate::output::Listed;
use crate::table::or_dash;

impl Listed for Network {
    const HEADERS: &'static [&'static str] = &[
        "NAME",
        "SUBNET",
        "GATEWAY",
        "NAT",
        "AGE",
        "ADDRESSES",
        "MTU",
        "VNI",
        "LABELS",
        "ID",
    ];
    const NARROW: usize = 5;

    fn cells(&self, now: Timestamp) -> Vec<String> {
        vec![
            self.meta.name.clone(),
            self.spec.subnet.clone(),
            self.status.gateway.clone(),
            if self.spec.nat { "yes" } else { "no" }.to_owned(),
            age(self.meta.created_at, now),
            self.status.addresses_max.to_string(),
            or_dash(self.spec.mtu.map(|mtu| mtu.to_string())),
            or_dash(self.status.vni.map(|vni| vni.to_string())),
            labels(&self.meta.labels),
            self.meta.id.to_string(),
        ]
    }

    fn name(&self) -> String {
        self.meta.name.clone()
    }

    fn details(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let mut fields = identity(&self.meta, now);
        fields.push((
            "subnet",
            format!("{}, room for {} machines", self.spec.subnet, self.status.addresses_max),
        ));
        fields.push(("gateway", format!("{}, also the name server", self.status.gateway)));
        let outside = if self.spec.nat {
            "can be reached (NAT)"
        } else {
            "can't be reached"
        };
        fields.push(("outside", outside.to_owned()));
        if let Some(mtu) = self.spec.mtu {
            fields.push(("packets", format!("of up to {mtu} bytes")));
        }
        if let Some(vni) = self.status.vni {
            fields.push(("between nodes", format!("VXLAN {vni}")));
        }
        fields.push(("conditions", conditions(&self.status.conditions, now)));
        fields
    }
}
