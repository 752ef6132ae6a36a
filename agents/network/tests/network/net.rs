//! A network as a driver would want it, and its steps.

use symphony_core::plan::network::{
    BridgeSettings, DhcpHost, DhcpSettings, Fact, FilterSettings, FoundNetwork, GatewaySettings, NatSettings,
    PortFilter, PortRate, Probe, RateSettings, Rule, Step,
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
        }
    }

    pub(crate) fn object(&self) -> String {
        format!("01890000-0000-7000-8000-0000000000{:02x}", self.number)
    }

    pub(crate) fn bridge(&self) -> String {
        format!("br{}", self.number)
    }

    pub(crate) fn namespace(&self) -> String {
        format!("sy-{}", self.number)
    }

    pub(crate) fn link(&self, port: u8) -> String {
        format!("tap{}-{port}", self.number)
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
        })
    }

    pub(crate) fn make_gateway(&self) -> Step {
        Step::MakeGateway(GatewaySettings {
            object: self.object(),
            bridge: self.bridge(),
            namespace: self.namespace(),
            address: Self::address(1),
            prefix: 24,
        })
    }

    pub(crate) fn serve_dhcp(&self) -> Step {
        let host = |port: &u8| DhcpHost {
            mac: self.mac(*port),
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
            hosts: self.ports.iter().map(host).collect(),
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
        Step::SetFilter(FilterSettings {
            object: self.object(),
            bridge: self.bridge(),
            gateway: Self::address(1),
            ports: self.ports.iter().map(port).collect(),
        })
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
        vec![
            self.make_bridge(),
            self.set_filter(),
            self.set_rates(),
            self.make_gateway(),
            self.serve_dhcp(),
            self.set_nat(),
        ]
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
        let mut wanted = FoundNetwork::default();
        for step in self.steps() {
            match step {
                Step::MakeBridge(settings) => wanted.bridge = Some(settings),
                Step::MakeGateway(settings) => wanted.gateway = Some(settings),
                Step::ServeDhcp(settings) => wanted.dhcp = Some(settings),
                Step::SetNat(settings) => wanted.nat = Some(settings),
                Step::SetFilter(settings) => wanted.filter = Some(settings),
                Step::SetRates(settings) => wanted.rates = Some(settings),
                Step::Remove { .. } => {}
            }
        }
        assert_eq!(found, wanted);
    }
}
