//! The filter and the limits of a network's ports, as tables of the bridge family. By the names of links, so that they are
//! in place before a tap is. Never by connection tracking: the bridge family has none here, and br_netfilter would be a
//! switch for every bridge of the node.
//!
//! What a port with rules may hear is judged packet by packet: TCP that opens no connection passes, as do ICMP's answers;
//! UDP passes as an answer to what the port itself asked within two minutes (a set per port that the kernel fills; it
//! starts empty when the filter is replaced). Without the kernel's names of bridges in rules, a foreign link on the bridge
//! is cut off from all ports that are ours, but two foreign ones are not from one another.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use symphony_core::plan::network::{FilterSettings, PEERS_MAX, PeerFilter, PortFilter, Protocol, RateSettings, Rule};

use crate::nft::Table;
use crate::{NetworkError, names};

/// Least bytes that pass at once, whatever the limit: two of the largest packets that virtual links pass on.
const BURST_MIN: u64 = 128 << 10;

pub(crate) fn filter_table(bridge: &str) -> String {
    format!("sy_filter_{}", names::short(bridge))
}

/// Limits have no bridge in their settings; the object stands for it, with the folder for nodes that share a kernel.
pub(crate) fn rate_table(folder: &str) -> String {
    format!("sy_rate_{}", names::short(folder))
}

/// The filter of a network.
pub(crate) fn filter(settings: &FilterSettings) -> Result<Table, NetworkError> {
    let bridge = names::link(&settings.bridge)?;
    let (own_gateway, gateway) = (names::gateway_link(bridge), names::address(&settings.gateway)?);
    let mut body = format!("set ours {{ type ifname; elements = {{ \"{own_gateway}\"");
    for port in &settings.ports {
        put(&mut body, format_args!(", \"{}\"", names::link(&port.link)?));
    }
    let tunnel = settings.tunnel.as_deref().map(names::link).transpose()?;
    if let Some(tunnel) = tunnel {
        put(&mut body, format_args!(", \"{tunnel}\""));
    }
    body.push_str(" } }\n");
    let (mut from, mut to) = (String::new(), format!("\"{own_gateway}\" : accept"));
    let mut between = String::new();
    if let Some(tunnel) = tunnel {
        ends(&mut body, &settings.peers)?;
        put(&mut from, format_args!("\"{tunnel}\" : goto from_tunnel"));
        put(&mut to, format_args!(", \"{tunnel}\" : goto to_tunnel"));
        // Every node has the gateway for its own.
        put(
            &mut between,
            format_args!(
                "iifname \"{own_gateway}\" oifname \"{tunnel}\" drop\niifname \"{tunnel}\" oifname \"{own_gateway}\" drop\n"
            ),
        );
    }
    for (number, port) in settings.ports.iter().enumerate() {
        ear_and_mouth(&mut body, number, port, &gateway.to_string())?;
        let comma = if from.is_empty() { "" } else { ", " };
        put(&mut from, format_args!("{comma}\"{}\" : goto from{number}", port.link));
        put(&mut to, format_args!(", \"{}\" : goto to{number}", port.link));
    }
    let from = if from.is_empty() {
        from
    } else {
        format!("iifname vmap {{ {from} }}\n")
    };
    put(
        &mut body,
        format_args!(
            "chain from {{ type filter hook prerouting priority -300; policy accept;
{from}}}
chain to {{ type filter hook forward priority 0; policy accept;
{between}iifname @ours oifname vmap {{ {to} }}
iifname @ours drop
oifname @ours drop
}}
chain node {{ type filter hook input priority 0; policy accept;
iifname @ours drop
}}
chain by_node {{ type filter hook output priority 0; policy accept;
oifname @ours drop
}}
"
        ),
    );
    Ok(Table::new("bridge", filter_table(bridge), body))
}

/// What may come out of the tunnel, and what may go into it: packets of peers for ports and of ports for peers, and their
/// questions to one another whether they are still there. Everything else is each node's own affair: who asks for an
/// address is answered by the bridge, and gateway and DHCP are on every node.
fn ends(body: &mut String, peers: &[PeerFilter]) -> Result<(), NetworkError> {
    if peers.len() > PEERS_MAX {
        let value = peers.len().to_string();
        return Err(NetworkError::Invalid {
            what: "a number of peers",
            value,
        });
    }
    let (mut pairs, mut macs) = (BTreeSet::new(), BTreeSet::new());
    for peer in peers {
        let (mac, address) = (names::mac(&peer.mac)?, names::address(&peer.address)?);
        pairs.insert(format!("{mac} . {address}"));
        macs.insert(mac);
    }
    let elements = |all: BTreeSet<String>| match all.into_iter().collect::<Vec<_>>() {
        all if all.is_empty() => String::new(),
        all => format!("elements = {{ {} }} ", all.join(", ")),
    };
    let (pairs, macs) = (elements(pairs), elements(macs));
    put(
        body,
        format_args!(
            "set peers {{ type ether_addr . ipv4_addr; {pairs}}}
set peer_macs {{ type ether_addr; {macs}}}
chain from_tunnel {{
ether daddr & 01:00:00:00:00:00 != 00:00:00:00:00:00 drop
ether type arp ether saddr . arp saddr ip @peers arp saddr ether . arp saddr ip @peers accept
udp sport 67 drop
udp dport 67 drop
ether saddr . ip saddr @peers accept
drop
}}
chain to_tunnel {{
ether daddr != @peer_macs drop
udp sport 67 drop
udp dport 67 drop
ether type {{ arp, ip }} accept
drop
}}
"
        ),
    );
    Ok(())
}

/// What a port may say, and what it may hear.
fn ear_and_mouth(body: &mut String, number: usize, port: &PortFilter, gateway: &str) -> Result<(), NetworkError> {
    let (mac, address) = (names::mac(&port.mac)?, names::address(&port.address)?);
    let has_rules = !port.allow.is_empty();
    let note = if has_rules {
        put(
            body,
            format_args!(
                "set asked{number} {{ type ipv4_addr . inet_service . inet_service; flags dynamic,timeout; timeout 2m; size 4096; }}\n"
            ),
        );
        format!("ip saddr {address} meta l4proto udp update @asked{number} {{ ip daddr . udp dport . udp sport }}\n")
    } else {
        String::new()
    };
    put(
        body,
        format_args!(
            "chain from{number} {{
ether saddr != {mac} drop
ether type arp arp saddr ether != {mac} drop
ether type arp arp saddr ip {{ 0.0.0.0, {address} }} accept
ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept
ip saddr {address} udp sport 67 drop
{note}ip saddr {address} accept
drop
}}
chain to{number} {{
ether type arp accept
"
        ),
    );
    if has_rules {
        put(
            body,
            format_args!("ip saddr {gateway} udp sport 67 udp dport 68 accept\n"),
        );
        for rule in &port.allow {
            body.push_str(&allow(rule)?);
        }
        put(
            body,
            format_args!(
                "icmp type {{ echo-reply, destination-unreachable, time-exceeded, parameter-problem }} accept
tcp flags & (syn | ack) != syn accept
ip saddr . udp sport . udp dport @asked{number} accept
ip frag-off & 0x1fff != 0 accept
"
            ),
        );
    } else {
        body.push_str("ether type ip accept\n");
    }
    body.push_str("drop\n}\n");
    Ok(())
}

fn allow(rule: &Rule) -> Result<String, NetworkError> {
    if rule.first > rule.last {
        let value = format!("{}-{}", rule.first, rule.last);
        return Err(NetworkError::Invalid {
            what: "a range of ports",
            value,
        });
    }
    let source = match names::subnet(&rule.source)? {
        (_, 0) => "ether type ip".to_owned(),
        (address, prefix) => format!("ip saddr {address}/{prefix}"),
    };
    let is_all = (rule.first, rule.last) == (0, u16::MAX);
    let ports = |protocol: &str| match (rule.first, rule.last) {
        _ if is_all => format!("meta l4proto {protocol}"),
        (first, last) if first == last => format!("{protocol} dport {first}"),
        (first, last) => format!("{protocol} dport {first}-{last}"),
    };
    let what = match rule.protocol {
        Protocol::Any => String::new(),
        Protocol::Tcp => ports("tcp"),
        Protocol::Udp => ports("udp"),
        Protocol::Icmp => "meta l4proto icmp".to_owned(),
    };
    Ok(format!("{source} {what} accept\n"))
}

/// The limits of a network: what is above them is dropped, in each direction by itself. No queue: this needs neither the
/// tap to be there nor qdiscs of the node.
pub(crate) fn rates(settings: &RateSettings, table: String) -> Result<Table, NetworkError> {
    let (mut body, mut from, mut to) = (String::new(), String::new(), String::new());
    for (number, port) in settings.ports.iter().filter(|port| port.rate_bits > 0).enumerate() {
        let (link, rate) = (names::link(&port.link)?, (port.rate_bits / 8).max(1));
        let burst = (rate / 10).clamp(BURST_MIN, u64::from(u32::MAX));
        for way in ["from", "to"] {
            put(
                &mut body,
                format_args!(
                    "chain {way}{number} {{\nlimit rate over {rate} bytes/second burst {burst} bytes drop\n}}\n"
                ),
            );
        }
        let comma = if number == 0 { "" } else { ", " };
        put(&mut from, format_args!("{comma}\"{link}\" : jump from{number}"));
        put(&mut to, format_args!("{comma}\"{link}\" : jump to{number}"));
    }
    if !from.is_empty() {
        put(
            &mut body,
            format_args!(
                "chain from {{ type filter hook prerouting priority -200; policy accept;
iifname vmap {{ {from} }}
}}
chain to {{ type filter hook forward priority 100; policy accept;
oifname vmap {{ {to} }}
}}
"
            ),
        );
    }
    Ok(Table::new("bridge", table, body))
}

/// Writing into memory does not fail.
fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(what);
}
