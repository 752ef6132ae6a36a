//! The command line of the binary: its own commands, and the client's verbs beside them.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use symphony_cli::{AuthorityVerb, Globals, ServiceVerb, Verb};
use symphony_core::id::ServiceId;
use symphony_core::name::Name;
use symphony_core::quantity::Bytes;

/// Where the API listens when not told otherwise: this server alone.
const LISTEN: &str = "127.0.0.1:15760";

/// A private cloud whose decisions and backends are sandboxed components
#[derive(Debug, Parser)]
#[command(name = "symphony", version, propagate_version = true, after_help = HELP, max_term_width = 110)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) globals: Globals,
    /// Log more to stderr; twice for everything [also: RUST_LOG]
    #[arg(short, long, action = clap::ArgAction::Count, global = true, help_heading = "Global options")]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const HELP: &str = "\
Start here:
  symphony dev                                        # a manager and three agents on this server; leave it running
  symphony image create tiny --file tiny.raw          # in another terminal
  symphony volume create root --image tiny --size 1GiB
  symphony explain volume root
  symphony machine create web1 --image tiny --console # its own root volume, and its console here

Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 conflict, 5 no node takes it now.";

const RESTORE_HELP: &str = "\
Examples:
  symphony restore cloud.backup --config-dir /var/lib/symphony
  symphony restore cloud.backup --config-dir /var/lib/symphony --etcd http://10.0.0.1:2379,http://10.0.0.2:2379

The file is that of `symphony backup`; it is looked at whole before anything is written. The store must be empty. When the
restore is interrupted no manager starts on the store: run it again, and it begins anew.

Managers become members again: with etcd by `symphony --socket DIR/control.sock manager init` (first remove DIR/identity and
DIR/api.token of those that ran before), without etcd by themselves. Nodes come back by themselves, but for those that
joined after the backup, or whose certificate is newer than it: those join again.
What was made after the backup is unknown to the managers.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a small cloud on this server: a manager and a few agents, nothing to install
    #[command(after_help = "\
Examples:
  symphony dev
  symphony dev --managers 3 --nodes 5
  symphony dev --data ./cloud --nodes 5 --pool-capacity 10GiB,100GiB --listen 127.0.0.1:0

All is kept under the data folder. `ready http://ADDRESS` on stdout says that it serves and all agents are there; the
client finds it from then on. Ctrl-C ends it, and its machines with it; starting it again on the same folder goes on
where it was. Machines and networks need root and a few programs; it says what is missing, and runs the rest.")]
    Dev(DevArgs),
    /// Run a manager, or look at the services of the cluster
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    #[command(
        after_help = "Examples:\n  symphony manager --config-dir /var/lib/symphony\n  symphony manager service list"
    )]
    Manager(ManagerCommand),
    /// Run an agent: starts `symphony-agent`, which lies beside this program
    #[command(after_help = "Example:\n  symphony agent --config-dir /var/lib/symphony-agent")]
    Agent(AgentArgs),
    /// Make a store of a backup, while no manager runs on it
    #[command(after_help = RESTORE_HELP)]
    Restore(RestoreArgs),
    /// Print the shell's completion of this command line
    #[command(
        after_help = "Examples:\n  source <(symphony completion bash)\n  symphony completion zsh > ~/.zfunc/_symphony\n  symphony completion fish > ~/.config/fish/completions/symphony.fish"
    )]
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Compiles one component from stdin to stdout, in a process of its own
    #[command(name = "__compile-plugin", hide = true)]
    CompilePlugin,
    #[command(flatten)]
    Client(Verb),
}

/// Where the API is.
#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// Where the API listens; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = LISTEN)]
    pub(crate) listen: SocketAddr,
    /// Where others find it, when that is not where it listens
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) advertise: Option<String>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 15760).into(),
            advertise: None,
        }
    }
}

/// The etcd cluster that has a manager's state.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct EtcdArgs {
    /// An etcd cluster to keep the state in: its members' addresses for clients
    #[arg(long, value_name = "URL,...", value_delimiter = ',', env = "SYMPHONY_ETCD")]
    pub(crate) etcd: Vec<String>,
    /// The certificates that etcd's are signed with (PEM)
    #[arg(long, value_name = "FILE", requires = "etcd")]
    pub(crate) etcd_ca: Option<PathBuf>,
    /// The manager's certificate for etcd (PEM)
    #[arg(long, value_name = "FILE", requires = "etcd_key")]
    pub(crate) etcd_cert: Option<PathBuf>,
    /// The key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "etcd_cert")]
    pub(crate) etcd_key: Option<PathBuf>,
    /// The manager's user in etcd; its password is in the file of `--etcd-password-file`
    #[arg(long, value_name = "USER", requires = "etcd_password_file")]
    pub(crate) etcd_user: Option<String>,
    /// A file with the password of `--etcd-user`
    #[arg(long, value_name = "FILE", requires = "etcd_user")]
    pub(crate) etcd_password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Where it keeps everything [default: ~/.local/share/symphony/dev]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) nodes: u16,
    /// How many managers: with this they share a three-member etcd, and everything is a process with an address of its own
    #[arg(long, value_name = "N", conflicts_with_all = ["listen", "advertise"], value_parser = clap::value_parser!(u16).range(1..=5))]
    pub(crate) managers: Option<u16>,
    #[command(flatten)]
    pub(crate) listen: Listen,
    /// What may be claimed in the pool of each node; begins again at the first [default: 20GiB,40GiB,80GiB]
    #[arg(long, value_name = "SIZE,...", value_delimiter = ',')]
    pub(crate) pool_capacity: Vec<Bytes>,
    /// Run no machines and networks, as where this server can't: without root, QEMU, libvirt, nftables or dnsmasq
    #[arg(long)]
    pub(crate) no_machines: bool,
    /// Memory that machines may claim on each node [default: this server's, less 1GiB, divided among the nodes]
    #[arg(long, value_name = "SIZE", conflicts_with = "no_machines")]
    pub(crate) node_memory: Option<Bytes>,
    /// Leave the client's default context as it is; use DIR/client.toml by SYMPHONY_CONFIG
    #[arg(long)]
    pub(crate) no_default_context: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ManagerCommand {
    #[command(subcommand)]
    pub(crate) verb: Option<ManagerVerb>,
    #[command(flatten)]
    pub(crate) args: ManagerArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ManagerVerb {
    /// The services of the cluster: list them, or forget one
    #[command(subcommand)]
    Service(ServiceVerb),
    /// The authority that signs members' certificates: show, rotate, retire
    #[command(subcommand)]
    Ca(AuthorityVerb),
    /// Make this manager a member: the first one makes the cluster, the others join it
    #[command(
        after_help = "Example:\n  symphony --socket M1/control.sock manager init\n\nThe manager is one that was started with --etcd; its control \
                      socket lies in its folder. The managers of one etcd are one cluster."
    )]
    Init {
        /// Taken for the sake of old scripts: the manager knows its own address
        #[arg(value_name = "ADDR", hide = true)]
        address: Option<String>,
    },
    /// Forget a service that is gone for good: short for `manager service remove`
    #[command(
        hide = true,
        after_help = "Example:\n  symphony manager remove 01890a5d-ac96-774b-bcce-b302099a8057"
    )]
    Remove {
        /// The id that `service list` prints
        #[arg(value_name = "ID")]
        id: ServiceId,
        /// Forget it with all that is placed on it
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ManagerArgs {
    /// Where the manager keeps its state, tokens and control socket
    #[arg(long, value_name = "DIR", required = true)]
    pub(crate) config_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) listen: Listen,
    #[command(flatten)]
    pub(crate) etcd: EtcdArgs,
    /// End when standard input ends: a manager that was started by a program ends with it
    #[arg(long, hide = true)]
    pub(crate) exit_with_stdin: bool,
    /// The manager's name; at its first start [default: this server's, and something that tells two on it apart]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<Name>,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// What `symphony backup` wrote
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The manager's folder; without --etcd its store is made in it
    #[arg(long, value_name = "DIR")]
    pub(crate) config_dir: PathBuf,
    #[command(flatten)]
    pub(crate) etcd: EtcdArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// The agent's folder, with its agent.toml
    #[arg(long, value_name = "DIR")]
    pub(crate) config_dir: PathBuf,
    /// Handed on to symphony-agent
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) rest: Vec<OsString>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, error::ErrorKind};

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_command_of_ours_has_help_with_an_example() {
        fn check(command: &clap::Command, path: &str) {
            for sub in command
                .get_subcommands()
                .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
            {
                let path = format!("{path} {}", sub.get_name());
                assert!(sub.get_about().is_some(), "{path} says nothing of itself");
                if sub.has_subcommands() {
                    check(sub, &path);
                } else {
                    let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                    assert!(
                        help.contains("Example") && help.contains("symphony"),
                        "{path} has no example"
                    );
                }
            }
        }
        check(&CommandLine::command(), "symphony");
    }

    #[test]
    fn manager_runs_or_talks_of_services() {
        let parse = |line: &str| CommandLine::try_parse_from(line.split(' '));
        assert!(parse("symphony manager --config-dir /x").is_ok());
        assert!(parse("symphony manager service list").is_ok());
        assert!(parse("symphony --socket /x/control.sock manager service list -o json").is_ok());
        assert_eq!(
            parse("symphony manager").unwrap_err().kind(),
            ErrorKind::MissingRequiredArgument
        );
    }

    #[test]
    fn dev_takes_sizes_and_refuses_nonsense() {
        let parse = |line: &str| CommandLine::try_parse_from(line.split(' '));
        let Command::Dev(dev) = parse("symphony dev --pool-capacity 1GiB,2GiB --listen 127.0.0.1:0")
            .unwrap()
            .command
        else {
            panic!("not dev");
        };
        assert_eq!(dev.pool_capacity, [Bytes(1 << 30), Bytes(2 << 30)]);
        for wrong in ["--nodes 0", "--nodes 65", "--pool-capacity 1XiB", "--listen nowhere"] {
            let error = parse(&format!("symphony dev {wrong}")).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong}");
        }
    }
}
