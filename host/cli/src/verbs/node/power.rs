//! `symphony node power`: what can cut a node's power, and what it says.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Subcommand;
use symphony_api::Client;
use symphony_api::v1::{NodePower, NodePowerSeen, PatchNode, PatchNodeSpec, PowerDevice};

use crate::failure::Failure;
use crate::globals::timeout;
use crate::output::Output;
use crate::refusal::failure;
use crate::target::Target;

/// What can cut a node's power
#[derive(Debug, Subcommand)]
pub enum PowerVerb {
    /// Ask a node's devices whether its power is on; changes nothing
    #[command(after_help = "Example:\n  symphony node power show node-1")]
    Show {
        /// Name or id
        #[arg(value_name = "NODE")]
        node: Target,
    },
    /// Describe the devices that can cut a node's power, in place of those it has
    #[command(
        long_about = "Describe the devices that can cut a node's power. They are asked by the agents of other nodes, which must \
                      have the program in [fence_programs] of their agent.toml. Programs follow the convention of the fence \
                      agents (package fence-agents): fence_ipmilan, fence_apc, fence_redfish and many more.\n\n\
                      A secret is never written here: password=@NAME stands for what is in fence/NAME of the asking agent's \
                      folder. Devices of one level cut the power together, as for a server with two supplies; a later level is \
                      for when an earlier one fails.",
        after_help = "Examples:\n  symphony node power set node-1 --device fence_ipmilan,ip=10.9.0.1,username=fence,password=@ipmi,lanplus=1\n  \
                      symphony node power set node-2 --device fence_apc,ip=pdu-a,plug=3 --device fence_apc,ip=pdu-b,plug=3 \
                      --device fence_ipmilan,level=2,ip=10.9.0.2,username=fence,password=@ipmi --after 2m"
    )]
    Set {
        /// Name or id
        #[arg(value_name = "NODE")]
        node: Target,
        /// A device: the program and its options; level=N says which level it is of (1 when not said)
        #[arg(long, value_name = "PROGRAM,NAME=VALUE,...", required = true, value_parser = device)]
        device: Vec<PowerDevice>,
        /// Cut the power by itself when the node has been Unknown for so long, like 2m [default: never]
        #[arg(long, value_name = "TIME", value_parser = timeout)]
        after: Option<Duration>,
    },
    /// Forget a node's devices; a fence that is under way ends
    #[command(after_help = "Example:\n  symphony node power clear node-1")]
    Clear {
        /// Name or id
        #[arg(value_name = "NODE")]
        node: Target,
    },
}

/// Does a verb.
pub(super) async fn run(client: &Client, output: Output, verb: PowerVerb) -> Result<(), Failure> {
    match verb {
        PowerVerb::Show { node } => show(client, output, &node).await,
        PowerVerb::Set { node, device, after } => {
            let after_s = after.map(|after| u32::try_from(after.as_secs()).unwrap_or(u32::MAX));
            let power = NodePower {
                devices: device,
                after_s,
            };
            let changed = patch(client, &node, power).await?;
            let name = &changed.meta.name;
            output.changed(
                &changed,
                &format!(
                    "the devices of node {name} are on record; see that they are right: symphony node power show {name}"
                ),
            )
        }
        PowerVerb::Clear { node } => {
            let changed = patch(client, &node, NodePower::default()).await?;
            let name = changed.meta.name.clone();
            output.changed(&changed, &format!("nothing can cut the power of node {name} any more"))
        }
    }
}

async fn patch(client: &Client, node: &Target, power: NodePower) -> Result<symphony_api::v1::Node, Failure> {
    let patch = PatchNode {
        labels: None,
        spec: Some(PatchNodeSpec {
            power: Some(power),
            ..PatchNodeSpec::default()
        }),
    };
    let changed = client.patch_node(node.as_str(), &patch, None).await;
    changed.map_err(|error| failure(&format!("change the devices of node {node}"), error))
}

async fn show(client: &Client, output: Output, node: &Target) -> Result<(), Failure> {
    let what = format!("ask the devices of node {node}");
    let seen = client
        .node_power(node.as_str())
        .await
        .map_err(|error| failure(&what, error))?;
    let known = client
        .node(node.as_str())
        .await
        .map_err(|error| failure(&what, error))?;
    output.value(&seen, &text(&seen), &seen.node)?;
    if let Some(warning) = warning(&seen, &known.status.phase) {
        output.remark(&warning);
    }
    Ok(())
}

fn text(seen: &NodePowerSeen) -> String {
    let mut text = String::new();
    for device in &seen.devices {
        let said = match device.said.as_str() {
            "" => String::new(),
            said => format!(" ({said})"),
        };
        let (number, level, program, state) = (device.device, device.level, &device.program, &device.state);
        text.push_str(&format!("device {number}  level {level}  {program}  {state}{said}\n"));
    }
    text.push_str(&format!("asked by node {}\n", seen.asked_by));
    text
}

/// What can't be right.
fn warning(seen: &NodePowerSeen, phase: &str) -> Option<String> {
    let off: Vec<String> = seen
        .devices
        .iter()
        .filter(|device| device.state == "off")
        .map(|d| d.device.to_string())
        .collect();
    if phase == "Ready" && !off.is_empty() {
        let (node, off) = (&seen.node, off.join(", "));
        return Some(format!(
            "warning: node {node} is connected, and device {off} says that it is off: it is another server's, and would cut \
             the wrong one"
        ));
    }
    let unknown = seen.devices.iter().any(|device| device.state == "unknown");
    unknown.then(|| "warning: a device that does not answer now will not cut the power when it must".to_owned())
}

/// `PROGRAM,NAME=VALUE,...`
fn device(text: &str) -> Result<PowerDevice, String> {
    let mut parts = text.split(',');
    let program = parts.next().unwrap_or_default().to_owned();
    if program.is_empty() || program.contains('=') {
        return Err("a device starts with its program, like fence_ipmilan,ip=10.9.0.1".to_owned());
    }
    let (mut level, mut options) = (1, BTreeMap::new());
    for part in parts {
        let (name, value) = part
            .split_once('=')
            .ok_or_else(|| format!("{part:?} is not NAME=VALUE; a value has no comma"))?;
        if name == "level" {
            level = value.parse().map_err(|_| format!("level {value:?} is not a number"))?;
        } else if options.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(format!("{name} is given twice"));
        }
    }
    Ok(PowerDevice {
        level,
        program,
        options,
    })
}

#[cfg(test)]
mod tests {
    use symphony_api::v1::PowerDeviceSeen;

    use super::*;

    #[test]
    fn a_device_is_a_program_and_its_options() {
        let read = device("fence_apc,level=2,ip=pdu-a,plug=3,password=@pdu").unwrap();
        assert_eq!((read.level, read.program.as_str()), (2, "fence_apc"));
        let options: Vec<_> = read
            .options
            .iter()
            .map(|(name, value)| format!("{name}:{value}"))
            .collect();
        assert_eq!(options, ["ip:pdu-a", "password:@pdu", "plug:3"]);
        assert_eq!(device("fence_x").unwrap().level, 1);
        for wrong in ["", "ip=1", "fence_x,ip", "fence_x,level=high", "fence_x,ip=1,ip=2"] {
            assert!(device(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_device_of_another_server_is_warned_of() {
        let seen = |state: &str| NodePowerSeen {
            node: "n1".to_owned(),
            asked_by: "n2".to_owned(),
            off: false,
            devices: vec![PowerDeviceSeen {
                device: 0,
                level: 1,
                program: "fence_x".to_owned(),
                state: state.to_owned(),
                said: String::new(),
            }],
        };
        assert!(warning(&seen("off"), "Ready").unwrap().contains("another server's"));
        assert!(warning(&seen("off"), "Unknown").is_none() && warning(&seen("on"), "Ready").is_none());
        assert!(warning(&seen("unknown"), "Ready").is_some());
        assert_eq!(text(&seen("on")), "device 0  level 1  fence_x  on\nasked by node n2\n");
    }
}
