//! The networks of a node: takes a step apart, writes down what is begun and what is settled, and says what there is. One
//! step at a time; chooses nothing.

use std::path::{Path, PathBuf};

use symphony_core::id::NetworkId;
use symphony_core::plan::network::{Fact, FoundNetwork, NetworkFact, PORTS_MAX, Probe, Step};
use tokio::sync::Mutex;

use crate::links::Links;
use crate::nft::Table;
use crate::state::{Folder, State};
use crate::{NetworkError, dhcp, filter, gateway, names, namespace, nat, nft, peers, tunnel};

/// The networks of one node, kept in one folder.
#[derive(Debug)]
pub struct Networks {
    dir: PathBuf,
    /// Steps and looks take their turns: a look never sees a step's half.
    turn: Mutex<()>,
}

impl Networks {
    /// Opens the folder, which is made when it is not there. Only one process may have it open.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, NetworkError> {
        let dir = dir.as_ref();
        std::fs::create_dir_all(dir).map_err(crate::error::file(dir, "made"))?;
        let dir = dir.canonicalize().map_err(crate::error::file(dir, "found"))?;
        Ok(Self {
            dir,
            turn: Mutex::new(()),
        })
    }

    fn folder(&self, object: &str) -> Result<Folder, NetworkError> {
        Ok(Folder::new(self.dir.join(names::object(object)?)))
    }

    /// What there is of each network: what was settled last, as far as the kernel confirms it. A part that can't be looked
    /// at is left out, with a warning; so is a whole network whose folder can't be read, as a fact that would be wrong is
    /// worse than none.
    pub async fn facts(&self, probes: &[Probe]) -> Vec<Fact> {
        let _turn = self.turn.lock().await;
        let mut facts = Vec::with_capacity(probes.len());
        for Probe::Network(object) in probes {
            match self.look(object).await {
                Ok(found) => facts.push(Fact::Network(NetworkFact {
                    object: object.clone(),
                    found,
                })),
                Err(error) => tracing::warn!(
                    object,
                    error = &error as &dyn std::error::Error,
                    "a network can't be looked at"
                ),
            }
        }
        facts
    }

    async fn look(&self, object: &str) -> Result<Option<FoundNetwork>, NetworkError> {
        let folder = self.folder(object)?;
        let Some(State { settled, slot, .. }) = folder.load()? else {
            return Ok(None);
        };
        let mut found = FoundNetwork::default();
        if let Some(settings) = settled.bridge {
            found.bridge = gateway::bridge_stands(&settings).await?.then_some(settings);
        }
        if let Some(settings) = settled.gateway {
            found.gateway = gateway::stands(&settings).await?.then_some(settings);
        }
        if let Some(settings) = settled.dhcp {
            found.dhcp = dhcp::stands(&folder, &settings)?.then_some(settings);
        }
        if let Some(settings) = settled.nat {
            found.nat = nat::stands(&settings, slot).await?.then_some(settings);
        }
        if let Some(settings) = settled.filter {
            found.filter = filter::filter(&settings)?.stands(None).await?.then_some(settings);
        }
        if let Some(settings) = settled.rates {
            let table = self.rates(&settings)?;
            found.rates = table.stands(None).await?.then_some(settings);
        }
        if let Some(settings) = settled.tunnel {
            found.tunnel = tunnel::stands(&settings).await?.then_some(settings);
        }
        if let Some(settings) = settled.peers {
            found.peers = peers::stand(&settings).await?.then_some(settings);
        }
        Ok(Some(found))
    }

    fn rates(&self, settings: &symphony_core::plan::network::RateSettings) -> Result<Table, NetworkError> {
        filter::rates(settings, self.rate_table(&settings.object))
    }

    fn rate_table(&self, object: &str) -> String {
        filter::rate_table(&self.dir.join(object).display().to_string())
    }

    /// Does one step. It may be cut anywhere and repeated, and one that is done already changes nothing that matters.
    ///
    /// # Errors
    /// [`NetworkError::Invalid`] when the step can't ever be done; [`NetworkError::Missing`] when what it builds on is
    /// not there; else what the system says.
    pub async fn run(&self, step: &Step) -> Result<(), NetworkError> {
        let _turn = self.turn.lock().await;
        let folder = self.folder(step.object())?;
        if let Step::Remove { object } = step {
            return self.remove(&folder, object).await;
        }
        let mut state = folder.load()?.unwrap_or_default();
        check(&state, step)?;
        // Written down before it is begun, so that whatever is made can be found again and removed.
        note(&mut state.wanted, step);
        forget(&mut state.settled, step);
        folder.save(&state)?;
        symphony_crash::point("network.step.noted");
        self.act(&folder, &mut state, step).await?;
        symphony_crash::point("network.step.done");
        note(&mut state.settled, step);
        if matches!(step, Step::DropTunnel { .. }) {
            // Nothing of it is left to be found again.
            (state.wanted.tunnel, state.wanted.peers) = (None, None);
        }
        folder.save(&state)?;
        symphony_crash::point("network.step.settled");
        Ok(())
    }

    /// Removes all networks from the node: when it is taken out of service. Gives how many there were.
    ///
    /// # Errors
    /// The last failure; the others are removed all the same.
    pub async fn remove_all(&self) -> Result<usize, NetworkError> {
        let entries = std::fs::read_dir(&self.dir).map_err(crate::error::file(&self.dir, "read"))?;
        let (mut count, mut failed) = (0, None);
        for object in entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            // Whatever else lies there is not ours to remove.
            .filter(|name| name.parse::<NetworkId>().is_ok())
        {
            match self.run(&Step::Remove { object }).await {
                Ok(()) => count += 1,
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(count), Err)
    }

    async fn act(&self, folder: &Folder, state: &mut State, step: &Step) -> Result<(), NetworkError> {
        match step {
            Step::MakeBridge(settings) => gateway::make_bridge(settings).await,
            Step::MakeGateway(settings) => gateway::make(settings).await,
            Step::ServeDhcp(settings) => dhcp::serve(folder, settings).await,
            Step::SetNat(settings) if settings.enabled => {
                let own = state.slot;
                let keep = |slot| {
                    state.slot = Some(slot);
                    folder.save(state)
                };
                nat::open(settings, own, keep).await
            }
            Step::SetNat(settings) => nat::close(&settings.namespace).await,
            Step::SetFilter(settings) => filter::filter(settings)?.replace(None).await,
            Step::SetRates(settings) => self.rates(settings)?.replace(None).await,
            Step::MakeTunnel(settings) => tunnel::make(settings).await,
            Step::SetPeers(settings) => peers::set(settings).await,
            Step::DropTunnel { .. } => drop_tunnel(&state.wanted).await,
            Step::Remove { object } => self.remove(folder, object).await,
        }
    }

    /// Removes whatever there may be, in any half-made state: the filter last of the kernel's, the folder after all.
    async fn remove(&self, folder: &Folder, object: &str) -> Result<(), NetworkError> {
        let Some(State { wanted, .. }) = folder.load()? else {
            return Ok(());
        };
        dhcp::stop(folder).await?;
        symphony_crash::point("network.remove.dhcp");
        drop_tunnel(&wanted).await?;
        symphony_crash::point("network.remove.tunnel");
        let space = wanted.gateway.as_ref().map(|settings| settings.namespace.as_str());
        let space = space.or(wanted.nat.as_ref().map(|settings| settings.namespace.as_str()));
        if let Some(name) = space {
            nat::close(name).await?;
            symphony_crash::point("network.remove.nat");
        }
        let bridge = wanted.bridge.as_ref().map(|settings| settings.bridge.as_str());
        let bridge = bridge.or(wanted.gateway.as_ref().map(|settings| settings.bridge.as_str()));
        let bridge = bridge.or(wanted.filter.as_ref().map(|settings| settings.bridge.as_str()));
        let links = Links::here()?;
        if let Some(name) = bridge {
            links.remove(&names::gateway_link(name)).await?;
        }
        if let Some(name) = space {
            namespace::remove(name).await?;
            symphony_crash::point("network.remove.namespace");
        }
        if let Some(name) = bridge {
            if links.find(name).await?.is_some_and(|link| link.is_bridge) {
                links.remove(name).await?;
            }
            symphony_crash::point("network.remove.bridge");
            nft::remove(None, "bridge", &filter::filter_table(name)).await?;
        }
        nft::remove(None, "bridge", &self.rate_table(object)).await?;
        symphony_crash::point("network.remove.tables");
        folder.remove()
    }
}

async fn drop_tunnel(wanted: &FoundNetwork) -> Result<(), NetworkError> {
    match &wanted.tunnel {
        Some(settings) => tunnel::remove(names::link(&settings.link)?, names::link(&settings.bridge)?).await,
        None => Ok(()),
    }
}

/// What can be said before anything is touched: every name is one, and none changes within a network's life.
fn check(state: &State, step: &Step) -> Result<(), NetworkError> {
    let same = |what: &str, old: Option<&str>, new: &str| match old {
        Some(old) if old != new => Err(NetworkError::Taken(format!("{what} {old} of the network"))),
        _ => Ok(()),
    };
    let bridges = [
        state.wanted.bridge.as_ref().map(|settings| &settings.bridge),
        state.wanted.gateway.as_ref().map(|settings| &settings.bridge),
        state.wanted.filter.as_ref().map(|settings| &settings.bridge),
        state.wanted.tunnel.as_ref().map(|settings| &settings.bridge),
    ];
    let bridge = bridges.into_iter().flatten().next().map(String::as_str);
    let spaces = [
        state.wanted.gateway.as_ref().map(|settings| &settings.namespace),
        state.wanted.dhcp.as_ref().map(|settings| &settings.namespace),
        state.wanted.nat.as_ref().map(|settings| &settings.namespace),
    ];
    let space = spaces.into_iter().flatten().next().map(String::as_str);
    let link = state.wanted.tunnel.as_ref().map(|settings| settings.link.as_str());
    match step {
        Step::MakeBridge(settings) => {
            names::mtu(settings.mtu)?;
            same("bridge", bridge, names::link(&settings.bridge)?)
        }
        Step::MakeGateway(settings) => {
            names::address(&settings.address)?;
            names::mac_bytes(&settings.mac)?;
            names::mtu(settings.mtu)?;
            same("bridge", bridge, names::link(&settings.bridge)?)?;
            same("namespace", space, names::namespace(&settings.namespace)?)
        }
        Step::ServeDhcp(settings) => same("namespace", space, names::namespace(&settings.namespace)?),
        Step::SetNat(settings) => {
            names::subnet(&settings.subnet)?;
            same("namespace", space, names::namespace(&settings.namespace)?)
        }
        Step::SetFilter(settings) => {
            limit(settings.ports.len())?;
            same("bridge", bridge, names::link(&settings.bridge)?)?;
            filter::filter(settings).map(drop)
        }
        Step::SetRates(settings) => {
            limit(settings.ports.len())?;
            filter::rates(settings, String::new()).map(drop)
        }
        Step::MakeTunnel(settings) => {
            tunnel::check(settings)?;
            same("bridge", bridge, &settings.bridge)?;
            same("tunnel", link, &settings.link)
        }
        Step::SetPeers(settings) => {
            peers::check(settings)?;
            same("bridge", bridge, &settings.bridge)?;
            same("tunnel", link, &settings.link)
        }
        Step::DropTunnel { .. } | Step::Remove { .. } => Ok(()),
    }
}

fn limit(ports: usize) -> Result<(), NetworkError> {
    if ports <= PORTS_MAX {
        return Ok(());
    }
    let value = ports.to_string();
    Err(NetworkError::Invalid {
        what: "a number of ports",
        value,
    })
}

fn note(found: &mut FoundNetwork, step: &Step) {
    match step.clone() {
        Step::MakeBridge(settings) => found.bridge = Some(settings),
        Step::MakeGateway(settings) => found.gateway = Some(settings),
        Step::ServeDhcp(settings) => found.dhcp = Some(settings),
        Step::SetNat(settings) => found.nat = Some(settings),
        Step::SetFilter(settings) => found.filter = Some(settings),
        Step::SetRates(settings) => found.rates = Some(settings),
        Step::MakeTunnel(settings) => found.tunnel = Some(settings),
        Step::SetPeers(settings) => found.peers = Some(settings),
        Step::DropTunnel { .. } | Step::Remove { .. } => {}
    }
}

fn forget(found: &mut FoundNetwork, step: &Step) {
    match step {
        Step::MakeBridge(_) => found.bridge = None,
        Step::MakeGateway(_) => found.gateway = None,
        Step::ServeDhcp(_) => found.dhcp = None,
        Step::SetNat(_) => found.nat = None,
        Step::SetFilter(_) => found.filter = None,
        Step::SetRates(_) => found.rates = None,
        Step::SetPeers(_) => found.peers = None,
        Step::MakeTunnel(_) | Step::DropTunnel { .. } => (found.tunnel, found.peers) = (None, None),
        Step::Remove { .. } => {}
    }
}
