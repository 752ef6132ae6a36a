//! Links, addresses and routes of one namespace, by netlink. What is there already is left as it is.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd as _;

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::{Error, Handle, LinkBridge, LinkUnspec, LinkVeth, RouteMessageBuilder};
use tokio::task::JoinHandle;

use crate::{NetworkError, namespace};

const NO_DEVICE: i32 = -19;
const EXISTS: i32 = -17;
/// There is no such entry in a table.
pub(crate) const NO_ENTRY: i32 = -2;

/// A link as the kernel describes it.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) is_bridge: bool,
    pub(crate) is_up: bool,
    /// The bridge that it is a port of.
    pub(crate) bridge: Option<u32>,
    /// The longest packet.
    pub(crate) mtu: u32,
    pub(crate) mac: Vec<u8>,
    /// How it is as a port of its bridge.
    pub(crate) port: Vec<InfoBridgePort>,
    /// How it is as a tunnel; empty when it is none.
    pub(crate) vxlan: Vec<InfoVxlan>,
}

impl Link {
    /// The number of a tunnel.
    pub(crate) fn vni(&self) -> Option<u32> {
        self.vxlan.iter().find_map(|info| match info {
            InfoVxlan::Id(vni) => Some(*vni),
            _ => None,
        })
    }

    /// The UDP port of a tunnel.
    pub(crate) fn vxlan_port(&self) -> Option<u16> {
        self.vxlan.iter().find_map(|info| match info {
            InfoVxlan::Port(port) => Some(*port),
            _ => None,
        })
    }
}

/// The links of one namespace.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) handle: Handle,
    connection: JoinHandle<()>,
}

impl Drop for Links {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

pub(crate) fn refused(what: impl Into<String>) -> impl FnOnce(Error) -> NetworkError {
    let what = what.into();
    |source| NetworkError::Kernel { what, source }
}

pub(crate) fn is(error: &Error, code: i32) -> bool {
    matches!(error, Error::NetlinkError(message) if message.raw_code() == code)
}

impl Links {
    /// Those of the node.
    pub(crate) fn here() -> Result<Self, NetworkError> {
        let opened = rtnetlink::new_connection();
        let (connection, handle, _) = opened.map_err(crate::error::file("netlink", "opened"))?;
        let connection = tokio::spawn(connection);
        Ok(Self { handle, connection })
    }

    /// Those of a namespace: a socket stays in the namespace that it was opened in.
    pub(crate) fn inside(name: &str) -> Result<Self, NetworkError> {
        let runtime = tokio::runtime::Handle::current();
        namespace::within(name, || {
            let _entered = runtime.enter();
            Self::here()
        })?
    }

    pub(crate) async fn find(&self, name: &str) -> Result<Option<Link>, NetworkError> {
        let mut found = Box::pin(self.handle.link().get().match_name(name).execute());
        match found.try_next().await {
            Ok(message) => Ok(message.as_ref().map(link)),
            Err(error) if is(&error, NO_DEVICE) => Ok(None),
            Err(error) => Err(refused(format!("show {name}"))(error)),
        }
    }

    pub(crate) async fn get(&self, name: &str) -> Result<Link, NetworkError> {
        let missing = || NetworkError::Missing(format!("link {name}"));
        self.find(name).await?.ok_or_else(missing)
    }

    /// A bridge that forwards at once, without the spanning tree's delay. Not up yet.
    pub(crate) async fn make_bridge(&self, name: &str) -> Result<(), NetworkError> {
        let bridge = LinkBridge::new(name).forward_delay(0).build();
        self.add(bridge, name).await
    }

    pub(crate) async fn make_pair(&self, one: &str, other: &str) -> Result<(), NetworkError> {
        self.add(LinkVeth::new(one, other).build(), one).await
    }

    pub(crate) async fn add(&self, message: LinkMessage, name: &str) -> Result<(), NetworkError> {
        match self.handle.link().add(message).execute().await {
            Err(error) if !is(&error, EXISTS) => Err(refused(format!("make {name}"))(error)),
            _ => Ok(()),
        }
    }

    pub(crate) async fn remove(&self, name: &str) -> Result<(), NetworkError> {
        let Some(link) = self.find(name).await? else {
            return Ok(());
        };
        match self.handle.link().del(link.index).execute().await {
            Err(error) if !is(&error, NO_DEVICE) => Err(refused(format!("remove {name}"))(error)),
            _ => Ok(()),
        }
    }

    pub(crate) async fn set_mtu(&self, name: &str, mtu: u32) -> Result<(), NetworkError> {
        let link = self.get(name).await?;
        if link.mtu == mtu {
            return Ok(());
        }
        let message = LinkUnspec::new_with_index(link.index).mtu(mtu).build();
        self.set(message, format!("give {name} packets of {mtu} bytes")).await
    }

    pub(crate) async fn set_mac(&self, name: &str, mac: [u8; 6]) -> Result<(), NetworkError> {
        let link = self.get(name).await?;
        if link.mac == mac {
            return Ok(());
        }
        let message = LinkUnspec::new_with_index(link.index).address(mac.to_vec()).build();
        self.set(message, format!("give {name} its MAC")).await
    }

    async fn set(&self, message: LinkMessage, what: String) -> Result<(), NetworkError> {
        self.handle.link().set(message).execute().await.map_err(refused(what))
    }

    /// How a link is as a port of its bridge.
    pub(crate) async fn set_port(&self, message: LinkMessage, what: String) -> Result<(), NetworkError> {
        let set = self.handle.link().set_port(message).execute().await;
        set.map_err(refused(what))
    }

    pub(crate) async fn up(&self, name: &str) -> Result<(), NetworkError> {
        let link = self.get(name).await?;
        let message = LinkUnspec::new_with_index(link.index).up().build();
        self.set(message, format!("start {name}")).await
    }

    pub(crate) async fn attach(&self, name: &str, bridge: &str) -> Result<(), NetworkError> {
        let (link, bridge) = (self.get(name).await?, self.get(bridge).await?);
        if link.bridge == Some(bridge.index) {
            return Ok(());
        }
        let message = LinkUnspec::new_with_index(link.index).controller(bridge.index).build();
        self.set(message, format!("make {name} a port")).await
    }

    /// Moves a link to the node's namespace.
    pub(crate) async fn bring_home(&self, name: &str) -> Result<(), NetworkError> {
        let link = self.get(name).await?;
        let path = "/proc/self/ns/net";
        let home = std::fs::File::open(path).map_err(crate::error::file(path, "opened"))?;
        let message = LinkUnspec::new_with_index(link.index)
            .setns_by_fd(home.as_raw_fd())
            .build();
        self.set(message, format!("move {name}")).await
    }

    /// All IPv4 addresses of the namespace: the link's index, the address, the prefix.
    pub(crate) async fn addresses(&self) -> Result<Vec<(u32, Ipv4Addr, u8)>, NetworkError> {
        let stream = self.handle.address().get().execute();
        let all: Vec<_> = stream.try_collect().await.map_err(refused("show addresses"))?;
        let local = |attributes: &[AddressAttribute]| {
            attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
                _ => None,
            })
        };
        let known = all.iter().filter_map(|message| {
            let header = &message.header;
            Some((header.index, local(&message.attributes)?, header.prefix_len))
        });
        Ok(known.collect())
    }

    pub(crate) async fn has_address(&self, name: &str, address: Ipv4Addr, prefix: u8) -> Result<bool, NetworkError> {
        let link = self.get(name).await?;
        Ok(self.addresses().await?.contains(&(link.index, address, prefix)))
    }

    /// Makes this the only IPv4 address of a link.
    pub(crate) async fn set_address(&self, name: &str, address: Ipv4Addr, prefix: u8) -> Result<(), NetworkError> {
        let link = self.get(name).await?;
        let stream = self.handle.address().get().set_link_index_filter(link.index).execute();
        let all: Vec<_> = stream.try_collect().await.map_err(refused("show addresses"))?;
        let mut is_there = false;
        for message in all {
            let local = |attribute: &AddressAttribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(found)) => Some(*found),
                _ => None,
            };
            let Some(found) = message.attributes.iter().find_map(local) else {
                continue;
            };
            if (found, message.header.prefix_len) == (address, prefix) {
                is_there = true;
            } else {
                let gone = self.handle.address().del(message).execute().await;
                gone.map_err(refused(format!("take {found} from {name}")))?;
            }
        }
        if is_there {
            return Ok(());
        }
        let added = self
            .handle
            .address()
            .add(link.index, IpAddr::V4(address), prefix)
            .execute()
            .await;
        added.map_err(refused(format!("give {address} to {name}")))
    }

    pub(crate) async fn default_route(&self, gateway: Ipv4Addr) -> Result<(), NetworkError> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build();
        let added = self.handle.route().add(route).replace().execute().await;
        added.map_err(refused(format!("route by {gateway}")))
    }
}

fn link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        is_bridge: false,
        is_up: message.header.flags.contains(LinkFlags::Up),
        bridge: None,
        mtu: 0,
        mac: Vec::new(),
        port: Vec::new(),
        vxlan: Vec::new(),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Controller(index) => link.bridge = Some(*index),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(mac) => link.mac.clone_from(mac),
            LinkAttribute::LinkInfo(infos) => infos.iter().for_each(|info| link.note(info)),
            _ => {}
        }
    }
    link
}

impl Link {
    fn note(&mut self, info: &LinkInfo) {
        match info {
            LinkInfo::Kind(kind) => self.is_bridge = *kind == InfoKind::Bridge,
            LinkInfo::Data(InfoData::Vxlan(infos)) => self.vxlan.clone_from(infos),
            LinkInfo::PortData(InfoPortData::BridgePort(infos)) => self.port.clone_from(infos),
            _ => {}
        }
    }
}
