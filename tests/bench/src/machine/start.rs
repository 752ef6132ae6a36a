//! A machine through the whole cloud, and the same domain by `virsh create` alone, taking turns on one libvirtd.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use symphony_api::Code;
use symphony_api::v1::{CreateNetwork, CreateNetworkSpec, Labels, VolumesThen};
use symphony_compute::Libvirtd;
use symphony_tests::{Cloud, Options, until};

use super::{image, machine};
use crate::cloud::PATIENCE;
use crate::figure::Values;
use crate::timing::median;

const ROUNDS: usize = 9;
/// How often a file is looked at for its first byte: far less than what is measured.
const LOOK: Duration = Duration::from_millis(1);

/// Measures; the cloud that it was done with.
pub(super) async fn measure(values: &mut Values) -> Result<Cloud, Box<dyn Error>> {
    let cloud = Cloud::start(Options {
        nodes: 1,
        capacities: "40GiB",
        machines: true,
        ..Options::default()
    })
    .await;
    image(&cloud).await?;
    let network = CreateNetwork {
        name: "net1".to_owned(),
        labels: Labels::default(),
        spec: CreateNetworkSpec::default(),
    };
    cloud.client().create_network(&network).await?;
    // It brings the image to the node, and keeps the network there.
    by_symphony(&cloud, "first", Some("net1")).await?;
    let virsh = Virsh::new(&cloud)?;
    by_symphony(&cloud, "pattern", None).await?;
    let domain = virsh.domain(&cloud, "pattern").await?;
    gone(&cloud, "pattern").await?;
    virsh.create(&domain)?;

    let mut times: [Vec<Duration>; 3] = Default::default();
    for round in 0..ROUNDS {
        let (alone, connected) = (format!("m-{round}"), format!("n-{round}"));
        times[0].push(by_symphony(&cloud, &alone, None).await?);
        gone(&cloud, &alone).await?;
        times[1].push(virsh.create(&domain)?);
        times[2].push(by_symphony(&cloud, &connected, Some("net1")).await?);
        gone(&cloud, &connected).await?;
        let [ours, theirs, connected] = times.each_ref().map(|times| times[round]);
        eprintln!("  symphony {ours:.0?}, with a network {connected:.0?}, virsh {theirs:.0?}");
    }
    let [ours, theirs, connected] = times.map(|times| times.iter().map(millis).collect::<Vec<_>>());
    let over = |ours: &[f64]| median(ours.iter().zip(&theirs).map(|(ours, theirs)| ours - theirs).collect());
    values.put("machine.overhead_ms", over(&ours));
    values.put("machine.overhead_net_ms", over(&connected));
    values.put("machine.create_ms", median(ours));
    values.put("machine.virsh_ms", median(theirs));
    Ok(cloud)
}

fn millis(time: &Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// From the API call to the first byte in the console's log on the node.
async fn by_symphony(cloud: &Cloud, name: &str, network: Option<&str>) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    let made = cloud.client().create_machine(&machine(name, network)).await?;
    let log = node(cloud)
        .join("machines")
        .join(made.meta.id.to_string())
        .join("console.log");
    let time = tokio::task::spawn_blocking(move || first_byte(&log, start)).await??;
    Ok(time)
}

async fn gone(cloud: &Cloud, name: &str) -> Result<(), Box<dyn Error>> {
    let client = cloud.client();
    client.delete_machine(name, VolumesThen::Delete, None).await?;
    until("the machine to be gone", async || {
        let error = client.machine(name).await.err();
        error.filter(|error| error.code() == Some(Code::NotFound))
    })
    .await;
    Ok(())
}

fn node(cloud: &Cloud) -> PathBuf {
    cloud.dir().join("nodes/node-1")
}

/// Waits until there is something in a file.
fn first_byte(log: &Path, start: Instant) -> Result<Duration, String> {
    while start.elapsed() < PATIENCE {
        if log.metadata().is_ok_and(|meta| meta.len() > 0) {
            return Ok(start.elapsed());
        }
        std::thread::sleep(LOOK);
    }
    Err(format!("{} stayed empty", log.display()))
}

/// The node's libvirtd, without symphony.
struct Virsh {
    uri: String,
    folder: PathBuf,
}

impl Virsh {
    fn new(cloud: &Cloud) -> Result<Self, Box<dyn Error>> {
        let libvirtd = Libvirtd::find(&node(cloud).join("libvirt"))?.ok_or("the node has no libvirtd of its own")?;
        let folder = cloud.dir().join("virsh");
        std::fs::create_dir(&folder)?;
        Ok(Self {
            uri: libvirtd.uri(),
            folder,
        })
    }

    /// A machine's domain under another name, with a copy of its disk; what its guest says also goes to a file.
    async fn domain(&self, cloud: &Cloud, machine: &str) -> Result<PathBuf, Box<dyn Error>> {
        let found = cloud.client().machine(machine).await?;
        let (id, volume) = (found.meta.id.to_string(), found.spec.volumes[0].id.to_string());
        let disks = cloud.files_named(|file| file == format!("{volume}.raw"));
        let disk = disks.first().ok_or("the machine's volume has no file")?;
        let copy = self.folder.join("disk.raw");
        std::fs::copy(disk, &copy)?;
        let xml = self.run(&["dumpxml", "--inactive", &id])?;
        let other = uuid::Uuid::now_v7().to_string();
        let machines = node(cloud).join("machines");
        std::fs::create_dir(machines.join(&other))?;
        std::fs::copy(
            machines.join(&id).join("seed.img"),
            machines.join(&other).join("seed.img"),
        )?;
        let xml = xml.replace(&disk.display().to_string(), &copy.display().to_string());
        let xml = xml.replace(&id, &other);
        let port = "<target type='isa-serial'";
        let with_log = xml.replacen(port, &format!("<log file='{}'/>{port}", self.log().display()), 1);
        if with_log == xml || !xml.contains(&copy.display().to_string()) {
            return Err(format!("the domain has no serial port or not the volume:\n{xml}").into());
        }
        let file = self.folder.join("domain.xml");
        std::fs::write(&file, with_log)?;
        Ok(file)
    }

    fn log(&self) -> PathBuf {
        self.folder.join("console.log")
    }

    /// From the command to the guest's first byte; ends the domain after it.
    fn create(&self, domain: &Path) -> Result<Duration, Box<dyn Error>> {
        match std::fs::remove_file(self.log()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let start = Instant::now();
        let said = self.run(&["create", &domain.display().to_string()])?;
        let time = first_byte(&self.log(), start)?;
        let name = said.split('\'').nth(1).ok_or("virsh names no domain")?;
        self.run(&["destroy", name])?;
        Ok(time)
    }

    fn run(&self, words: &[&str]) -> Result<String, Box<dyn Error>> {
        let mut virsh = Command::new("virsh");
        virsh.args(["--connect", &self.uri]).args(words).stdin(Stdio::null());
        let output = virsh.output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("virsh {} failed: {said}", words.join(" ")).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}
