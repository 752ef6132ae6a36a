//! `cargo xtask demo`: the main job, for real, in a minute: an image, volumes from it, why they went where they went,
//! another policy while everything runs, and back; at the end a virtual machine.

mod cloud;
mod disk;
mod machine;

use std::error::Error;
use std::path::PathBuf;

use crate::setup::{self, Need};
use crate::{plugins, process};

use cloud::Cloud;

/// What `demo` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// End after the tour, with exit code 0; without it the cloud stays up until Ctrl-C.
    #[arg(long)]
    pub(crate) once: bool,
    /// A disk image of your own (raw or qcow2) instead of the tiny one that is made here.
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Option<PathBuf>,
    /// How many nodes.
    #[arg(long, default_value_t = 3)]
    pub(crate) nodes: u32,
    /// Whether the programs were built just now.
    #[arg(skip)]
    pub(crate) is_built: bool,
}

/// Sets up, builds, and takes the tour.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if !arguments.is_built {
        build()?;
    }
    let mut cloud = Cloud::start(arguments.nodes)?;
    let toured = tour(&cloud, arguments).and_then(|()| machine::tour(&cloud));
    let has_machines = match toured {
        Ok(has_machines) => has_machines,
        Err(error) => {
            cloud.show_log();
            return Err(error);
        }
    };
    if arguments.once {
        cloud.say("The end: machines, networks and nodes are taken down, and nothing of them stays.");
        return cloud.stop();
    }
    what_next(&cloud, has_machines);
    cloud.stay()
}

fn build() -> Result<(), Box<dyn Error>> {
    setup::run(Need::Building)?;
    plugins::run(&plugins::Arguments::default())?;
    eprintln!("building symphony …");
    process::run(&mut process::cargo(&[
        "build",
        "--quiet",
        "-p",
        "symphony",
        "-p",
        "symphony-node",
    ]))
}

fn tour(cloud: &Cloud, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let image = match &arguments.image {
        Some(image) => image.canonicalize()?,
        None => disk::tiny(cloud.dir())?,
    };
    let image = image.to_string_lossy().into_owned();

    cloud.say("Three nodes, with pools of different sizes:");
    cloud.symphony(&["node", "list"])?;

    cloud.say("A disk image is streamed in, hashed on the way, checked, and stored under its digest:");
    cloud.symphony(&["image", "create", "tiny", "--file", &image])?;
    cloud.symphony(&["image", "list"])?;

    cloud.say("Volumes from it. A scheduler component places them, a driver component plans them, agents make them:");
    for name in ["web-1", "web-2", "web-3"] {
        cloud.symphony(&["volume", "create", name, "--size", "30GiB", "--image", "tiny"])?;
    }
    cloud.symphony(&["volume", "list"])?;
    cloud.say("Why there? Every node is named, with its score or the filter that removed it:");
    cloud.symphony(&["explain", "volume", "web-3"])?;
    disk::compare(cloud.dir(), &image)?;

    cloud.say("A third party's scheduler: one small crate outside this workspace, built, pushed and activated while all runs:");
    let hello = process::root().join("sdk/rust/examples/hello-scheduler");
    let component = cloud.dir().join("hello.wasm");
    let (hello, component) = (
        hello.to_string_lossy().into_owned(),
        component.to_string_lossy().into_owned(),
    );
    cloud.symphony(&["plugin", "build", &hello, "--out", &component])?;
    cloud.symphony(&["plugin", "push", &component])?;
    cloud.symphony(&["plugin", "activate", "hello"])?;
    for name in ["hello-1", "hello-2"] {
        cloud.symphony(&["volume", "create", name, "--size", "4GiB", "--image", "tiny"])?;
    }
    cloud.symphony(&["volume", "list", "-o", "wide"])?;
    cloud.symphony(&["explain", "volume", "hello-2"])?;

    cloud.say("And back, with one write:");
    cloud.symphony(&["plugin", "rollback"])?;
    cloud.symphony(&["volume", "create", "back-1", "--size", "4GiB"])?;
    cloud.symphony(&["plugin", "list"])?;

    cloud.say(
        "What fits nowhere is not lost: it says why, waits, and is placed as soon as there is room (exit code 5):",
    );
    cloud.symphony_failing(5, &["volume", "create", "huge", "--size", "10TiB", "--timeout", "5s"])
}

fn what_next(cloud: &Cloud, has_machines: bool) {
    let config = cloud.dir().join("client.toml");
    cloud.say("The cloud is up. Try, in another terminal:");
    println!("  export SYMPHONY_CONFIG={}", config.display());
    println!("  export PATH={}:$PATH", process::target_dir().join("debug").display());
    if has_machines {
        machine::what_next();
    }
    println!("  symphony volume create mine --size 1GiB --image tiny && symphony explain volume mine");
    println!(
        "  symphony node cordon node-3 && symphony volume create other --size 1GiB && symphony node uncordon node-3"
    );
    println!("  symphony plugin activate binpack && symphony volume create packed --size 1GiB");
    println!("  symphony events --follow");
    println!("  symphony plugin new scheduler my-policy      # and make it yours");
    println!("Ctrl-C ends it.");
}
