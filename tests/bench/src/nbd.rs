//! A volume as a machine on another node has it, against its own file: through the tunnel, TLS and the server of its node.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use symphony_api::client::Upload;
use symphony_tests::lab::{self, Abilities};
use symphony_tests::{Cloud, Options, until};

use crate::figure::{Aim, Figure, Values};
use crate::timing::median;

const ROUNDS: usize = 5;

pub(crate) const FIGURES: [Figure; 4] = [
    Figure {
        name: "nbd.read_1m_mib_per_s",
        unit: "MiB/s",
        aim: Aim::None,
        what: "a volume of another node read through tunnel, TLS and server on one machine: 1 MiB each, 16 at once",
    },
    Figure {
        name: "nbd.read_1m_ratio",
        unit: "",
        aim: Aim::None,
        what: "… against its raw file, taking turns",
    },
    Figure {
        name: "nbd.read_4k_per_s",
        unit: "1/s",
        aim: Aim::None,
        what: "… 4 KiB each, 16 at once",
    },
    Figure {
        name: "nbd.read_4k_ratio",
        unit: "",
        aim: Aim::None,
        what: "… against its raw file, taking turns",
    },
];

/// Measures; the cloud that it was done with. Nothing where no machines can run.
pub(crate) async fn measure(values: &mut Values) -> Result<Option<Cloud>, Box<dyn Error>> {
    if !Abilities::here().machines() || !Abilities::here().networks() {
        return Ok(None);
    }
    let options = Options {
        nodes: 2,
        capacities: "1GiB",
        machines: true,
        environment: Vec::new(),
    };
    let cloud = Cloud::start(options).await;
    let disk = cloud.dir().join("tiny.raw");
    lab::tiny(&disk, "far away").map_err(|error| error.to_string())?;
    let client = cloud.client();
    client
        .create_image("tiny", None, Upload::bytes(std::fs::read(&disk)?))
        .await?;
    done(&cloud, "volume create data --image tiny --size 512MiB --require zone=a")?;
    let volume = cloud.ready("data").await;
    let file = cloud.files(&volume).remove(0);
    // Bytes that are there, not holes.
    let mut bytes = std::fs::OpenOptions::new().write(true).open(&file)?;
    std::io::Seek::seek(&mut bytes, std::io::SeekFrom::Start(1 << 20))?;
    for _ in 1..512 {
        std::io::Write::write_all(&mut bytes, &[0x5a; 1 << 20])?;
    }
    bytes.sync_all()?;
    done(
        &cloud,
        "machine create far --memory 16MiB --volume data --require zone=b --remote-volumes",
    )?;
    let socket = until("the tunnel's socket", async || {
        sockets(&cloud.dir().join("nodes/node-2")).into_iter().next()
    })
    .await;
    // A socket's path is short, and a cloud's folder need not be: it is reached from the folder that it is in.
    let (folder, socket) = (socket.parent(), socket.file_name());
    let (Some(folder), Some(socket)) = (folder, socket.and_then(|name| name.to_str())) else {
        return Err("a socket has a name and a folder".into());
    };
    let far = format!("nbd+unix:///{}?socket={socket}", volume.meta.id);
    let near = file.display().to_string();
    for (size, count, rate, ratio, unit) in [
        ("1M", 1_000, "nbd.read_1m_mib_per_s", "nbd.read_1m_ratio", 1.0),
        ("4k", 20_000, "nbd.read_4k_per_s", "nbd.read_4k_ratio", 1.0),
    ] {
        let (mut fars, mut nears) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            fars.push(read(folder, &far, size, count)? * unit);
            nears.push(read(folder, &near, size, count)? * unit);
        }
        let (far, near) = (median(fars), median(nears));
        values.put(rate, far);
        values.put(ratio, far / near);
    }
    Ok(Some(cloud))
}

/// Reads per second, by `qemu-img bench`.
fn read(folder: &Path, from: &str, size: &str, count: u32) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    let output = Command::new("qemu-img")
        .args([
            "bench",
            "-U",
            "-f",
            "raw",
            "-t",
            "none",
            "-d",
            "16",
            "-s",
            size,
            "-c",
            &count.to_string(),
        ])
        .arg(from)
        .current_dir(folder)
        .output()?;
    if !output.status.success() {
        return Err(format!("qemu-img bench {from}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    // What it says itself is without its own start.
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let seconds = said
        .split("Run completed in ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok())
        .unwrap_or_else(|| start.elapsed().as_secs_f64());
    Ok(f64::from(count) / seconds)
}

fn done(cloud: &Cloud, line: &str) -> Result<(), Box<dyn Error>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match cloud.symphony(&words) {
        (0, ..) => Ok(()),
        (code, _, why) => Err(format!("symphony {line}: exit code {code}: {why}").into()),
    }
}

/// The tunnels' sockets below a folder.
fn sockets(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "nbd") {
                found.push(path);
            }
        }
    }
    found
}
