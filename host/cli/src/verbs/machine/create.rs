//! `symphony machine create`: from flags to a machine with its volumes and ports.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use symphony_api::Client;
use symphony_api::v1::{CpuMode, CreateMachine, CreateMachineSpec, Labels, Machine, Power, RestartPolicy, Size};
use symphony_core::name::Name;
use symphony_core::network::Rule;
use symphony_core::quantity::{Bytes, VolumeSize};

use super::settle::{self, Until};
use super::wanted::{self, NetworkFlag, VolumeFlag};
use super::{first_boot, plan, summary};
use crate::console::{self, DetachKey};
use crate::failure::Failure;
use crate::globals::Waiting;
use crate::output::{Format, Output};
use crate::refusal::failure;
use crate::target::{Target, label, labels};

/// What `--help` says at its end.
pub(super) const HELP: &str = "\
Examples:
  symphony machine create web1 --image debian-12 --cpus 2 --memory 2GiB --network net1 --ssh-key ~/.ssh/id_ed25519.pub
  symphony machine create web1 --image tiny --volume data=1GiB --network net1 --console
  symphony machine create web1 --image tiny --network net1,address=10.0.0.5,rate=100Mbit --allow tcp:22 --allow icmp
  symphony machine create web2 --image tiny --apart-from web1 --prefer zone=a --dry-run   # where would it go, and why?
  symphony machine create old --volume root-of-old       # boots from a volume that exists

A machine that fits nowhere is kept and waits for room (exit code 5; `symphony explain machine NAME` says why).";

/// What `machine create` takes.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("disk").required(true).multiple(true).args(["image", "volumes"]))]
pub struct CreateArgs {
    /// Its name, also in the guest: lower-case letters, digits and '-'
    #[arg(value_name = "NAME")]
    name: Name,
    /// The image that its root volume, NAME-root, is made from: name or id
    #[arg(long, value_name = "IMAGE")]
    image: Option<Target>,
    /// The size of the root volume; the size of the image's disk when not given
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, requires = "image")]
    root_size: Option<VolumeSize>,
    /// Virtual processors [default: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = wanted::cpus)]
    cpus: Option<u32>,
    /// Memory [default: 512MiB]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = wanted::memory)]
    memory: Option<Bytes>,
    /// A further volume: data=1GiB makes one, NAME takes one that exists; `,delete` ends it with the machine
    #[arg(long = "volume", value_name = "NAME[=SIZE][,delete]")]
    volumes: Vec<VolumeFlag>,
    /// A network it is connected to; may be given several times
    #[arg(long = "network", value_name = "NET[,address=A][,rate=R]")]
    networks: Vec<NetworkFlag>,
    /// What may come in at all its ports, like tcp:22, udp:60000-61000, icmp or tcp:443@10.0.0.0/8; everything when none is given
    #[arg(long, value_name = "RULE", requires = "networks")]
    allow: Vec<Rule>,
    /// The limit of each of its ports in each direction, like 100Mbit
    #[arg(long, value_name = "RATE", value_parser = wanted::rate, requires = "networks")]
    rate: Option<String>,
    #[command(flatten)]
    first_boot: FirstBootArgs,
    #[command(flatten)]
    place: PlaceArgs,
    /// What happens when it dies on its own
    #[arg(long, value_enum, value_name = "WHEN", default_value = "on-failure")]
    restart: Restart,
    /// The processor that the guest sees: the node's own, or one that all nodes have
    #[arg(long, value_enum, value_name = "MODE", default_value = "automatic")]
    cpu_mode: Cpu,
    /// Have its memory in huge pages
    #[arg(long)]
    hugepages: bool,
    /// Leave it off
    #[arg(long)]
    stopped: bool,
    /// A label of the machine; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<String>,
    /// Only show the whole plan: node, volumes, ports and first steps; store nothing
    #[arg(long)]
    dry_run: bool,
    /// Attach this terminal to its console as soon as it starts
    #[arg(long, conflicts_with_all = ["stopped", "no_wait", "dry_run"])]
    console: bool,
    /// The key that lets go of the console: ctrl- and a letter or one of [ \ ] ^ _, or none
    #[arg(long, value_name = "KEY", default_value_t, requires = "console")]
    detach_key: DetachKey,
    #[command(flatten)]
    waiting: Waiting,
}

/// What the guest is told at its first boot.
#[derive(Debug, Args)]
struct FirstBootArgs {
    /// A file for cloud-init, at most 64 KiB
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// A file with public keys that may log in; may be given several times
    #[arg(long = "ssh-key", value_name = "FILE")]
    ssh_keys: Vec<PathBuf>,
}

/// Where it may go.
#[derive(Debug, Args)]
struct PlaceArgs {
    /// A label that its node must have; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    require: Vec<String>,
    /// A label that its node should have; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    prefer: Vec<String>,
    /// A machine whose node it must not share; may be given several times
    #[arg(long, value_name = "MACHINE")]
    apart_from: Vec<Name>,
    /// A machine whose node it must share; may be given several times
    #[arg(long, value_name = "MACHINE")]
    near: Vec<Name>,
    /// Its volumes may be on other nodes than itself, which serve them to it; it is near them when it can be
    #[arg(long)]
    remote_volumes: bool,
    /// The pool that its new volumes must be in
    #[arg(long, value_name = "POOL")]
    pool: Option<Name>,
}

/// What happens when a machine dies on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Restart {
    /// It is started again, whatever ended it
    Always,
    /// It is started again unless its guest shut itself down
    OnFailure,
    /// It stays off
    Never,
}

/// The processor that a guest sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cpu {
    /// What the driver finds best
    Automatic,
    /// The node's own
    Host,
    /// One that all nodes have
    Portable,
}

impl From<Restart> for RestartPolicy {
    fn from(restart: Restart) -> Self {
        match restart {
            Restart::Always => Self::Always,
            Restart::OnFailure => Self::OnFailure,
            Restart::Never => Self::Never,
        }
    }
}

impl From<Cpu> for CpuMode {
    fn from(cpu: Cpu) -> Self {
        match cpu {
            Cpu::Automatic => Self::Automatic,
            Cpu::Host => Self::Host,
            Cpu::Portable => Self::Portable,
        }
    }
}

/// Does it.
pub(super) async fn run(client: &Client, output: Output, args: &CreateArgs) -> Result<(), Failure> {
    let body = body(args)?;
    if args.dry_run {
        let shown = client.preview_machine(&body).await;
        let shown = shown.map_err(|error| failure(&format!("place machine {}", args.name), error))?;
        return output.value(&shown, &plan::preview(&body.name, &shown), &shown.placement.node);
    }
    let machine = client.create_machine(&body).await;
    let machine = machine.map_err(|error| failure(&format!("create machine {}", args.name), error))?;
    let limit = args.waiting.limit_with_machines();
    match limit {
        None => output.changed(
            &machine,
            &format!(
                "machine {} is taken down; its node is chosen and makes it now",
                args.name
            ),
        ),
        Some(limit) if args.console => {
            let started = settle::wait(client, output, &machine, Until::Starting, limit).await?;
            shown_before_console(output, &started)?;
            console::attach(client, output, &started.meta.id.to_string(), args.detach_key, limit).await
        }
        Some(limit) => {
            let settled = settle::wait(client, output, &machine, Until::Settled, limit).await?;
            output.changed(&settled, &summary(&settled))
        }
    }
}

/// What comes from the guest has stdout for itself, so the machine is told on stderr alone, or before it.
fn shown_before_console(output: Output, machine: &Machine) -> Result<(), Failure> {
    match output.format {
        Format::Table | Format::Wide => {
            output.remark(&summary(machine));
            Ok(())
        }
        Format::Json | Format::Yaml | Format::Name => output.object(machine),
    }
}

fn body(args: &CreateArgs) -> Result<CreateMachine, Failure> {
    if args.image.is_none() && args.volumes.first().is_some_and(|volume| !volume.exists()) {
        return Err(Failure::usage(
            "a machine without an image boots from its first volume, and that one would be new",
        )
        .hint("give --image, or name a volume that exists first: --volume NAME"));
    }
    one_port_each(&args.networks)?;
    let place = &args.place;
    Ok(CreateMachine {
        name: args.name.to_string(),
        labels: set(&args.labels)?,
        spec: CreateMachineSpec {
            cpus: args.cpus,
            memory: args.memory.map(|memory| Size::bytes(memory.0)),
            image: args.image.as_ref().map(ToString::to_string),
            root_size: args.root_size.map(|size| Size::bytes(size.bytes())),
            volumes: args.volumes.iter().map(VolumeFlag::wanted).collect(),
            pool: place.pool.as_ref().map(ToString::to_string),
            ports: args
                .networks
                .iter()
                .map(|network| network.wanted(&args.allow, args.rate.as_ref()))
                .collect(),
            user_data: match &args.first_boot.user_data {
                Some(path) => first_boot::user_data(path)?,
                None => String::new(),
            },
            ssh_keys: first_boot::ssh_keys(&args.first_boot.ssh_keys)?,
            power: if args.stopped { Power::Off } else { Power::On },
            restart: args.restart.into(),
            cpu_mode: args.cpu_mode.into(),
            hugepages: args.hugepages,
            require: set(&place.require)?,
            prefer: set(&place.prefer)?,
            apart_from: place.apart_from.iter().map(ToString::to_string).collect(),
            near: place.near.iter().map(ToString::to_string).collect(),
            remote_volumes: place.remote_volumes,
        },
    })
}

fn one_port_each(networks: &[NetworkFlag]) -> Result<(), Failure> {
    for (n, network) in networks.iter().enumerate() {
        if networks[..n].iter().any(|before| before.network() == network.network()) {
            return Err(Failure::usage(format!("network {} is given twice", network.network())));
        }
    }
    Ok(())
}

fn set(flags: &[String]) -> Result<Labels, Failure> {
    let labels = labels(flags).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(labels.into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: CreateArgs,
    }

    fn read(line: &str) -> Result<CreateMachine, Failure> {
        let line = Line::try_parse_from(std::iter::once("create").chain(line.split_whitespace()));
        body(&line.unwrap_or_else(|error| panic!("{error}")).args)
    }

    #[test]
    fn a_name_and_an_image_are_enough() {
        assert_eq!(
            serde_json::to_value(read("web1 --image tiny").unwrap()).unwrap(),
            serde_json::json!({"name": "web1", "spec": {
                "image": "tiny", "power": "on", "restart": "on_failure", "cpu_mode": "automatic", "hugepages": false}})
        );
    }

    #[test]
    fn every_flag_is_sent() {
        let line = "web1 --image tiny --root-size 10GiB --cpus 2 --memory 1GiB --volume data=1GiB,delete --volume old \
            --network net1,address=10.0.0.5 --network net2,rate=1Gbit --allow tcp:22 --allow icmp --rate 100Mbit \
            --require ssd=true --prefer zone=a --apart-from web2 --near db1 --pool fast --restart on-failure \
            --remote-volumes --cpu-mode host --hugepages --stopped --label app=web";
        let rules = ["tcp:22", "icmp"];
        assert_eq!(
            serde_json::to_value(read(line).unwrap()).unwrap(),
            serde_json::json!({"name": "web1", "labels": {"app": "web"}, "spec": {
                "cpus": 2, "memory": 1_073_741_824, "image": "tiny", "root_size": 10_737_418_240_u64,
                "volumes": [
                    {"name": "data", "size": 1_073_741_824, "delete_with_machine": true},
                    {"name": "old", "delete_with_machine": false}],
                "pool": "fast",
                "ports": [
                    {"network": "net1", "address": "10.0.0.5", "allow": rules, "rate": "100Mbit"},
                    {"network": "net2", "allow": rules, "rate": "1Gbit"}],
                "power": "off", "restart": "on_failure", "cpu_mode": "host", "hugepages": true,
                "require": {"ssd": "true"}, "prefer": {"zone": "a"}, "apart_from": ["web2"], "near": ["db1"],
                "remote_volumes": true}})
        );
    }

    #[test]
    fn files_are_read_for_the_first_boot() {
        let folder = tempfile::tempdir().unwrap();
        let (data, key) = (folder.path().join("user-data"), folder.path().join("id.pub"));
        std::fs::write(&data, "#cloud-config\n").unwrap();
        std::fs::write(&key, "ssh-ed25519 AAAAC3 me\n").unwrap();
        let line = format!(
            "web1 --image tiny --user-data {} --ssh-key {}",
            data.display(),
            key.display()
        );
        let spec = read(&line).unwrap().spec;
        assert_eq!(
            (spec.user_data.as_str(), spec.ssh_keys),
            ("#cloud-config\n", vec!["ssh-ed25519 AAAAC3 me".to_owned()])
        );
    }

    #[test]
    fn what_contradicts_itself_is_not_sent() {
        for (line, why) in [
            ("web1 --volume data=1GiB", "boots from its first volume"),
            ("web1 --image tiny --network a --network a,rate=1Mbit", "twice"),
            ("web1 --image tiny --user-data /nope/user-data", "/nope/user-data"),
        ] {
            let failure = read(line).expect_err(line);
            assert!(failure.message.contains(why), "{line}: {}", failure.message);
        }
        assert!(read("web1 --volume root-of-old --volume data=1GiB").is_ok());
    }
}
