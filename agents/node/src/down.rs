//! The end of all that an agent runs on its node, when the node is taken out of service. Disks and definitions stay: what is
//! wanted comes back when the agent does.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use symphony_agent::config::Config;
use symphony_agent::ledger::Ledger;

/// Ends machines, the private libvirtd, networks, and what is served to other nodes; says on stdout how many machines there are before it begins.
///
/// # Errors
/// When the agent runs, or something is left.
pub(crate) async fn run(folder: &Path, patience: Duration) -> Result<(), Box<dyn Error>> {
    let config = Config::load(folder)?;
    // Its lock keeps an agent from starting meanwhile.
    let _ledger = Ledger::open(cap_std::fs::Dir::open_ambient_dir(
        &config.folder,
        cap_std::ambient_authority(),
    )?)?;
    let tell = |count: usize| {
        // Nothing is to be done when nobody listens.
        let _ = writeln!(io::stdout(), "stopping {count} machines");
        let _ = io::stdout().flush();
    };
    let machines = symphony_compute::down(&config, patience, tell).await;
    // The machines' links hang on the networks' bridges: after them, and whatever became of them.
    let networks = symphony_network::down(&config).await;
    // Machines of other nodes stand still from here on, until their volumes are served again.
    let exports = symphony_storage::down(&config).await;
    let (machines, networks) = (machines?, networks?);
    exports?;
    writeln!(io::stdout(), "down {machines} machines {networks} networks")?;
    Ok(())
}
