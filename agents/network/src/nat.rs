//! The way out: a second pair of links from the namespace to the node with link-local addresses, and masquerading at both
//! ends, so that no network's addresses ever meet another's. What comes in by it is only answers; the node itself answers
//! pings there and nothing else.

use std::fs::File;
use std::net::Ipv4Addr;

use symphony_core::plan::network::NatSettings;

use crate::error::file;
use crate::gateway::{GATEWAY, connect};
use crate::links::Links;
use crate::nft::{self, Table};
use crate::{NetworkError, names, namespace};

/// The link of the way out within the namespace.
const WAY_OUT: &str = "out";
/// The table within the namespace.
const TABLE: &str = "sy_nat";
/// Subnets of four addresses from 169.254.1.0 up to 169.254.254.255.
const FIRST: u16 = 64;
const LAST: u16 = 64 * 255 - 1;
/// 169.254.169.252 to .255: where clouds have their metadata.
const METADATA: u16 = 169 * 64 + 63;

/// The address of the node's end, and of the namespace's.
fn addresses(slot: u16) -> (Ipv4Addr, Ipv4Addr) {
    let base = Ipv4Addr::new(169, 254, 0, 0).to_bits() + u32::from(slot) * 4;
    (Ipv4Addr::from_bits(base + 1), Ipv4Addr::from_bits(base + 2))
}

fn node_table(settings: &NatSettings, slot: u16) -> Table {
    let (link, inner) = (names::way_out_link(&settings.namespace), addresses(slot).1);
    let body = format!(
        "chain out {{ type nat hook postrouting priority 100; policy accept;
ip saddr {inner} oifname != \"{link}\" masquerade
}}
chain through {{ type filter hook forward priority 0; policy accept;
iifname \"{link}\" oifname \"syn*\" drop
oifname \"{link}\" ct state established,related accept
oifname \"{link}\" drop
}}
chain own {{ type filter hook input priority 0; policy accept;
iifname \"{link}\" ct state established,related accept
iifname \"{link}\" icmp type echo-request accept
iifname \"{link}\" drop
}}
"
    );
    Table::new("ip", table_name(&settings.namespace), body)
}

fn table_name(name: &str) -> String {
    format!("sy_{}", names::short(name))
}

fn inner_table((subnet, prefix): (Ipv4Addr, u8)) -> Table {
    let body = format!(
        "chain out {{ type nat hook postrouting priority 100; policy accept;
oifname \"{WAY_OUT}\" masquerade
}}
chain through {{ type filter hook forward priority 0; policy accept;
iifname \"{WAY_OUT}\" ct state established,related accept
iifname \"{WAY_OUT}\" drop
iifname \"{GATEWAY}\" ip saddr != {subnet}/{prefix} drop
}}
chain own {{ type filter hook input priority 0; policy accept;
iifname \"{WAY_OUT}\" ct state established,related accept
iifname \"{WAY_OUT}\" icmp type echo-request accept
iifname \"{WAY_OUT}\" drop
}}
"
    );
    Table::new("ip", TABLE.to_owned(), body)
}

/// The subnet that is this network's: the one that it has, or the next that nobody on the node has.
async fn free_slot(links: &Links, name: &str, own: Option<u16>) -> Result<u16, NetworkError> {
    let link = links.find(&names::way_out_link(name)).await?.map(|link| link.index);
    let all = links.addresses().await?;
    let taken: Vec<u32> = all
        .iter()
        .filter(|(index, ..)| Some(*index) != link)
        .map(|(_, address, _)| address.to_bits() >> 2)
        .collect();
    let is_free = |slot: &u16| *slot != METADATA && !taken.contains(&(addresses(*slot).0.to_bits() >> 2));
    let wish = names::short(name)
        .bytes()
        .fold(0_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(u16::from(byte)));
    let count = LAST - FIRST + 1;
    let from = FIRST + wish % count;
    let mut slots = own.into_iter().chain(from..=LAST).chain(FIRST..from);
    slots.find(is_free).ok_or(NetworkError::Full)
}

/// Opens the way out; `keep` writes the choice of the subnet down before it is used.
pub(crate) async fn open(
    settings: &NatSettings,
    own: Option<u16>,
    keep: impl FnOnce(u16) -> Result<(), NetworkError>,
) -> Result<(), NetworkError> {
    let name = names::namespace(&settings.namespace)?;
    let subnet = names::subnet(&settings.subnet)?;
    let (home, inside) = (Links::here()?, Links::inside(name)?);
    let link = names::way_out_link(name);
    connect(&inside, &home, WAY_OUT, &link).await?;
    symphony_crash::point("network.nat.connected");
    namespace::set(&format!("ipv6/conf/{link}/disable_ipv6"), "1")?;
    // Other agents on this kernel choose by the same addresses.
    let lock = lock().await?;
    let slot = free_slot(&home, name, own).await?;
    keep(slot)?;
    let (node, inner) = addresses(slot);
    home.set_address(&link, node, 30).await?;
    drop(lock);
    symphony_crash::point("network.nat.addressed");
    // The rules before the way: nothing passes unchecked.
    node_table(settings, slot).replace(None).await?;
    inner_table(subnet).replace(Some(name)).await?;
    symphony_crash::point("network.nat.filtered");
    home.up(&link).await?;
    inside.set_address(WAY_OUT, inner, 30).await?;
    inside.up(WAY_OUT).await?;
    inside.default_route(node).await?;
    namespace::within(name, || namespace::set("ipv4/ip_forward", "1"))??;
    namespace::set("ipv4/ip_forward", "1")
}

async fn lock() -> Result<File, NetworkError> {
    let locked = || {
        let open = File::open(namespace::FOLDER).map_err(file(namespace::FOLDER, "opened"))?;
        open.lock().map_err(file(namespace::FOLDER, "locked"))?;
        Ok(open)
    };
    let joined = tokio::task::spawn_blocking(locked).await;
    joined.unwrap_or_else(|_| Err(NetworkError::Late("the lock")))
}

/// Closes the way out; the namespace may be gone.
pub(crate) async fn close(name: &str) -> Result<(), NetworkError> {
    let name = names::namespace(name)?;
    Links::here()?.remove(&names::way_out_link(name)).await?;
    symphony_crash::point("network.nat.unlinked");
    if namespace::exists(name) {
        Links::inside(name)?.remove(WAY_OUT).await?;
        nft::remove(Some(name), "ip", TABLE).await?;
        namespace::within(name, || namespace::set("ipv4/ip_forward", "0"))??;
    }
    nft::remove(None, "ip", &table_name(name)).await
}

pub(crate) async fn stands(settings: &NatSettings, slot: Option<u16>) -> Result<bool, NetworkError> {
    let (home, name) = (Links::here()?, &settings.namespace);
    let outer = home.find(&names::way_out_link(name)).await?;
    if !settings.enabled {
        return Ok(outer.is_none());
    }
    let (Some(outer), Some(slot)) = (outer, slot) else {
        return Ok(false);
    };
    if !outer.is_up || !namespace::exists(name) {
        return Ok(false);
    }
    let inside = Links::inside(name)?;
    let is_up = inside.find(WAY_OUT).await?.is_some_and(|link| link.is_up);
    Ok(is_up
        && home
            .has_address(&names::way_out_link(name), addresses(slot).0, 30)
            .await?
        && inside.has_address(WAY_OUT, addresses(slot).1, 30).await?
        && node_table(settings, slot).stands(None).await?
        && inner_table(names::subnet(&settings.subnet)?).stands(Some(name)).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subnets_are_within_the_link_local_range() {
        assert_eq!(addresses(FIRST).0, Ipv4Addr::new(169, 254, 1, 1));
        assert_eq!(addresses(LAST).1, Ipv4Addr::new(169, 254, 254, 254));
        assert_eq!(addresses(METADATA).1, Ipv4Addr::new(169, 254, 169, 254));
    }
}
