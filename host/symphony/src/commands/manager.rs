//! `symphony manager`: a manager alone; its agents are started elsewhere.

use symphony_cli::Failure;

use crate::args::ManagerArgs;
use crate::folder::Folder;
use crate::manager::{Manager, Setup};
use crate::signals;

/// Runs a manager until it is told to end.
pub(crate) async fn run(args: &ManagerArgs) -> Result<(), Failure> {
    let Some(folder) = &args.config_dir else {
        return Err(Failure::usage("--config-dir is missing"));
    };
    let stop = signals::stop_token()?;
    if args.exit_with_stdin {
        signals::stop_with_stdin(stop.clone())?;
    }
    let setup = Setup {
        listen: &args.listen,
        etcd: &args.etcd,
        name: args.name.as_ref(),
    };
    let Some(manager) = Manager::start(Folder::open(folder)?, setup, &stop).await? else {
        return Ok(());
    };
    manager.say_ready()?;
    let ended = manager.serve_until(&stop).await;
    manager.stop().await;
    ended
}
