//! The end of the tour: a virtual machine from an image, on a network, seen from its console and from its node.

use std::error::Error;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use symphony_core::network::links;
use symphony_lab::Abilities;

use super::cloud::Cloud;

/// What the guest says when it is up, its address with it.
const BANNER: &str = "symphony-linux up";
/// A guest without the processor's help needs some ten seconds; on a busy server several times that.
const PATIENCE: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(500);

/// Boots a machine and looks at it from all sides. Says so and does nothing where machines can't run; whether it did.
pub(super) fn tour(cloud: &Cloud) -> Result<bool, Box<dyn Error>> {
    let lacking = Abilities::here().lacking_for_networks();
    if !lacking.is_empty() {
        let lacking = lacking.join(", ");
        println!("\n!!! NO MACHINES ON THIS SERVER ({lacking}): THE TOUR ENDS HERE");
        return Ok(false);
    }
    let disk = symphony_lab::linux()?;

    cloud.say(
        "A virtual machine: a small Linux is the image, and one command makes it, with its disks and its address:",
    );
    cloud.symphony(&["image", "create", "linux", "--file", &disk.to_string_lossy()])?;
    cloud.symphony(&["network", "create", "net1"])?;
    cloud.symphony(&[
        "machine",
        "create",
        "web1",
        "--image",
        "linux",
        "--cpus",
        "1",
        "--memory",
        "256MiB",
        "--volume",
        "data=1GiB",
        "--network",
        "net1",
        "--wait",
    ])?;

    cloud.say("Its guest boots from the volume and asks for its address by DHCP; the console shows it:");
    let said = banner(cloud)?;
    println!("$ symphony machine console web1 --log | tail -n 2\n{said}");

    let machine = cloud.json(&["machine", "show", "web1"])?;
    let network = cloud.json(&["network", "show", "net1"])?;
    let address = text(&machine, "/spec/ports/0/address")?;
    let node = text(&machine, "/status/placement/node")?;
    if !said.contains(&format!("address={address}")) {
        return Err(format!("the machine was given {address}, and says something else").into());
    }
    let namespace = links::namespace(&node.parse()?, text(&network, "/id")?.parse()?);
    cloud.say("It answers from its node; the network is a namespace there, so two projects may both have 10.0.0.0/24:");
    let mut ping = Command::new("ip");
    ping.args([
        "netns", "exec", &namespace, "ping", "-q", "-c", "3", "-i", "0.2", address,
    ]);
    cloud.shell(&mut ping)?;

    cloud.say("Why there, and what it is made of:");
    cloud.symphony(&["explain", "machine", "web1"])?;
    Ok(true)
}

/// Waits until the guest is up; the end of what it said until then.
fn banner(cloud: &Cloud) -> Result<String, Box<dyn Error>> {
    let until = Instant::now() + PATIENCE;
    loop {
        let log = cloud
            .command()
            .args(["machine", "console", "web1", "--log"])
            .stdin(Stdio::null())
            .output()?;
        let log = String::from_utf8_lossy(&log.stdout).replace('\r', "");
        let lines: Vec<&str> = log.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        if let Some(last) = lines.iter().rposition(|line| line.starts_with(BANNER)) {
            return Ok(lines[last.saturating_sub(1)..=last].join("\n"));
        }
        if Instant::now() > until {
            return Err(format!("the guest did not come up; it said:\n{log}").into());
        }
        std::thread::sleep(PAUSE);
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> Result<&'a str, Box<dyn Error>> {
    let text = object.pointer(pointer).and_then(Value::as_str);
    text.ok_or_else(|| format!("{pointer} is missing").into())
}

/// Commands for whoever goes on.
pub(super) fn what_next() {
    println!("  symphony machine console web1                # a shell of root; Ctrl-] lets go");
    println!("  symphony vm list && symphony events machine/web1  # its story, step by step");
    println!("  symphony machine create web2 --image linux --network net1 --apart-from web1 --console");
    println!("  symphony machine stop web1 && symphony machine delete web1");
}
