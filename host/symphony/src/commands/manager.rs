//! `symphony manager`: a manager alone; its agents are started elsewhere.

use symphony_cli::{Exit, Failure};

use crate::args::ManagerArgs;
use crate::folder::Folder;
use crate::manager::Manager;
use crate::signals;

/// Runs a manager until it is told to end.
pub(crate) async fn run(args: &ManagerArgs) -> Result<(), Failure> {
    if !args.etcd.is_empty() {
        return Err(
            Failure::new("--etcd is not in this version: a manager keeps its state in the embedded store")
                .exit(Exit::Usage)
                .hint("leave --etcd away; the state is then in DIR/store.redb"),
        );
    }
    let Some(folder) = &args.config_dir else {
        return Err(Failure::usage("--config-dir is missing"));
    };
    let stop = signals::stop_token()?;
    let manager = Manager::start(Folder::open(folder)?, &args.listen).await?;
    manager.say_ready()?;
    let ended = manager.serve_until(&stop).await;
    manager.stop().await;
    ended
}
