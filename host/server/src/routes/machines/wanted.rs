//! What is asked for, each value checked by itself; all that is wrong is said at once.

use std::collections::BTreeSet;

use symphony_api::Code;
use symphony_api::v1::{self, CreateMachine, CreateMachineSpec};
use symphony_core::labels::Labels;
use symphony_core::machine::{
    FirstBoot, MEMORY_BYTES_MIN, MachineSize, MachineSizeError, RestartPolicy, SSH_KEY_BYTES_MAX, SSH_KEYS_MAX,
    USER_DATA_BYTES_MAX, Wishes,
};
use symphony_core::name::Name;
use symphony_core::plan::machine::{CpuMode, DISKS_MAX, PORTS_MAX, Power};
use symphony_core::quantity::{Bytes, VolumeSize};

use super::addresses::PortWish;
use crate::failure::{Answer, Failure};
use crate::input::Check;

/// Most machines that one may be told to keep apart from, and most that it may be told to stay near.
const NEIGHBOURS_MAX: usize = 64;
/// Virtual processors when none are named.
const CPUS_DEFAULT: u32 = 1;
/// Memory when none is named, in bytes.
const MEMORY_BYTES_DEFAULT: u64 = 512 << 20;

/// A size that every machine may have.
pub(super) const SMALLEST: (u32, u64) = (1, MEMORY_BYTES_MIN);

/// The values of a request, each of them acceptable.
pub(super) struct Wanted<'a> {
    pub(super) name: Name,
    pub(super) labels: Labels,
    pub(super) size: MachineSize,
    pub(super) cpu_mode: CpuMode,
    pub(super) hugepages: bool,
    pub(super) power: Power,
    pub(super) restart: RestartPolicy,
    /// In the machine's order.
    pub(super) disks: Vec<Disk<'a>>,
    /// Of its new volumes.
    pub(super) pool: Option<Name>,
    pub(super) ports: Vec<PortWish<'a>>,
    pub(super) first_boot: FirstBoot,
    pub(super) wishes: Wishes,
}

/// A volume that the machine should have.
pub(super) struct Disk<'a> {
    pub(super) from: Source<'a>,
    pub(super) delete_with_machine: bool,
    /// Where in the body it is named.
    pub(super) pointer: String,
}

/// Where a volume comes from.
pub(super) enum Source<'a> {
    /// It is made from an image, and called so.
    Image(&'a str, Name, Option<VolumeSize>),
    /// It is made empty, and called so.
    Nothing(Name, VolumeSize),
    /// It exists: its name or id.
    Record(&'a str),
}

impl<'a> Wanted<'a> {
    /// Checks the values, all of them at once.
    pub(super) fn read(body: &'a CreateMachine) -> Answer<Self> {
        let spec = &body.spec;
        let mut check = Check::default();
        let name = check.take("/name", body.name.parse::<Name>());
        let labels = check.take("/labels", Labels::try_from(body.labels.clone()));
        let size = size(&mut check, spec);
        let pool = spec.pool.as_ref();
        let pool = pool.map(|pool| check.take("/spec/pool", pool.parse::<Name>()));
        let disks = name.as_ref().map(|name| disks(&mut check, name, spec));
        if spec.ports.len() > PORTS_MAX {
            check.wrong("/spec/ports", format!("a machine has at most {PORTS_MAX} ports"));
        }
        let ports = spec.ports.iter().take(PORTS_MAX).enumerate();
        let ports = ports
            .map(|(at, port)| PortWish::read(&mut check, port, &format!("/spec/ports/{at}")))
            .collect();
        let first_boot = first_boot(&mut check, spec);
        let wishes = wishes(&mut check, &body.name, spec);
        check.end()?;
        match (name, labels, size, disks, wishes) {
            (Some(name), Some(labels), Some(size), Some(disks), Some(wishes)) => Ok(Self {
                name,
                labels,
                size,
                cpu_mode: cpu_mode(spec.cpu_mode),
                hugepages: spec.hugepages,
                power: power(spec.power),
                restart: restart(spec.restart),
                disks,
                pool: pool.flatten(),
                ports,
                first_boot,
                wishes: opposed(wishes)?,
            }),
            // Whatever is missing here was noted above.
            _ => Err(Failure::new(Code::InvalidArgument, "a value is not acceptable")),
        }
    }
}

fn size(check: &mut Check, spec: &CreateMachineSpec) -> Option<MachineSize> {
    let memory = match &spec.memory {
        Some(memory) => check.take("/spec/memory", memory.to_bytes())?.0,
        None => MEMORY_BYTES_DEFAULT,
    };
    machine_size(check, spec.cpus.unwrap_or(CPUS_DEFAULT), memory)
}

/// A machine's size; both of its values are looked at.
pub(super) fn machine_size(check: &mut Check, cpus: u32, memory_bytes: u64) -> Option<MachineSize> {
    let both = [
        MachineSize::new(cpus, MEMORY_BYTES_MIN),
        MachineSize::new(1, memory_bytes),
    ];
    for error in both.into_iter().filter_map(Result::err) {
        let pointer = match error {
            MachineSizeError::Cpus(_) => "/spec/cpus",
            MachineSizeError::Memory(_) | MachineSizeError::Granularity(_) => "/spec/memory",
        };
        check.wrong(pointer, error.to_string());
    }
    MachineSize::new(cpus, memory_bytes).ok()
}

fn disks<'a>(check: &mut Check, machine: &Name, spec: &'a CreateMachineSpec) -> Vec<Disk<'a>> {
    let mut disks = Vec::new();
    if let Some(image) = &spec.image {
        let size = spec.root_size.as_ref();
        let size = size.and_then(|size| check.take("/spec/root_size", size.volume_size()));
        if let Some(name) = own_name(check, "/name", machine, "root") {
            disks.push(Disk {
                from: Source::Image(image, name, size),
                delete_with_machine: true,
                pointer: "/name".to_owned(),
            });
        }
    } else {
        if spec.volumes.first().is_none_or(|first| first.size.is_some()) {
            let detail = "a machine needs something to boot from: an image, or a first volume that exists";
            check.wrong("/spec/image", detail);
        }
        if spec.root_size.is_some() {
            check.wrong("/spec/root_size", "there is no root volume without an image");
        }
    }
    if spec.volumes.len() + usize::from(spec.image.is_some()) > DISKS_MAX {
        check.wrong("/spec/volumes", format!("a machine has at most {DISKS_MAX} volumes"));
        return disks;
    }
    for (at, volume) in spec.volumes.iter().enumerate() {
        let pointer = format!("/spec/volumes/{at}/name");
        let from = match &volume.size {
            None => Some(Source::Record(&volume.name)),
            Some(size) => {
                let size = check.take(&format!("/spec/volumes/{at}/size"), size.volume_size());
                let name = own_name(check, &pointer, machine, &volume.name);
                name.zip(size).map(|(name, size)| Source::Nothing(name, size))
            }
        };
        disks.extend(from.map(|from| Disk {
            from,
            delete_with_machine: volume.delete_with_machine,
            pointer,
        }));
    }
    twice(check, &disks);
    disks
}

/// `MACHINE-NAME`.
fn own_name(check: &mut Check, pointer: &str, machine: &Name, name: &str) -> Option<Name> {
    let name = check.take(pointer, name.parse::<Name>())?;
    let whole = format!("{machine}-{name}");
    let named = whole.parse::<Name>();
    check.take(
        pointer,
        named.map_err(|error| format!("its volume would be called {whole}: {error}")),
    )
}

fn twice(check: &mut Check, disks: &[Disk<'_>]) {
    let mut seen = BTreeSet::new();
    for disk in disks {
        if let Source::Image(_, name, _) | Source::Nothing(name, _) = &disk.from
            && !seen.insert(name)
        {
            check.wrong(
                &disk.pointer,
                format!("two of its volumes would be called {name}; the one that it boots from is called root"),
            );
        }
    }
}

fn first_boot(check: &mut Check, spec: &CreateMachineSpec) -> FirstBoot {
    let length = spec.user_data.len();
    if length > USER_DATA_BYTES_MAX {
        let detail = format!("it may have {USER_DATA_BYTES_MAX} bytes (64 KiB) at most, and it has {length}");
        check.wrong("/spec/user_data", detail);
    }
    if spec.ssh_keys.len() > SSH_KEYS_MAX {
        check.wrong(
            "/spec/ssh_keys",
            format!("a machine is given at most {SSH_KEYS_MAX} keys"),
        );
    }
    for (at, key) in spec.ssh_keys.iter().take(SSH_KEYS_MAX).enumerate() {
        let pointer = format!("/spec/ssh_keys/{at}");
        if key.len() > SSH_KEY_BYTES_MAX {
            check.wrong(&pointer, format!("a key may have {SSH_KEY_BYTES_MAX} bytes at most"));
        } else if key.split_whitespace().count() < 2 || key.chars().any(char::is_control) {
            let detail = "it is no public key; give the one line of a file like ~/.ssh/id_ed25519.pub";
            check.wrong(&pointer, detail);
        }
    }
    FirstBoot {
        user_data: spec.user_data.clone(),
        ssh_keys: spec.ssh_keys.clone(),
    }
}

fn wishes(check: &mut Check, machine: &str, spec: &CreateMachineSpec) -> Option<Wishes> {
    let require = check.take("/spec/require", Labels::try_from(spec.require.clone()));
    let prefer = check.take("/spec/prefer", Labels::try_from(spec.prefer.clone()));
    let apart_from = neighbours(check, "/spec/apart_from", machine, &spec.apart_from);
    let near = neighbours(check, "/spec/near", machine, &spec.near);
    Some(Wishes {
        require: require?,
        prefer: prefer?,
        apart_from,
        near,
        remote_volumes: spec.remote_volumes,
    })
}

fn neighbours(check: &mut Check, pointer: &str, machine: &str, given: &[String]) -> Vec<Name> {
    if given.len() > NEIGHBOURS_MAX {
        check.wrong(pointer, format!("at most {NEIGHBOURS_MAX} machines can be named"));
        return Vec::new();
    }
    let mut names = Vec::new();
    for (at, text) in given.iter().enumerate() {
        let pointer = format!("{pointer}/{at}");
        if text == machine {
            check.wrong(&pointer, "that is the machine itself");
        }
        names.extend(check.take(&pointer, text.parse::<Name>()));
    }
    names
}

/// Refuses what can't be had together.
fn opposed(wishes: Wishes) -> Answer<Wishes> {
    let both = wishes
        .near
        .iter()
        .enumerate()
        .find(|(_, name)| wishes.apart_from.contains(name));
    match both {
        Some((at, name)) => Err(Failure::field(
            Code::Unprocessable,
            &format!("/spec/near/{at}"),
            format!("the machine can't be both near {name} and apart from it"),
        )),
        None => Ok(wishes),
    }
}

const fn cpu_mode(mode: v1::CpuMode) -> CpuMode {
    match mode {
        v1::CpuMode::Automatic => CpuMode::Automatic,
        v1::CpuMode::Host => CpuMode::Host,
        v1::CpuMode::Portable => CpuMode::Portable,
    }
}

/// Power, from the wire.
pub(super) const fn power(power: v1::Power) -> Power {
    match power {
        v1::Power::On => Power::On,
        v1::Power::Off => Power::Off,
    }
}

/// A policy, from the wire.
pub(super) const fn restart(policy: v1::RestartPolicy) -> RestartPolicy {
    match policy {
        v1::RestartPolicy::Always => RestartPolicy::Always,
        v1::RestartPolicy::OnFailure => RestartPolicy::OnFailure,
        v1::RestartPolicy::Never => RestartPolicy::Never,
    }
}

/// What a machine is asked for, in a few words for an event.
pub(super) fn in_words(size: MachineSize) -> String {
    let cpus = size.cpus();
    let s = if cpus == 1 { "" } else { "s" };
    format!(
        "{cpus} virtual processor{s} and {} of memory",
        Bytes(size.memory_bytes())
    )
}
