//! `symphony dev`: a small cloud on this server.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use symphony_api::{ClientConfig, ConfigError};
use symphony_cli::{Failure, Globals};
use tokio_util::sync::CancellationToken;

use crate::args::{DevArgs, EtcdArgs};
use crate::dev::cluster::{Cluster, Layout};
use crate::dev::fleet::{Fleet, Program, agent_program};
use crate::dev::machines;
use crate::dev::nodes::{self, Node};
use crate::folder::Folder;
use crate::manager::{Manager, Setup};
use crate::signals;

/// How often to look for the agents' sessions at the start.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Runs until it is told to end.
pub(crate) async fn run(globals: &Globals, args: &DevArgs, verbose: u8) -> Result<(), Failure> {
    let stop = signals::stop_token()?;
    let program = agent_program()?;
    let folder = match &args.data {
        Some(folder) => folder.clone(),
        None => default_folder()?,
    };
    if let Some(managers) = args.managers {
        return cluster(globals, args, verbose, &folder, managers, &program, &stop).await;
    }
    let setup = Setup {
        listen: &args.listen,
        etcd: &EtcdArgs::default(),
        name: None,
    };
    let Some(manager) = Manager::start(Folder::open(&folder)?, setup, &stop).await? else {
        return Ok(());
    };
    let served = serve(globals, args, verbose, &manager, &program, &stop).await;
    manager.stop().await;
    served
}

/// As [`run`], with an etcd cluster and several managers, all of them processes of their own.
async fn cluster(
    globals: &Globals,
    args: &DevArgs,
    verbose: u8,
    folder: &Path,
    managers: u16,
    program: &Path,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let folder = Folder::open(folder)?;
    let layout = Layout::of(&folder, managers)?;
    let cluster = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        cluster = Cluster::start(&layout, verbose > 0, globals.quiet) => cluster?,
    };
    let wanted = nodes::Wanted {
        count: args.nodes,
        capacities: &args.pool_capacity,
        machines: !args.no_machines,
        memory: args.node_memory,
        addresses: Some(layout.node_addresses()),
    };
    let nodes = nodes::write(&folder.join("nodes"), &wanted)?;
    let served = tokio::select! {
        () = stop.cancelled() => Ok(()),
        served = cluster.serve(globals, args, &nodes, program, verbose, stop) => served,
    };
    // The agents have ended; what they have left running, and then the managers and the store.
    let ended = machines::down(program, &nodes, globals.quiet).await;
    cluster.stop().await;
    served.and(ended)
}

/// Everything between the manager's start and its end. The agents, and what they ran, are gone when this returns.
async fn serve(
    globals: &Globals,
    args: &DevArgs,
    verbose: u8,
    manager: &Manager,
    program: &Path,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let wanted = nodes::Wanted {
        count: args.nodes,
        capacities: &args.pool_capacity,
        machines: !args.no_machines,
        memory: args.node_memory,
        addresses: None,
    };
    let nodes = nodes::write(&manager.folder().join("nodes"), &wanted)?;
    for node in &nodes {
        invite(manager, node).await?;
    }
    if wanted.machines && !globals.quiet {
        // All nodes are this server: what one lacks, all do.
        if let Some(lacking) = machines::lacking(program, &nodes[0]).await {
            _ = writeln!(std::io::stderr(), "{lacking} (or --no-machines); all else runs");
        }
    }
    let agents = nodes.iter().map(|node| Program::agent(node, program)).collect();
    let fleet = Fleet::start(agents, verbose > 0, globals.quiet)?;
    // Both may be dropped at any time: nothing is under way in them.
    let came = tokio::select! {
        biased;
        () = stop.cancelled() => Ok(false),
        came = all_sessions(manager, &nodes, &fleet) => came.map(|()| true),
    };
    let mut served = match came {
        Ok(true) => announce(globals, args, manager.folder()).and_then(|()| manager.say_ready()),
        other => other.map(drop),
    };
    if served.is_ok() {
        served = manager.serve_until(stop).await;
    }
    fleet.stop().await;
    // What the agents have left running; also what one that was killed before has.
    served.and(machines::down(program, &nodes, globals.quiet).await)
}

/// Tells a node's agent where the manager is, and lets it in for what it is not in yet.
async fn invite(manager: &Manager, node: &Node) -> Result<(), Failure> {
    let mut tokens = Vec::new();
    if node.is_outside() {
        for role in &node.roles {
            let minted = manager.members().mint_join(&format!("dev {}", node.name), *role).await;
            let token = minted.map_err(|error| Failure::caused("could not make a node's token", &error))?;
            tokens.push(token.to_string());
        }
    }
    node.invite(&[manager.address().to_owned()], tokens)
}

/// Returns when every agent has its session.
async fn all_sessions(manager: &Manager, nodes: &[Node], fleet: &Fleet) -> Result<(), Failure> {
    let is_here = |node: &Node| {
        let control = manager.control();
        control.is_some_and(|control| control.agents().data_url(&node.name).is_some())
    };
    while let Some(index) = nodes.iter().position(|node| !is_here(node)) {
        fleet.expect_alive()?;
        tracing::trace!(node = %nodes[index].name, "waits for its session");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// Makes the cloud the client's default, and says that it is there.
pub(crate) fn announce(globals: &Globals, args: &DevArgs, folder: &Folder) -> Result<(), Failure> {
    let file = folder.join("client.toml");
    let found = if args.no_default_context {
        format!("the client finds it with SYMPHONY_CONFIG={}", file.display())
    } else {
        match default_context(&file) {
            Ok(default) => format!("the client finds it by {}", default.display()),
            // The cloud is as good without.
            Err(error) => {
                _ = Failure::caused("could not make this the client's default", &error).report(globals.color());
                format!("the client finds it with SYMPHONY_CONFIG={}", file.display())
            }
        }
    };
    if !globals.quiet {
        let folder = folder.path().display();
        _ = writeln!(
            std::io::stderr(),
            "all is kept in {folder}; {found}\ntry: symphony node list; end it with Ctrl-C"
        );
    }
    Ok(())
}

/// Writes the address and token of this cloud into the user's own context file; other contexts in it are kept.
fn default_context(own: &Path) -> Result<PathBuf, ConfigError> {
    let path = ClientConfig::default_path()?;
    let fresh = ClientConfig::load(own)?;
    let mut config = ClientConfig::load_if_there(&path)?.unwrap_or_default();
    (config.address, config.token) = (fresh.address, fresh.token);
    // The context without a name is the current one from now on.
    config.current = None;
    config.save(&path)?;
    Ok(path)
}

fn default_folder() -> Result<PathBuf, Failure> {
    let var = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let data = var("XDG_DATA_HOME").or_else(|| var("HOME").map(|home| home.join(".local/share")));
    data.map(|data| data.join("symphony/dev")).ok_or_else(|| {
        Failure::usage("neither XDG_DATA_HOME nor HOME is set, so there is no default folder")
            .hint("name one: --data DIR")
    })
}
