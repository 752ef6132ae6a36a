//! Networks: intents, facts and steps, and the trait that turns the first two into the third.

use crate::bindings::network::exports::symphony::plugin::network_driver::Guest;

pub use crate::bindings::network::exports::symphony::plugin::network_driver::{
    BridgeSettings, DhcpHost, DhcpSettings, DnsName, Fact, FilterSettings, FoundNetwork, GatewaySettings, Intent,
    NatSettings, NetworkFact, Peer, PeerFilter, PeersSettings, Port, PortFilter, PortRate, Probe, Protocol,
    RateSettings, Route, Rule, Step, Tunnel, TunnelSettings,
};

driver! {
    /// Plans how a network is made, changed and removed on one node that has ports on it.
    ///
    /// Names of links, addresses and rules are given; a step may use no others. The filter should stand before anything
    /// can be connected to the bridge.
    NetworkDriver
}
