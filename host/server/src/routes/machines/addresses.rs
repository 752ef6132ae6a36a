//! Ports: what is asked for, and the addresses and MACs that nobody else has. That two machines never get the same one is
//! held by the keys that are created in the machine's transaction.

use std::collections::{BTreeMap, BTreeSet};

use symphony_api::Code;
use symphony_api::v1::WantedPort;
use symphony_control::clock;
use symphony_core::id::{NetworkId, PortId};
use symphony_core::keys;
use symphony_core::machine::Port;
use symphony_core::name::Name;
use symphony_core::network::{Address, Mac, Network, RULES_MAX, Rate, Rule, Subnet};
use symphony_store::{Compare, Range, Revision, Store, Txn, read_all};

use crate::failure::{Answer, Failure};
use crate::input::Check;
use crate::routes::networks;

/// Most addresses of one network that are given out: all of them are looked at when one is.
const ADDRESSES_MAX: usize = 65_536;
/// Keys that are read at once.
const PAGE: usize = 4_096;
/// How many of the lowest addresses are taken into account at most, as a power of two, when many want one at once.
const SPREAD_MAX: u32 = 6;

/// A port that is asked for, each value of it acceptable.
pub(super) struct PortWish<'a> {
    network: &'a str,
    address: Option<Address>,
    allow: Vec<Rule>,
    rate_bits: Option<u64>,
    /// Where in the body it is.
    pointer: String,
}

/// Ports that could be stored, and the networks' records that they were made on.
#[derive(Default)]
pub(super) struct Ports {
    pub(super) ports: Vec<Port>,
    networks: Vec<(String, Revision)>,
}

impl<'a> PortWish<'a> {
    /// Checks the values of a port, which is at `pointer` in the body.
    pub(super) fn read(check: &mut Check, port: &'a WantedPort, pointer: &str) -> Self {
        let address = port.address.as_ref().and_then(|text| {
            let wrong = |_| format!("{text:?} is no address; write one like 10.0.0.5");
            check.take(&format!("{pointer}/address"), text.parse::<Address>().map_err(wrong))
        });
        if port.allow.len() > RULES_MAX {
            let detail = format!("a port has at most {RULES_MAX} rules");
            check.wrong(&format!("{pointer}/allow"), detail);
        }
        let rules = port.allow.iter().take(RULES_MAX).enumerate();
        let allow = rules.filter_map(|(at, rule)| check.take(&format!("{pointer}/allow/{at}"), rule.parse::<Rule>()));
        let allow = allow.collect();
        let rate = port.rate.as_ref();
        let rate = rate.and_then(|rate| check.take(&format!("{pointer}/rate"), rate.parse::<Rate>()));
        Self {
            network: &port.network,
            address,
            allow,
            rate_bits: rate.map(Rate::bits),
            pointer: pointer.to_owned(),
        }
    }

    fn wrong(&self, code: Code, field: &str, detail: String) -> Failure {
        Failure::field(code, &format!("{}/{field}", self.pointer), detail)
    }

    /// The network, when machines may be connected to it.
    async fn network(&self, store: &dyn Store, project: &Name) -> Answer<crate::reading::Stored<Network>> {
        let name = self.network;
        let found = networks::look_up(store, project, name).await?;
        let found = found.ok_or_else(|| {
            let detail = format!("there is no network {name:?} in project {project}");
            self.wrong(Code::NotFound, "network", detail)
        })?;
        if found.value.meta.is_deleting() {
            let detail = format!("the network {name:?} is being deleted");
            return Err(self.wrong(Code::Conflict, "network", detail));
        }
        Ok(found)
    }

    /// The address that was asked for, when it can be had.
    fn asked(&self, address: Address, network: &Network, taken: &BTreeSet<Address>) -> Answer<Address> {
        let (subnet, name) = (&network.spec.subnet, &network.meta.name);
        if !subnet.is_for_machines(address) {
            let why = if address == subnet.gateway() {
                format!("{address} is the gateway's")
            } else if subnet.contains(address) {
                format!("{address} is not for machines: it is the first or the last of {subnet}")
            } else {
                format!("{address} is not in {subnet}, the subnet of {name}")
            };
            return Err(self.wrong(Code::InvalidArgument, "address", why));
        }
        if taken.contains(&address) {
            let detail = format!("another machine on {name} has {address}; leave it out to be given a free one");
            return Err(self.wrong(Code::Conflict, "address", detail));
        }
        Ok(address)
    }
}

/// Chooses addresses for ports. `attempt` counts how often others were faster.
pub(super) async fn allocate(
    store: &dyn Store,
    project: &Name,
    wishes: &[PortWish<'_>],
    attempt: u32,
) -> Answer<Ports> {
    let mut networks = Vec::new();
    let mut taken: BTreeMap<NetworkId, BTreeSet<Address>> = BTreeMap::new();
    for wish in wishes {
        let network = wish.network(store, project).await?;
        let id = network.value.meta.id;
        if let std::collections::btree_map::Entry::Vacant(entry) = taken.entry(id) {
            entry.insert(taken_of(store, id).await?);
        }
        networks.push(network);
    }
    // Those that were asked for come first, so that no other port of the same request is given one of them.
    let mut addresses: Vec<Option<Address>> = vec![None; wishes.len()];
    for ((wish, network), address) in wishes.iter().zip(&networks).zip(&mut addresses) {
        let taken = taken.entry(network.value.meta.id).or_default();
        if let Some(asked) = wish.address {
            let asked = wish.asked(asked, &network.value, taken)?;
            taken.insert(asked);
            *address = Some(asked);
        }
    }
    let mut ports = Ports::default();
    for ((wish, network), address) in wishes.iter().zip(&networks).zip(addresses) {
        let (meta, subnet) = (&network.value.meta, &network.value.spec.subnet);
        let taken = taken.entry(meta.id).or_default();
        let id = clock::new_uuid();
        let chance = id.as_bytes();
        let address = address.or_else(|| free(subnet, taken, attempt, chance[12]));
        let address = address.filter(|_| taken.len() < ADDRESSES_MAX).ok_or_else(|| {
            let (name, most) = (&meta.name, subnet.machines_max());
            let detail = format!("all addresses of the network {name} ({subnet}, {most} for machines) are given out");
            wish.wrong(Code::NetworkFull, "network", detail)
        })?;
        taken.insert(address);
        ports.ports.push(Port {
            id: PortId::new(id),
            network: meta.id,
            network_name: meta.name.clone(),
            mac: Mac::ours([chance[13], chance[14], chance[15]]),
            address,
            allow: wish.allow.clone(),
            rate_bits: wish.rate_bits,
        });
        let key = keys::network(project, &meta.name);
        ports.networks.push((key, network.revision));
    }
    Ok(ports)
}

/// The addresses of a network that somebody has.
async fn taken_of(store: &dyn Store, network: NetworkId) -> Answer<BTreeSet<Address>> {
    let prefix = keys::addresses_of(network);
    let range = Range::prefix(prefix.clone()).keys_only().limit(ADDRESSES_MAX);
    let found = read_all(store, range, PAGE).await?;
    let address = |kv: &symphony_store::KeyValue| kv.key.strip_prefix(&prefix)?.parse().ok();
    Ok(found.kvs.iter().filter_map(address).collect())
}

/// The lowest free address. When others were faster, by chance one of the lowest few: else all of them would want the same
/// one again.
fn free(subnet: &Subnet, taken: &BTreeSet<Address>, attempt: u32, chance: u8) -> Option<Address> {
    let mut found = subnet.lowest_free(taken.iter().copied())?;
    let skip = u32::from(chance) % (1 << attempt.min(SPREAD_MAX));
    if skip > 0 {
        let mut passed = taken.clone();
        for _ in 0..skip {
            passed.insert(found);
            match subnet.lowest_free(passed.iter().copied()) {
                Some(next) => found = next,
                None => break,
            }
        }
    }
    Some(found)
}

impl Ports {
    /// Reserves addresses and MACs; holds while the networks are as they were.
    pub(super) fn reserve(&self, mut txn: Txn) -> Txn {
        for port in &self.ports {
            for key in [keys::address(port.network, port.address), keys::mac(port.mac)] {
                txn = txn
                    .when(Compare::absent(&key))
                    .put(key, port.id.to_string().into_bytes());
            }
        }
        for (key, revision) in &self.networks {
            txn = txn.when(Compare::mod_revision(key, *revision));
        }
        txn
    }
}

/// Gives the address and the MAC of a port back.
pub(super) fn release(txn: Txn, port: &Port) -> Txn {
    txn.delete(keys::address(port.network, port.address))
        .delete(keys::mac(port.mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_late_does_not_want_the_same_address_again() {
        let subnet = Subnet::of_network("10.0.0.0/28").unwrap();
        let address = |last| Address::new(10, 0, 0, last);
        let taken: BTreeSet<Address> = [address(2), address(4)].into();
        assert_eq!(free(&subnet, &taken, 0, 255), Some(address(3)), "the lowest");
        let found: BTreeSet<_> = (0..=u8::MAX)
            .filter_map(|chance| free(&subnet, &taken, 2, chance))
            .collect();
        assert_eq!(found, [3, 5, 6, 7].map(address).into(), "of the lowest four");
        let all: BTreeSet<Address> = (2..=14).map(address).collect();
        assert_eq!(free(&subnet, &all, 5, 9), None);
        let but_one = all.iter().copied().filter(|one| *one != address(9)).collect();
        assert_eq!(
            free(&subnet, &but_one, 6, 77),
            Some(address(9)),
            "also when it is the only one"
        );
    }
}
