//! The tunnel: a VXLAN link in a network's bridge, by which the network's parts on other nodes are reached. It learns
//! nothing and floods nothing; where packets go is said by [`crate::peers`], what may pass by [`crate::filter`].
//!
//! Several nodes on one kernel each have a UDP port of their own: the kernel has one tunnel of a number for each port, and
//! hands packets between two of its own over without sending them.

use std::net::SocketAddrV4;

use rtnetlink::packet_route::link::{InfoBridgePort, InfoVxlan};
use rtnetlink::{LinkBridgePort, LinkVxlan};
use symphony_core::plan::network::TunnelSettings;

use crate::links::{Link, Links};
use crate::peers::{self, Peers};
use crate::{NetworkError, gateway, names, nft};

/// What the kernel was told and has to confirm.
struct Wanted<'a> {
    name: &'a str,
    bridge: &'a str,
    vni: u32,
    mtu: u32,
    local: SocketAddrV4,
}

/// What can be said before anything is touched.
fn read(settings: &TunnelSettings) -> Result<Wanted<'_>, NetworkError> {
    Ok(Wanted {
        name: names::link(&settings.link)?,
        bridge: names::link(&settings.bridge)?,
        vni: names::vni(settings.vni)?,
        mtu: names::mtu(settings.mtu)?,
        local: names::underlay(&settings.local)?,
    })
}

/// Whether the settings are some.
pub(crate) fn check(settings: &TunnelSettings) -> Result<(), NetworkError> {
    read(settings).map(drop)
}

pub(crate) async fn make(settings: &TunnelSettings) -> Result<(), NetworkError> {
    let wanted = read(settings)?;
    let links = Links::here()?;
    links.get(wanted.bridge).await?;
    if let Some(found) = links.find(wanted.name).await? {
        if found.vxlan.is_empty() {
            return Err(NetworkError::Taken(format!("link {}", wanted.name)));
        }
        if !has_settings(&found, &wanted) {
            // None of them can be changed on a link that lives.
            links.remove(wanted.name).await?;
            symphony_crash::point("network.tunnel.removed");
        }
    }
    let message = LinkVxlan::new(wanted.name, wanted.vni)
        .local(*wanted.local.ip())
        .port(wanted.local.port())
        .learning(false)
        .mtu(wanted.mtu)
        .build();
    links.add(message, wanted.name).await?;
    symphony_crash::point("network.tunnel.made");
    gateway::quiet(wanted.name)?;
    links.set_mtu(wanted.name, wanted.mtu).await?;
    links.attach(wanted.name, wanted.bridge).await?;
    symphony_crash::point("network.tunnel.attached");
    // Before it is up: not a single packet is flooded.
    let index = links.get(wanted.name).await?.index;
    let port = LinkBridgePort::new(index)
        .learning(false)
        .flood(false)
        .mcast_flood(false)
        .bcast_flood(false)
        .neigh_suppress(true);
    links.set_port(port.build(), format!("quieten {}", wanted.name)).await?;
    links.up(wanted.name).await
}

pub(crate) async fn stands(settings: &TunnelSettings) -> Result<bool, NetworkError> {
    let (wanted, links) = (read(settings)?, Links::here()?);
    let Some(found) = links.find(wanted.name).await? else {
        return Ok(false);
    };
    let bridge = links.find(wanted.bridge).await?.map(|bridge| bridge.index);
    let is_port = found.bridge.is_some() && found.bridge == bridge;
    Ok(is_port && found.is_up && found.mtu == wanted.mtu && has_settings(&found, &wanted) && is_quiet(&found))
}

fn has_settings(found: &Link, wanted: &Wanted<'_>) -> bool {
    [
        InfoVxlan::Id(wanted.vni),
        InfoVxlan::Local(*wanted.local.ip()),
        InfoVxlan::Port(wanted.local.port()),
        InfoVxlan::Learning(false),
    ]
    .iter()
    .all(|info| found.vxlan.contains(info))
}

fn is_quiet(found: &Link) -> bool {
    [
        InfoBridgePort::Learning(false),
        InfoBridgePort::UnicastFlood(false),
        InfoBridgePort::MulticastFlood(false),
        InfoBridgePort::BroadcastFlood(false),
        InfoBridgePort::NeighSupress(true),
    ]
    .iter()
    .all(|info| found.port.contains(info))
}

/// Removes the link, with its routes, and what the bridge answers for peers.
pub(crate) async fn remove(name: &str, bridge: &str) -> Result<(), NetworkError> {
    let links = Links::here()?;
    if links.find(bridge).await?.is_some_and(|link| link.is_bridge) {
        Peers::read(&links, name, bridge).await?.forget_answers().await?;
    }
    symphony_crash::point("network.tunnel.forgotten");
    if links.find(name).await?.is_some_and(|link| !link.vxlan.is_empty()) {
        links.remove(name).await?;
    }
    symphony_crash::point("network.tunnel.unlinked");
    nft::remove(None, "ip", &peers::guard_table(name)).await
}
