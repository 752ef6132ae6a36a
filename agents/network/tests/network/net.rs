//! A network as a driver would want it, and its steps.

use symphony_core::plan::network::{
    BridgeSettings, DhcpHost, DhcpSettings, DnsName, Fact, FilterSettings, FoundNetwork, GatewaySettings, NatSettings,
    PeerFilter, PeersSettings, PortFilter, PortRate, Probe, RateSettings, Route, Rule, Step, TunnelSettings,
};
use symphony_network::Networks;

/// What is wanted; the subnet is 10.0.0.0/24 and the gateway .1 for all.
#[derive(Debug, Clone)]
pub(crate) struct Net {
    number: u8,
    pub(crate) ports: Vec<u8>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) nat: bool,
    pub(crate) rate_bits: u64,
    pub(crate) mtu: u16,
    /// Tells the names of one node's part from those of another's on the same kernel.
    pub(crate) side: &'static str,
    /// The namespace that stands for the node; none: this one.
    pub(crate) home: Option<&'static str>,
    /// Where the node is reached; none: no tunnel.
    pub(crate) local: Option<String>,
    /// The machines on other nodes, and where those are reached.
    pub(crate) peers: Vec<(u8, String)>,
}

impl Net {
    /// Network `number`, with ports for the machines whose addresses end with these.
    pub(crate) fn new(number: u8, ports: &[u8]) -> Self {
        Self {
            number,
            ports: ports.to_vec(),
            rules: Vec::new(),
            nat: false,
            rate_bits: 0,
            mtu: 1_450,
            side: "",
            home: None,
            local: None,
            peers: Vec::new(),
        }
    }

    pub(crate) fn object(&self) -> String {
        format!("01890000-0000-7000-8000-0000000000{:02x}", self.number)
    }

    pub(crate) fn bridge(&self) -> String {
        format!("br{}{}", self.number, self.side)
    }

    pub(crate) fn namespace(&self) -> String {
        format!("sy-{}{}", self.number, self.side)
    }

    pub(crate) fn link(&self, port: u8) -> String {
        format!("tap{}{}-{port}", self.number, self.side)
    }

    pub(crate) fn tunnel(&self) -> String {
        format!("vx{}{}", self.number, self.side)
    }

    /// `ip` on its node.
    pub(crate) fn ip(&self) -> String {
        self.home
            .map_or_else(|| "ip".to_owned(), |home| format!("ip -n {home}"))
    }

    pub(crate) fn mac(&self, port: u8) -> String {
        format!("52:54:00:00:{:02x}:{port:02x}", self.number)
    }

    pub(crate) fn address(port: u8) -> String {
        format!("10.0.0.{port}")
    }

    pub(crate) fn make_bridge(&self) -> Step {
        Step::MakeBridge(BridgeSettings {
            object: self.object(),
            bridge: self.bridge(),
            mtu: self.mtu,
        })
    }

    pub(crate) fn make_gateway(&self) -> Step {
        Step::MakeGateway(GatewaySettings {
            object: self.object(),
            bridge: self.bridge(),
            namespace: self.namespace(),
            address: Self::address(1),
            prefix: 24,
            mac: format!("02:00:00:00:00:{:02x}", self.number),
            mtu: self.mtu,
        })
    }

    pub(crate) fn serve_dhcp(&self) -> Step {
        let host = |port: &u8| DhcpHost {
            mac: self.mac(*port),
            address: Self::address(*port),
            hostname: format!("machine-{port}"),
        };
        let name = |(port, _): &(u8, String)| DnsName {
            address: Self::address(*port),
            hostname: format!("machine-{port}"),
        };
        Step::ServeDhcp(DhcpSettings {
            object: self.object(),
            namespace: self.namespace(),
            subnet: "10.0.0.0/24".to_owned(),
            gateway: Self::address(1),
            domain: "test.internal".to_owned(),
            forward: false,
            mtu: self.mtu,
            hosts: self.ports.iter().map(host).collect(),
            names: self.peers.iter().map(name).collect(),
        })
    }

    pub(crate) fn set_nat(&self) -> Step {
        Step::SetNat(NatSettings {
            object: self.object(),
            namespace: self.namespace(),
            subnet: "10.0.0.0/24".to_owned(),
            enabled: self.nat,
        })
    }

    pub(crate) fn set_filter(&self) -> Step {
        let port = |port: &u8| PortFilter {
            link: self.link(*port),
            mac: self.mac(*port),
            address: Self::address(*port),
            allow: self.rules.clone(),
        };
        let peer = |(port, _): &(u8, String)| PeerFilter {
            mac: self.mac(*port),
            address: Self::address(*port),
        };
        Step::SetFilter(FilterSettings {
            object: self.object(),
            bridge: self.bridge(),
            gateway: Self::address(1),
            ports: self.ports.iter().map(port).collect(),
            tunnel: self.local.as_ref().map(|_| self.tunnel()),
            peers: self.peers.iter().map(peer).collect(),
        })
    }

    pub(crate) fn make_tunnel(&self) -> Step {
        Step::MakeTunnel(TunnelSettings {
            object: self.object(),
            bridge: self.bridge(),
            link: self.tunnel(),
            vni: 70 + u32::from(self.number),
            mtu: self.mtu,
            local: self.local.clone().unwrap(),
        })
    }

    pub(crate) fn set_peers(&self) -> Step {
        let route = |(port, remote): &(u8, String)| Route {
            mac: self.mac(*port),
            address: Self::address(*port),
            remote: remote.clone(),
        };
        Step::SetPeers(PeersSettings {
            object: self.object(),
            bridge: self.bridge(),
            link: self.tunnel(),
            peers: self.peers.iter().map(route).collect(),
        })
    }

    pub(crate) fn drop_tunnel(&self) -> Step {
        Step::DropTunnel { object: self.object() }
    }

    pub(crate) fn set_rates(&self) -> Step {
        let port = |port: &u8| PortRate {
            link: self.link(*port),
            rate_bits: self.rate_bits,
        };
        let ports = self.ports.iter().map(port).collect();
        Step::SetRates(RateSettings {
            object: self.object(),
            ports,
        })
    }

    pub(crate) fn remove(&self) -> Step {
        Step::Remove { object: self.object() }
    }

    /// All of the steps that build it.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps = vec![self.make_bridge(), self.set_filter()];
        if self.local.is_some() {
            steps.extend([self.make_tunnel(), self.set_peers()]);
        }
        steps.extend([self.set_rates(), self.make_gateway(), self.serve_dhcp(), self.set_nat()]);
        steps
    }

    pub(crate) async fn build(&self, networks: &Networks) {
        for step in self.steps() {
            networks
                .run(&step)
                .await
                .unwrap_or_else(|error| panic!("{step:?}: {error:?}"));
        }
    }

    /// What there is of it.
    pub(crate) async fn found(&self, networks: &Networks) -> Option<FoundNetwork> {
        let facts = networks.facts(&[Probe::Network(self.object())]).await;
        let [Fact::Network(fact)] = <[Fact; 1]>::try_from(facts).unwrap();
        assert_eq!(fact.object, self.object());
        fact.found
    }

    /// Everything is there, with the very settings of the steps.
    pub(crate) async fn assert_stands(&self, networks: &Networks) {
        let found = self.found(networks).await.expect("the network is there");
        assert_eq!(found, self.wanted());
    }

    /// What there is when every step was done.
    pub(crate) fn wanted(&self) -> FoundNetwork {
        let mut wanted = FoundNetwork::default();
        for step in self.steps() {
            match step {
                Step::MakeBridge(settings) => wanted.bridge = Some(settings),
                Step::MakeGateway(settings) => wanted.gateway = Some(settings),
                Step::ServeDhcp(settings) => wanted.dhcp = Some(settings),
                Step::SetNat(settings) => wanted.nat = Some(settings),
                Step::SetFilter(settings) => wanted.filter = Some(settings),
                Step::SetRates(settings) => wanted.rates = Some(settings),
                Step::MakeTunnel(settings) => wanted.tunnel = Some(settings),
                Step::SetPeers(settings) => wanted.peers = Some(settings),
                Step::DropTunnel { .. } | Step::Remove { .. } => {}
            }
        }
        wanted
    }
}
