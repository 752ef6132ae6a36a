//! What may stand in a network's plan, and when a network is as it should be.

use std::collections::HashSet;
use std::hash::Hash;

use crate::plan::PlanFault;

use super::settings::{PeerFilter, PortFilter, Route};
use super::{FoundNetwork, Intent, Peer, Port, Step};

/// Every name, MAC and address in a step is one that the intent gives: a plugin can't reach another network, nor let a
/// port speak for another.
pub(super) fn own_names(intent: &Intent, position: usize, step: &Step) -> Result<(), PlanFault> {
    let given = |given: &str, own: &str| {
        if given == own {
            Ok(())
        } else {
            Err(foreign(position, given))
        }
    };
    let known = |is_known: bool, name: &str| if is_known { Ok(()) } else { Err(foreign(position, name)) };
    match step {
        Step::MakeBridge(settings) => {
            given(&settings.bridge, &intent.bridge)?;
            given(&settings.mtu.to_string(), &intent.mtu.to_string())
        }
        Step::MakeGateway(settings) => {
            given(&settings.bridge, &intent.bridge)?;
            given(&settings.namespace, &intent.namespace)?;
            given(&settings.address, &intent.gateway)?;
            given(&settings.mac, &intent.gateway_mac)?;
            given(&settings.mtu.to_string(), &intent.mtu.to_string())?;
            given(&settings.prefix.to_string(), prefix(&intent.subnet))
        }
        Step::ServeDhcp(settings) => {
            given(&settings.namespace, &intent.namespace)?;
            given(&settings.subnet, &intent.subnet)?;
            given(&settings.gateway, &intent.gateway)?;
            settings.hosts.iter().try_for_each(|host| {
                let own = |port: &Port| port.mac == host.mac && port.address == host.address;
                known(intent.ports.iter().any(own), &host.mac)
            })?;
            let peers: HashSet<(&str, &str)> = intent
                .peers
                .iter()
                .map(|peer| (&*peer.address, &*peer.hostname))
                .collect();
            settings
                .names
                .iter()
                .try_for_each(|name| known(peers.contains(&(&*name.address, &*name.hostname)), &name.hostname))
        }
        Step::SetNat(settings) => {
            given(&settings.namespace, &intent.namespace)?;
            given(&settings.subnet, &intent.subnet)?;
            if settings.enabled && !intent.nat {
                return Err(against(position, step));
            }
            Ok(())
        }
        Step::SetFilter(settings) => {
            given(&settings.bridge, &intent.bridge)?;
            given(&settings.gateway, &intent.gateway)?;
            settings.ports.iter().try_for_each(|filter| {
                known(intent.ports.iter().any(|port| is_filter_of(filter, port)), &filter.link)
            })?;
            let link = intent.tunnel.as_ref().map(|tunnel| &tunnel.link);
            settings
                .tunnel
                .as_ref()
                .map_or(Ok(()), |given| known(Some(given) == link, given))?;
            // All of them: one that is left out would not be heard.
            known(are_heard(intent, &settings.peers), "peers")
        }
        Step::MakeTunnel(settings) => {
            let tunnel = intent.tunnel.as_ref().ok_or_else(|| against(position, step))?;
            given(&settings.bridge, &intent.bridge)?;
            given(&settings.link, &tunnel.link)?;
            given(&settings.vni.to_string(), &tunnel.vni.to_string())?;
            given(&settings.mtu.to_string(), &intent.mtu.to_string())?;
            given(&settings.local, &tunnel.local)
        }
        Step::SetPeers(settings) => {
            let tunnel = intent.tunnel.as_ref().ok_or_else(|| against(position, step))?;
            given(&settings.bridge, &intent.bridge)?;
            given(&settings.link, &tunnel.link)?;
            known(are_routes(intent, &settings.peers), "peers")
        }
        Step::DropTunnel { .. } if intent.tunnel.is_some() => Err(against(position, step)),
        Step::SetRates(settings) => settings
            .ports
            .iter()
            .try_for_each(|rate| known(intent.ports.iter().any(|port| port.link == rate.link), &rate.link)),
        Step::DropTunnel { .. } | Step::Remove { .. } => Ok(()),
    }
}

/// Whether what is said of peers is what the intent says of them: all of them, each once.
fn exactly<'a, T: Eq + Hash>(
    intent: &'a Intent,
    mut said: impl Iterator<Item = T>,
    of: impl Fn(&'a Peer) -> T,
) -> bool {
    let mut left: HashSet<T> = intent.peers.iter().map(of).collect();
    said.all(|one| left.remove(&one)) && left.is_empty()
}

fn whole(peer: &Peer) -> (&str, &str, &str) {
    (&peer.mac, &peer.address, &peer.remote)
}

fn voice(peer: &Peer) -> (&str, &str) {
    (&peer.mac, &peer.address)
}

fn are_routes(intent: &Intent, routes: &[Route]) -> bool {
    exactly(
        intent,
        routes
            .iter()
            .map(|route| (&*route.mac, &*route.address, &*route.remote)),
        whole,
    )
}

fn are_heard(intent: &Intent, filters: &[PeerFilter]) -> bool {
    exactly(intent, filters.iter().map(|peer| (&*peer.mac, &*peer.address)), voice)
}

fn is_filter_of(filter: &PortFilter, port: &Port) -> bool {
    filter.link == port.link && filter.mac == port.mac && filter.address == port.address && filter.allow == port.allow
}

fn prefix(subnet: &str) -> &str {
    subnet.split_once('/').map_or("", |(_, prefix)| prefix)
}

/// A network serves its ports when the bridge stands, the gateway answers, and every port has its own filter.
pub(super) fn is_as_wanted(intent: &Intent, found: &FoundNetwork) -> bool {
    let bridge = found
        .bridge
        .as_ref()
        .is_some_and(|bridge| bridge.bridge == intent.bridge && bridge.mtu == intent.mtu);
    let gateway = found
        .gateway
        .as_ref()
        .is_some_and(|gateway| gateway.address == intent.gateway && gateway.mac == intent.gateway_mac);
    let nat = found.nat.as_ref().is_some_and(|nat| nat.enabled) == intent.nat;
    let served = found.dhcp.as_ref().is_some_and(|dhcp| {
        let has = |port: &Port| {
            dhcp.hosts
                .iter()
                .any(|host| host.mac == port.mac && host.address == port.address)
        };
        dhcp.hosts.len() == intent.ports.len() && intent.ports.iter().all(has)
    });
    let filtered = found.filter.as_ref().is_some_and(|filter| {
        let has = |port: &Port| filter.ports.iter().any(|filter| is_filter_of(filter, port));
        filter.ports.len() == intent.ports.len() && intent.ports.iter().all(has)
    });
    bridge && gateway && nat && served && filtered && is_connected(intent, found)
}

/// Every peer has its route and is heard; without peers there is no tunnel.
fn is_connected(intent: &Intent, found: &FoundNetwork) -> bool {
    let Some(tunnel) = &intent.tunnel else {
        return found.tunnel.is_none();
    };
    let stands = found.tunnel.as_ref().is_some_and(|found| {
        (&found.link, found.vni, &found.local, found.mtu) == (&tunnel.link, tunnel.vni, &tunnel.local, intent.mtu)
    });
    let routed = found
        .peers
        .as_ref()
        .is_some_and(|found| are_routes(intent, &found.peers));
    let heard = found
        .filter
        .as_ref()
        .is_some_and(|filter| filter.tunnel.as_ref() == Some(&tunnel.link) && are_heard(intent, &filter.peers));
    stands && routed && heard
}

pub(super) fn foreign(step: usize, object: &str) -> PlanFault {
    PlanFault::ForeignObject {
        step,
        object: object.to_owned(),
    }
}

pub(super) fn against(position: usize, step: &Step) -> PlanFault {
    PlanFault::AgainstIntent {
        step: position,
        action: step.action(),
    }
}
