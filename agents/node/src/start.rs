//! From the start of the process to its end.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use symphony_agent::config::Config;
use symphony_agent::control::ControlSocket;
use symphony_agent::{Agent, Membership, Roles};
use symphony_core::node::Role;
use symphony_fence::FenceExecutor;
use symphony_pki::Tls;
use symphony_protocol::control::CONTROL_SOCKET_FILE;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Verb};
use crate::executors::{ExecutorError, Opener};
use crate::{abilities, down, executors};

/// Threads for file work: enough that many volumes share a flush of the disk, few enough that memory stays small.
const BLOCKING_THREADS_MAX: usize = 64;
/// They need little.
const STACK_BYTES: usize = 512 << 10;
/// For file work that is under way when the agent ends.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// Runs an agent until it is asked to end, or does a verb.
pub(crate) fn start(cli: &Cli) -> ExitCode {
    log_to_stderr(cli.verbose, cli.verb.is_none());
    // One thread for all that waits; what works has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_stack_size(STACK_BYTES)
        .build();
    let result = runtime.map_err(Into::into).and_then(|runtime| {
        let result = runtime.block_on(run(cli));
        runtime.shutdown_timeout(LAST_PATIENCE);
        result
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            // Nothing is left to do when nobody listens.
            let _ = writeln!(io::stderr(), "symphony-agent: {text}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> Result<ExitCode, Box<dyn Error>> {
    let own = match &cli.verb {
        Some(Verb::Check { config_dir } | Verb::Down { config_dir, .. }) => config_dir.as_deref(),
        Some(Verb::Jail { .. }) | None => None,
    };
    let folder = own.or(cli.config_dir.as_deref()).ok_or("--config-dir is needed")?;
    match &cli.verb {
        Some(Verb::Check { .. }) => check(folder).await,
        Some(Verb::Down { patience, .. }) => {
            down::run(folder, Duration::from_secs(*patience)).await?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Verb::Jail { .. }) | None => serve(cli, folder).await,
    }
}

async fn check(folder: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let config = Config::load(folder)?;
    let configured: BTreeSet<Role> = config.agent.roles.iter().copied().collect();
    // What it was let in for, else what it is to be let in for, else whatever it might be.
    let enrolled = Membership::open(&config)?.roles().borrow().clone();
    let roles = [enrolled, configured, BTreeSet::from([Role::Compute, Role::Network])];
    let roles = roles.into_iter().find(|roles| !roles.is_empty()).unwrap_or_default();
    let Some(sentence) = abilities::sentence(&executors::lacking(&config, &roles).await) else {
        return Ok(ExitCode::SUCCESS);
    };
    writeln!(io::stdout(), "{sentence}")?;
    Ok(ExitCode::FAILURE)
}

async fn serve(cli: &Cli, folder: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let end = CancellationToken::new();
    end_on_signals(&end)?;
    if cli.exit_with_stdin {
        end_with_stdin(end.clone())?;
    }
    Config::make_folder(folder)?;
    let mut config = Config::load(folder)?;
    if let Some(name) = &cli.name {
        config.agent.name = Some(name.clone());
    }
    let membership = Membership::open(&config)?;
    let socket = ControlSocket::bind(&folder.join(CONTROL_SOCKET_FILE))?;
    let controlled = tokio::spawn(socket.serve(membership.clone(), end.clone()));
    let result = live(config, &membership, &end).await;
    end.cancel();
    // It takes its file with it.
    let _ = controlled.await;
    result?;
    Ok(ExitCode::SUCCESS)
}

/// From outside of a cluster to the end.
async fn live(config: Config, membership: &Membership, end: &CancellationToken) -> Result<(), Box<dyn Error>> {
    let joins_first = membership.tls().is_none() && config.agent.join.is_some();
    let mut joining = tokio::spawn({
        let (membership, end) = (membership.clone(), end.clone());
        let (roles, join) = (config.agent.roles.clone(), config.agent.join.clone());
        async move { membership.join(&roles, &join.unwrap_or_default(), &end).await }
    });
    let mut roles = membership.roles();
    if membership.tls().is_none() {
        let socket = config.folder.join(CONTROL_SOCKET_FILE);
        tracing::info!(
            "in no cluster yet; `symphony --socket {} block init MANAGER --token T` lets node {} in (or image, compute, network)",
            socket.display(),
            membership.name()
        );
        writeln!(io::stdout(), "waiting {} {}", membership.name(), socket.display())?;
    }
    let mut has_joined = false;
    if joins_first {
        // For all its roles at once, before it is seen: a node does not come piece by piece.
        tokio::select! {
            () = end.cancelled() => return Ok(()),
            joined = &mut joining => joined?,
        }
        has_joined = true;
    }
    let tls = tokio::select! {
        () = end.cancelled() => return Ok(()),
        tls = admitted(membership, &mut roles) => tls,
    };
    let (sink, notices) = symphony_agent::notices();
    let opener = Opener::new(config.clone(), tls.clone(), sink).await?;
    let agent = Agent::prepare(&config, membership.clone(), tls, notices).await?;
    let filled = agent.roles();
    if let Some(fences) = FenceExecutor::open(&config) {
        filled.add_beside(Arc::new(fences));
    }
    let mut known = BTreeSet::new();
    fill(&opener, &filled, &mut known, &mut roles).await?;
    let ready = agent.ready();
    // Connections wait in the kernel's queue from here on.
    writeln!(io::stdout(), "ready {} {}", ready.node, ready.data_url)?;
    let later = async {
        while roles.changed().await.is_ok() {
            fill(&opener, &filled, &mut known, &mut roles).await?;
        }
        Ok::<(), ExecutorError>(())
    };
    let running = tokio::spawn(agent.run(end.clone()));
    // A role that can't be filled ends the agent, at its start and later: whoever keeps it running starts it again.
    let failed = tokio::select! {
        failed = later => failed,
        () = end.cancelled() => Ok(()),
    };
    end.cancel();
    running.await?;
    if !has_joined {
        joining.await?;
    }
    Ok(failed?)
}

/// Waits until the node is in a cluster.
async fn admitted(membership: &Membership, roles: &mut watch::Receiver<BTreeSet<Role>>) -> Tls {
    loop {
        if let Some(tls) = membership.tls() {
            return tls;
        }
        // The membership outlives this: there is always somebody who may change it.
        let _ = roles.changed().await;
    }
}

/// Fills the roles that the node was let in for and does not fill yet.
async fn fill(
    opener: &Opener,
    filled: &Roles,
    known: &mut BTreeSet<Role>,
    roles: &mut watch::Receiver<BTreeSet<Role>>,
) -> Result<(), ExecutorError> {
    let fresh: BTreeSet<Role> = roles.borrow_and_update().difference(known).copied().collect();
    for (role, executor) in opener.open(&fresh).await? {
        filled.add(role, executor);
    }
    if fresh.is_empty() {
        filled.say_again();
    }
    known.extend(fresh);
    Ok(())
}

fn end_on_signals(end: &CancellationToken) -> io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let (mut signal, end) = (signal(kind)?, end.clone());
        tokio::spawn(async move {
            signal.recv().await;
            end.cancel();
        });
    }
    Ok(())
}

/// A thread of its own: a read of standard input can't be given up, and must not hold the process back.
fn end_with_stdin(end: CancellationToken) -> io::Result<()> {
    let wait = move || {
        let mut buffer = [0; 256];
        // What comes is of no interest, only its end.
        while matches!(io::stdin().read(&mut buffer), Ok(count) if count > 0) {}
        end.cancel();
    };
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(wait)?;
    Ok(())
}

fn log_to_stderr(verbose: u8, serves: bool) {
    let level = match verbose {
        0 if !serves => "warn",
        0 => "info",
        1 => "info,symphony_agent=debug,symphony_storage=debug,symphony_image=debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let colours = io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colours)
        .init();
}
