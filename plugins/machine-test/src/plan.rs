//! The steps from what the hypervisor knows to what is wanted.

use symphony_sdk::driver::Refusal;
use symphony_sdk::driver::machine::{
    Chipset, CpuMode, Description, DeviceModel, Disk, DiskDevice, DiskSource, Domain, Hypervisor, Intent, Power,
    Reboot, RunState, Shutdown, Start, Step,
};

const MIB: u64 = 1 << 20;

/// Nothing is to be left.
pub(crate) fn absent(intent: &Intent, domain: Option<&Domain>, remains: bool) -> Vec<Step> {
    let undefine = Step::Undefine(intent.object.clone());
    match domain.map(|domain| domain.state) {
        None if remains => vec![undefine],
        None => Vec::new(),
        Some(RunState::Off(_)) => vec![undefine],
        Some(RunState::Running | RunState::Paused) => vec![Step::Destroy(intent.object.clone()), undefine],
    }
}

/// It is to be there, as described, and on or off.
pub(crate) fn present(intent: &Intent, domain: Option<&Domain>) -> Result<Vec<Step>, Refusal> {
    let wanted = describe(intent)?;
    let power = match intent.power {
        Power::Off => put_off(intent, domain),
        Power::On => put_on(intent, domain)?,
    };
    let define = domain.is_none_or(|domain| domain.description != wanted);
    Ok(define
        .then_some(Step::Define(wanted))
        .into_iter()
        .chain(power)
        .collect())
}

fn put_off(intent: &Intent, domain: Option<&Domain>) -> Vec<Step> {
    match domain.map(|domain| domain.state) {
        None | Some(RunState::Off(_)) => Vec::new(),
        Some(RunState::Running) => vec![Step::Shutdown(Shutdown {
            object: intent.object.clone(),
            timeout_ms: intent.shutdown_ms,
        })],
        Some(RunState::Paused) => vec![Step::Destroy(intent.object.clone())],
    }
}

fn put_on(intent: &Intent, domain: Option<&Domain>) -> Result<Vec<Step>, Refusal> {
    let start = || {
        Step::Start(Start {
            object: intent.object.clone(),
            boots: intent.boots,
        })
    };
    let Some(domain) = domain.filter(|domain| !matches!(domain.state, RunState::Off(_))) else {
        return Ok(vec![start()]);
    };
    let is_due = domain.boots < intent.boots;
    match domain.state {
        RunState::Paused if is_due => Ok(vec![Step::Destroy(intent.object.clone()), start()]),
        _ if is_due => Ok(vec![Step::Reboot(Reboot {
            object: intent.object.clone(),
            boots: intent.boots,
            timeout_ms: intent.shutdown_ms,
        })]),
        _ if !has_disks(intent, domain) => Err(Refusal::Unavailable(
            "the simulated hypervisor changes no disks while a machine runs: reboot it".to_owned(),
        )),
        RunState::Paused => Ok(vec![Step::Resume(intent.object.clone())]),
        _ => Ok(Vec::new()),
    }
}

fn has_disks(intent: &Intent, domain: &Domain) -> bool {
    domain.live_volumes.len() == intent.disks.len()
        && intent
            .disks
            .iter()
            .all(|disk| domain.live_volumes.contains(&disk.volume))
}

fn describe(intent: &Intent) -> Result<Description, Refusal> {
    if intent.cpus == 0 || intent.memory_bytes == 0 || !intent.memory_bytes.is_multiple_of(MIB) {
        return Err(Refusal::Invalid(format!(
            "a machine has a processor and whole MiB of memory, not {} and {} bytes",
            intent.cpus, intent.memory_bytes
        )));
    }
    if let Some(disk) = intent
        .disks
        .iter()
        .find(|disk| matches!(disk.source, DiskSource::Remote(_)))
    {
        let volume = &disk.volume;
        return Err(Refusal::Invalid(format!(
            "the volume {volume} is on another node, and a simulated machine uses only those of its own"
        )));
    }
    let disk = |disk: &Disk| DiskDevice {
        disk: disk.clone(),
        model: DeviceModel::Virtio,
    };
    Ok(Description {
        object: intent.object.clone(),
        title: intent.name.clone(),
        hypervisor: Hypervisor::Test,
        chipset: Chipset::Pc,
        cpus: intent.cpus,
        memory_bytes: intent.memory_bytes,
        cpu_mode: CpuMode::Portable,
        hugepages: false,
        disks: intent.disks.iter().map(disk).collect(),
        ports: Vec::new(),
        seed: false,
        console: false,
        screen: false,
    })
}
