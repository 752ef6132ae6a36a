//! The bridge, and the namespace with the gateway's address. Owns the pairs of links that lead out of the namespace; never
//! makes a tap.

use symphony_core::plan::network::{BridgeSettings, GatewaySettings};

use crate::links::{Link, Links};
use crate::{NetworkError, names, namespace};

/// The gateway's link within its namespace.
pub(crate) const GATEWAY: &str = "gw";
/// The length of packets of a link that was told none.
const ETHERNET: u16 = 1_500;

pub(crate) async fn make_bridge(settings: &BridgeSettings) -> Result<(), NetworkError> {
    let name = names::link(&settings.bridge)?;
    let links = Links::here()?;
    links.make_bridge(name).await?;
    symphony_crash::point("network.bridge.made");
    if !links.get(name).await?.is_bridge {
        return Err(NetworkError::Taken(format!("link {name}")));
    }
    quiet(name)?;
    // By our own hand both stay, whatever links come into the bridge: with another MAC it would forget what it answers.
    links.set_mac(name, names::bridge_mac(name)).await?;
    links.set_mtu(name, mtu(settings.mtu)?).await?;
    links.up(name).await
}

/// What was written down before networks had a length of packets has none.
fn mtu(given: u16) -> Result<u32, NetworkError> {
    names::mtu(if given == 0 { ETHERNET } else { given })
}

/// The node answers nothing on the link: neither IPv6 nor, as it would for all its addresses on any link, ARP.
pub(crate) fn quiet(name: &str) -> Result<(), NetworkError> {
    namespace::set(&format!("ipv6/conf/{name}/disable_ipv6"), "1")?;
    namespace::set(&format!("ipv4/conf/{name}/arp_ignore"), "8")
}

pub(crate) async fn bridge_stands(settings: &BridgeSettings) -> Result<bool, NetworkError> {
    let found = Links::here()?.find(&settings.bridge).await?;
    let mtu = mtu(settings.mtu)?;
    let mac = names::bridge_mac(&settings.bridge);
    Ok(found.is_some_and(|link| link.is_bridge && link.is_up && link.mtu == mtu && link.mac == mac))
}

pub(crate) async fn make(settings: &GatewaySettings) -> Result<(), NetworkError> {
    let (name, bridge) = (names::namespace(&settings.namespace)?, names::link(&settings.bridge)?);
    let address = names::address(&settings.address)?;
    let (mac, mtu) = (names::mac_bytes(&settings.mac)?, mtu(settings.mtu)?);
    if !(1..=30).contains(&settings.prefix) {
        let value = settings.prefix.to_string();
        return Err(NetworkError::Invalid {
            what: "a prefix",
            value,
        });
    }
    let links = Links::here()?;
    links.get(bridge).await?;
    namespace::make(name).await?;
    symphony_crash::point("network.gateway.namespace");
    namespace::within(name, || {
        namespace::set("ipv6/conf/all/disable_ipv6", "1")?;
        namespace::set("ipv6/conf/default/disable_ipv6", "1")
    })??;
    let inside = Links::inside(name)?;
    let outer = names::gateway_link(bridge);
    connect(&inside, &links, GATEWAY, &outer).await?;
    symphony_crash::point("network.gateway.connected");
    namespace::set(&format!("ipv6/conf/{outer}/disable_ipv6"), "1")?;
    inside.up("lo").await?;
    inside.set_mac(GATEWAY, mac).await?;
    inside.set_mtu(GATEWAY, mtu).await?;
    links.set_mtu(&outer, mtu).await?;
    inside.set_address(GATEWAY, address, settings.prefix).await?;
    inside.up(GATEWAY).await?;
    links.attach(&outer, bridge).await?;
    links.up(&outer).await
}

pub(crate) async fn stands(settings: &GatewaySettings) -> Result<bool, NetworkError> {
    if !namespace::exists(&settings.namespace) {
        return Ok(false);
    }
    let (links, inside) = (Links::here()?, Links::inside(&settings.namespace)?);
    let outer = links.find(&names::gateway_link(&settings.bridge)).await?;
    let bridge = links.find(&settings.bridge).await?.map(|bridge| bridge.index);
    let is_port = outer.is_some_and(|outer| outer.is_up && outer.bridge.is_some() && outer.bridge == bridge);
    let (mac, mtu) = (names::mac_bytes(&settings.mac).ok(), mtu(settings.mtu)?);
    let is_own = |link: &Link| mac.is_some_and(|mac| link.mac == mac) && link.mtu == mtu;
    let is_up = inside
        .find(GATEWAY)
        .await?
        .is_some_and(|link| link.is_up && is_own(&link));
    let address = names::address(&settings.address)?;
    Ok(is_port && is_up && inside.has_address(GATEWAY, address, settings.prefix).await?)
}

/// A pair of links from the namespace (`inner`) to the node (`outer`), whatever there is of it. It is made inside, so that
/// a namespace that ends takes a half-made pair along.
pub(crate) async fn connect(inside: &Links, home: &Links, inner: &str, outer: &str) -> Result<(), NetworkError> {
    let is_inside = inside.find(inner).await?.is_some();
    if is_inside && home.find(outer).await?.is_some() {
        return Ok(());
    }
    if !is_inside || inside.find(outer).await?.is_none() {
        // Halves of a pair whose other end went elsewhere.
        home.remove(outer).await?;
        inside.remove(inner).await?;
        inside.remove(outer).await?;
        inside.make_pair(inner, outer).await?;
        symphony_crash::point("network.connect.paired");
    }
    inside.bring_home(outer).await
}
