//! Where the peers of a network are: for each an entry of the tunnel (which node), one of the bridge (by the tunnel) and
//! one that lets the bridge answer who asks for its address. The set is absolute: only the difference is touched. And a
//! table that takes the network's packets from the nodes of peers alone: VXLAN itself asks nobody who they are.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourHeader, NeighbourMessage, NeighbourState,
};
use symphony_core::plan::network::{PEERS_MAX, PeersSettings};

use crate::links::{Links, NO_ENTRY, is, refused};
use crate::nft::Table;
use crate::{NetworkError, names};

type Mac = [u8; 6];

/// The three tables.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tables {
    /// Of the tunnel: on which node a MAC is.
    remotes: BTreeSet<(Mac, SocketAddrV4)>,
    /// Of the bridge: MACs that are behind the tunnel.
    behind: BTreeSet<Mac>,
    /// Of the bridge: what it answers to ARP.
    answers: BTreeSet<(Ipv4Addr, Mac)>,
}

impl Tables {
    fn wanted(settings: &PeersSettings) -> Result<Self, NetworkError> {
        if settings.peers.len() > PEERS_MAX {
            let value = settings.peers.len().to_string();
            return Err(NetworkError::Invalid {
                what: "a number of peers",
                value,
            });
        }
        let mut wanted = Self::default();
        for peer in &settings.peers {
            let mac = names::mac_bytes(&peer.mac)?;
            wanted.remotes.insert((mac, names::underlay(&peer.remote)?));
            wanted.behind.insert(mac);
            wanted.answers.insert((names::address(&peer.address)?, mac));
        }
        Ok(wanted)
    }
}

/// Whether the settings are some.
pub(crate) fn check(settings: &PeersSettings) -> Result<(), NetworkError> {
    names::link(&settings.link)?;
    names::link(&settings.bridge)?;
    Tables::wanted(settings).map(drop)
}

pub(crate) async fn set(settings: &PeersSettings) -> Result<(), NetworkError> {
    let wanted = Tables::wanted(settings)?;
    let links = Links::here()?;
    let (tunnel, bridge) = (names::link(&settings.link)?, names::link(&settings.bridge)?);
    let peers = Peers::read(&links, tunnel, bridge).await?;
    if peers.tunnel.is_none() {
        return Err(NetworkError::Missing(format!("link {tunnel}")));
    }
    // Answers go first and come last: who is answered can be reached.
    peers.take(&wanted).await?;
    if let Some(guard) = peers.guard(tunnel, &wanted) {
        guard.replace(None).await?;
    }
    symphony_crash::point("network.peers.taken");
    peers.give(&wanted).await
}

/// Whether the kernel has these routes and no others.
pub(crate) async fn stand(settings: &PeersSettings) -> Result<bool, NetworkError> {
    let (wanted, links) = (Tables::wanted(settings)?, Links::here()?);
    if links.find(&settings.bridge).await?.is_none() {
        return Ok(false);
    }
    let peers = Peers::read(&links, &settings.link, &settings.bridge).await?;
    let is_guarded = match peers.guard(&settings.link, &wanted) {
        Some(guard) => guard.stands(None).await?,
        None => false,
    };
    Ok(is_guarded && peers.found == wanted)
}

/// The table of a tunnel's link.
pub(crate) fn guard_table(link: &str) -> String {
    format!("sy_tunnel_{}", names::short(link))
}

/// What the kernel has of one tunnel.
pub(crate) struct Peers<'a> {
    links: &'a Links,
    tunnel: Option<u32>,
    /// The tunnel's number and UDP port.
    number: Option<(u32, u16)>,
    bridge: u32,
    found: Tables,
}

impl<'a> Peers<'a> {
    /// Reads the tables. The bridge has to be there; without a tunnel there are no routes.
    pub(crate) async fn read(links: &'a Links, tunnel: &str, bridge: &str) -> Result<Self, NetworkError> {
        let bridge = links.get(bridge).await?.index;
        let link = links.find(tunnel).await?.filter(|link| !link.vxlan.is_empty());
        let mut peers = Self {
            links,
            tunnel: link.as_ref().map(|link| link.index),
            number: link.as_ref().and_then(|link| Some((link.vni()?, link.vxlan_port()?))),
            bridge,
            found: Tables::default(),
        };
        if let Some(link) = &link {
            let port = link.vxlan_port().unwrap_or_default();
            for message in peers.dump(AddressFamily::Bridge, link.index).await? {
                peers.found.note_forwarding(&message, port);
            }
        }
        for message in peers.dump(AddressFamily::Inet, bridge).await? {
            if message.header.state == NeighbourState::Permanent
                && let (Some(address), Some(mac)) = (address(&message), mac(&message))
            {
                peers.found.answers.insert((address, mac));
            }
        }
        Ok(peers)
    }

    async fn dump(&self, family: AddressFamily, index: u32) -> Result<Vec<NeighbourMessage>, NetworkError> {
        let all = self
            .links
            .handle
            .neighbours()
            .get()
            .set_address_family(family)
            .execute();
        let of_link = all.try_filter(|message| std::future::ready(message.header.ifindex == index));
        of_link.try_collect().await.map_err(refused("show where peers are"))
    }

    /// Drops the network's packets of whoever is not the node of a peer. The number is the third word of what UDP carries.
    fn guard(&self, link: &str, wanted: &Tables) -> Option<Table> {
        let (vni, port) = self.number?;
        let nodes: BTreeSet<&Ipv4Addr> = wanted.remotes.iter().map(|(_, remote)| remote.ip()).collect();
        let nodes: Vec<String> = nodes.into_iter().map(ToString::to_string).collect();
        let others = match nodes.as_slice() {
            [] => String::new(),
            nodes => format!("ip saddr != {{ {} }} ", nodes.join(", ")),
        };
        let body = format!(
            "chain in {{ type filter hook input priority -10; policy accept;\nudp dport {port} @th,96,24 {vni} {others}drop\n}}\n"
        );
        Some(Table::new("ip", guard_table(link), body))
    }

    async fn take(&self, wanted: &Tables) -> Result<(), NetworkError> {
        for (address, _) in self.found.answers.difference(&wanted.answers) {
            self.forget_answer(*address).await?;
        }
        let Some(tunnel) = self.tunnel else { return Ok(()) };
        for mac in self.found.behind.difference(&wanted.behind) {
            self.del(entry(tunnel, mac, NeighbourFlags::Controller), mac).await?;
        }
        // One that only moves is replaced.
        let kept: BTreeSet<&Mac> = wanted.remotes.iter().map(|(mac, _)| mac).collect();
        for (mac, _) in self.found.remotes.iter().filter(|(mac, _)| !kept.contains(mac)) {
            self.del(entry(tunnel, mac, NeighbourFlags::Own), mac).await?;
        }
        Ok(())
    }

    async fn give(&self, wanted: &Tables) -> Result<(), NetworkError> {
        let Some(tunnel) = self.tunnel else { return Ok(()) };
        let neighbours = self.links.handle.neighbours();
        for (mac, remote) in wanted.remotes.difference(&self.found.remotes) {
            let mut entry = neighbours
                .add_bridge(tunnel, mac)
                .destination(IpAddr::V4(*remote.ip()))
                .flags(NeighbourFlags::Own)
                .replace();
            entry
                .message_mut()
                .attributes
                .push(NeighbourAttribute::Port(remote.port()));
            entry.execute().await.map_err(refused(said("say where", mac)))?;
        }
        symphony_crash::point("network.peers.routed");
        for mac in wanted.behind.difference(&self.found.behind) {
            let entry = neighbours.add_bridge(tunnel, mac).state(NeighbourState::Noarp);
            let entry = entry.flags(NeighbourFlags::Controller).replace();
            entry
                .execute()
                .await
                .map_err(refused(said("put behind the tunnel", mac)))?;
        }
        for (address, mac) in wanted.answers.difference(&self.found.answers) {
            let entry = neighbours
                .add(self.bridge, IpAddr::V4(*address))
                .link_layer_address(mac);
            entry
                .replace()
                .execute()
                .await
                .map_err(refused(said("answer for", mac)))?;
        }
        Ok(())
    }

    /// Lets the bridge answer for nobody.
    pub(crate) async fn forget_answers(&self) -> Result<(), NetworkError> {
        for (address, _) in &self.found.answers {
            self.forget_answer(*address).await?;
        }
        Ok(())
    }

    async fn forget_answer(&self, address: Ipv4Addr) -> Result<(), NetworkError> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.ifindex = self.bridge;
        let destination = NeighbourAttribute::Destination(NeighbourAddress::Inet(address));
        message.attributes.push(destination);
        self.gone(message, format!("answer for {address} no more")).await
    }

    async fn del(&self, message: NeighbourMessage, mac: &Mac) -> Result<(), NetworkError> {
        self.gone(message, said("forget", mac)).await
    }

    async fn gone(&self, message: NeighbourMessage, what: String) -> Result<(), NetworkError> {
        match self.links.handle.neighbours().del(message).execute().await {
            Err(error) if !is(&error, NO_ENTRY) => Err(refused(what)(error)),
            _ => Ok(()),
        }
    }
}

impl Tables {
    /// Takes note of an entry of the tunnel's or the bridge's forwarding. `port` is what the tunnel sends to when an entry
    /// says none.
    fn note_forwarding(&mut self, message: &NeighbourMessage, port: u16) {
        let Some(mac) = mac(message) else { return };
        let is_of_bridge = message
            .attributes
            .iter()
            .any(|attribute| matches!(attribute, NeighbourAttribute::Controller(_)));
        if is_of_bridge {
            // The link's own MAC is kept as permanent; what was learned is neither.
            if message.header.state == NeighbourState::Noarp {
                self.behind.insert(mac);
            }
        } else if let Some(address) = address(message) {
            let given = message.attributes.iter().find_map(|attribute| match attribute {
                NeighbourAttribute::Port(port) => Some(*port),
                _ => None,
            });
            self.remotes
                .insert((mac, SocketAddrV4::new(address, given.unwrap_or(port))));
        }
    }
}

fn entry(index: u32, mac: &Mac, flags: NeighbourFlags) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header = NeighbourHeader {
        family: AddressFamily::Bridge,
        ifindex: index,
        flags,
        ..NeighbourHeader::default()
    };
    message
        .attributes
        .push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    message
}

fn mac(message: &NeighbourMessage) -> Option<Mac> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(mac) => mac.as_slice().try_into().ok(),
        _ => None,
    })
}

/// Entries of forwarding have addresses of any family: they come as bytes.
fn address(message: &NeighbourMessage) -> Option<Ipv4Addr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(*address),
        NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => {
            Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.as_slice()).ok()?))
        }
        _ => None,
    })
}

fn said(what: &str, mac: &Mac) -> String {
    let mac: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{what} {}", mac.join(":"))
}
