//! The machines of a node: facts about them, and steps on them. Each step leaves as it is what it finds done; the order of
//! what a step does is chosen so that after a crash anywhere the facts say what is left to do.

mod devices;
mod end;
mod facts;
mod power;
mod remotes;

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use symphony_agent::NoticeSink;
use symphony_core::plan::machine::{
    DISKS_MAX, Description, DiskDevice, DiskSource, Hypervisor as Kind, PORTS_MAX, Step,
};
use symphony_protocol::ExportAccess;

use crate::console::Console;
use crate::domain::{self, Backing, Files, Noted};
use crate::hypervisor::{self, Hypervisor};
use crate::machine::{self, Seen};
use crate::remote;
use crate::{seed, short};

/// Bytes of an object's name: a UUID.
const OBJECT_BYTES: usize = 36;

/// Where the volumes are.
pub trait Disks: Send + Sync {
    /// The raw file of a volume in a pool of this node.
    ///
    /// # Errors
    /// When there is no such pool or volume.
    fn path(&self, pool: &str, volume: &str) -> io::Result<PathBuf>;
}

/// How a node runs machines.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the machines' own files go: one folder each.
    pub folder: PathBuf,
    /// Where libvirt is, for instance [`Libvirtd::uri`](crate::Libvirtd::uri) or `qemu:///system`.
    pub uri: String,
    /// What runs the machines.
    pub hypervisor: Kind,
}

/// A step was not done, or a fact not found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// libvirt.
    #[error("libvirt did not do it")]
    Hypervisor(#[from] hypervisor::Error),
    /// The seed disk.
    #[error("the seed disk was not made")]
    Seed(#[from] seed::Error),
    /// The machine's own files.
    #[error("the machine's files")]
    Files(#[from] io::Error),
    /// A disk's file is not there.
    #[error("volume {volume} in pool {pool} can't be used")]
    Disk {
        /// Which.
        volume: String,
        /// Where.
        pool: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A volume of another node can't be had.
    #[error("a volume of another node")]
    Remote(#[from] symphony_agent::StepError),
    /// Nobody said where a volume of another node is reached.
    #[error("where volume {0} of another node is reached is not known (yet)")]
    Unserved(String),
    /// Another machine on this node has that volume.
    #[error("volume {volume} is machine {machine}'s")]
    Taken {
        /// Which.
        volume: String,
        /// Whose.
        machine: String,
    },
    /// libvirt does not know the machine.
    #[error("there is no such machine")]
    Unknown,
    /// What libvirt keeps of the machine is not in words that this agent knows.
    #[error("what libvirt keeps of machine {machine} can't be read: was a newer agent here? Nothing is done with it")]
    Unreadable {
        /// Which.
        machine: String,
    },
    /// The step needs a machine that is off.
    #[error("the machine runs")]
    Running,
    /// The step needs a machine that runs.
    #[error("the machine is off")]
    Off,
    /// The guest did not let go of a device by the deadline; asked again, it may.
    #[error("the guest does not let go of the device")]
    Held,
    /// The description is not one that can be had.
    #[error("the machine can't be made: {0}")]
    Unfit(String),
}

/// The machines of a node.
pub struct Machines {
    folder: PathBuf,
    /// The folder, by a path that is short enough for sockets in it.
    sockets: PathBuf,
    kind: Kind,
    hypervisor: Hypervisor,
    disks: Arc<dyn Disks>,
    consoles: Mutex<HashMap<String, Arc<Console>>>,
    /// Where machines' volumes on other nodes are reached, as was said last.
    exports: Mutex<HashMap<String, Vec<ExportAccess>>>,
    /// Told when a machine ends.
    notices: Option<NoticeSink>,
    logs: Option<PathBuf>,
}

impl std::fmt::Debug for Machines {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut this = formatter.debug_struct("Machines");
        this.field("folder", &self.folder)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Machines {
    /// The machines in a folder, which is made when it is not there. libvirt is reached when it is first needed; the
    /// consoles of machines that run are connected when facts about them are asked for.
    ///
    /// # Errors
    /// When the folder can't be made, or no path of it is short enough for sockets in it.
    pub fn open(options: Options, disks: Arc<dyn Disks>) -> io::Result<Self> {
        std::fs::create_dir_all(&options.folder)?;
        let folder = options.folder.canonicalize()?;
        let sockets = short::way(&folder, OBJECT_BYTES + "//".len() + remote::SOCKET.len())?;
        let hypervisor = Hypervisor::start(options.uri)?;
        Ok(Self {
            folder,
            sockets,
            kind: options.hypervisor,
            hypervisor,
            disks,
            consoles: Mutex::default(),
            exports: Mutex::default(),
            notices: None,
            logs: None,
        })
    }

    /// With the folder where a libvirtd of ours keeps a log of each machine, which nobody else takes away.
    #[must_use]
    pub fn logging_to(self, logs: PathBuf) -> Self {
        Self {
            logs: Some(logs),
            ..self
        }
    }

    /// With somebody who is told when a machine ends. Only machines with a console are heard to end.
    #[must_use]
    pub fn telling(self, notices: NoticeSink) -> Self {
        Self {
            notices: Some(notices),
            ..self
        }
    }

    /// Has libvirt find out what its QEMU can, in the background: else the first machine waits for that.
    pub fn warm(&self) {
        match self.kind {
            Kind::Kvm => self.hypervisor.warm("kvm"),
            Kind::Qemu => self.hypervisor.warm("qemu"),
            Kind::Test => {}
        }
    }

    /// Does a step.
    ///
    /// # Errors
    /// Why it was not done; it may be done in part, which the facts show.
    pub async fn run(&self, step: &Step) -> Result<(), Error> {
        check_object(step.object())?;
        match step {
            Step::Define(description) => self.define(description).await,
            Step::WriteSeed { object, digest, files } => {
                let (folder, digest, files) = (self.make_folder(object)?, digest.clone(), files.clone());
                blocking(move || seed::write(&folder, &digest, &files).map_err(Error::from)).await
            }
            Step::Start { object, boots } => self.start(object, *boots).await,
            Step::Shutdown { object, timeout_ms } => self.shutdown(object, *timeout_ms).await,
            Step::Destroy { object } => self.destroy(object).await,
            Step::Reboot {
                object,
                boots,
                timeout_ms,
            } => self.reboot(object, *boots, *timeout_ms).await,
            Step::Resume { object } => self.resume(object).await,
            Step::AttachDisk { object, device } => self.attach_disk(object, device).await,
            Step::DetachDisk { object, volume } => self.detach_disk(object, volume).await,
            Step::AttachPort { object, device } => self.attach_port(object, device).await,
            Step::DetachPort { object, port } => self.detach_port(object, port).await,
            Step::Undefine { object } => self.undefine(object).await,
        }
    }

    /// A machine's console, for watching it and typing into it. It can be had before the machine is there.
    ///
    /// # Errors
    /// When the name is none of a machine.
    pub fn console(&self, object: &str) -> Result<Arc<Console>, Error> {
        check_object(object)?;
        let mut consoles = self.consoles.lock().unwrap_or_else(PoisonError::into_inner);
        let console = consoles.entry(object.to_owned()).or_insert_with(|| {
            let notice = self.notices.clone().map(|sink| (sink, format!("machine/{object}")));
            Console::new(&self.machine_folder(object), self.files(object).console, notice)
        });
        Ok(Arc::clone(console))
    }

    /// Whether a machine was defined here and not undefined since. Asks only the folder, so that libvirt may be busy.
    pub(crate) fn is_known(&self, object: &str) -> bool {
        check_object(object).is_ok() && self.machine_folder(object).is_dir()
    }

    /// The unix socket of a machine's screen (VNC), while it runs and has one.
    ///
    /// # Errors
    /// When the name is none of a machine.
    pub fn screen(&self, object: &str) -> Result<PathBuf, Error> {
        check_object(object)?;
        Ok(self.files(object).screen)
    }

    async fn define(&self, description: &Description) -> Result<(), Error> {
        check_description(description)?;
        let object = description.object.clone();
        self.make_folder(&object)?;
        symphony_crash::point("compute.define.after_folder");
        let backings: Vec<Backing> = description
            .disks
            .iter()
            .map(|device| self.backing(&description.object, device))
            .collect::<Result<_, _>>()?;
        let files = self.files(&object);
        let noted = Noted {
            description: description.clone(),
            boots: 0,
            ordered: false,
        };
        let volumes: Vec<String> = description
            .disks
            .iter()
            .map(|device| device.disk.volume.clone())
            .collect();
        // One call on the connection's thread: nobody defines another machine with these disks meanwhile.
        let done = self.hypervisor.change(move |connect| {
            if let Err(error) = machine::untaken(connect, &object, &volumes)? {
                return Ok(Err(error));
            }
            let before = match machine::see(connect, &object)? {
                Ok(seen) => seen.map(|seen| seen.noted),
                Err(error) => return Ok(Err(error)),
            };
            let noted = match before {
                Some(before) if before.description == noted.description => return Ok(Ok(())),
                Some(before) => Noted {
                    description: noted.description,
                    ..before
                },
                None => noted,
            };
            match domain::define(&noted.description, &noted, &files, &backings) {
                Ok(xml) => virt::domain::Domain::define_xml(connect, &xml).map(|_| Ok(())),
                Err(error) => Ok(Err(Error::Unfit(error.to_string()))),
            }
        });
        done.await??;
        symphony_crash::point("compute.define.after_define");
        Ok(())
    }

    async fn undefine(&self, object: &str) -> Result<(), Error> {
        let name = object.to_owned();
        let done = self.hypervisor.change(move |connect| {
            let Some(domain) = machine::find(connect, &name)? else {
                return Ok(Ok(()));
            };
            if domain.is_active()? {
                return Ok(Err(Error::Running));
            }
            domain.undefine().map(Ok)
        });
        done.await??;
        symphony_crash::point("compute.undefine.after_undefine");
        self.forget_remotes(object).await?;
        self.consoles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(object);
        if let Some(logs) = &self.logs {
            // Before the folder, which says that something is left of the machine.
            match std::fs::remove_file(logs.join(format!("{object}.log"))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        match std::fs::remove_dir_all(self.machine_folder(object)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        seed::sync(&self.folder)?;
        symphony_crash::point("compute.undefine.after_folder");
        Ok(())
    }

    async fn see(&self, object: &str) -> Result<Option<Seen>, Error> {
        let object = object.to_owned();
        self.hypervisor
            .read(move |connect| machine::see(connect, &object))
            .await?
    }

    fn backing(&self, object: &str, device: &DiskDevice) -> Result<Backing, Error> {
        let volume = &device.disk.volume;
        let pool = match &device.disk.source {
            DiskSource::Local { pool } => pool,
            DiskSource::Remote { .. } => {
                return Ok(Backing::Nbd {
                    socket: self.tunnel(object, volume).socket,
                    name: volume.clone(),
                });
            }
        };
        let found = self.disks.path(pool, volume);
        let opened = found.and_then(|path| open_past_cache(&path).map(|direct| Backing::File { path, direct }));
        opened.map_err(|source| Error::Disk {
            volume: volume.clone(),
            pool: pool.clone(),
            source,
        })
    }

    fn machine_folder(&self, object: &str) -> PathBuf {
        self.folder.join(object)
    }

    fn make_folder(&self, object: &str) -> Result<PathBuf, Error> {
        let folder = self.machine_folder(object);
        std::fs::create_dir_all(&folder)?;
        seed::sync(&self.folder)?;
        Ok(folder)
    }

    fn files(&self, object: &str) -> Files {
        let sockets = self.sockets.join(object);
        Files {
            seed: self.machine_folder(object).join("seed.img"),
            console: sockets.join("serial.sock"),
            screen: sockets.join("vnc.sock"),
        }
    }
}

/// Whether a file can be read past the node's page cache; an error when it can't be opened at all.
fn open_past_cache(path: &Path) -> io::Result<bool> {
    OpenOptions::new().read(true).write(true).open(path)?;
    let direct = rustix::fs::OFlags::DIRECT.bits().cast_signed();
    Ok(OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(direct)
        .open(path)
        .is_ok())
}

/// Names become folders and domains: they are UUIDs, nothing else.
fn check_object(object: &str) -> Result<(), Error> {
    let good = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
    };
    if object.len() == OBJECT_BYTES && object.bytes().enumerate().all(good) {
        return Ok(());
    }
    Err(Error::Unfit("its name is no UUID".to_owned()))
}

fn check_description(description: &Description) -> Result<(), Error> {
    let unfit = |what: &str| Err(Error::Unfit(what.to_owned()));
    if description.disks.len() > DISKS_MAX || description.ports.len() > PORTS_MAX {
        return unfit("too many disks or ports");
    }
    if description.cpus == 0 || description.memory_bytes == 0 || !description.memory_bytes.is_multiple_of(1 << 20) {
        return unfit("its processors or memory");
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(run).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_uuids_name_machines() {
        assert!(check_object("01936e2a-7c3b-7def-8123-456789abcdef").is_ok());
        for bad in [
            "",
            "..",
            "01936e2a-7c3b-7def-8123-456789abcdeF",
            "01936e2a/7c3b-7def-8123-456789abcdef",
        ] {
            assert!(matches!(check_object(bad), Err(Error::Unfit(_))), "{bad}");
        }
    }
}
