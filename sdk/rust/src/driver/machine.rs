//! Machines: intents, facts and steps, and the trait that turns the first two into the third.

use crate::bindings::machine::exports::symphony::plugin::machine_driver::Guest;

pub use crate::bindings::machine::exports::symphony::plugin::machine_driver::{
    AttachDisk, AttachPort, Chipset, CpuMode, Description, DetachDisk, DetachPort, DeviceModel, Disk, DiskDevice,
    DiskSource, Domain, DomainFact, Exit, Fact, FirstBoot, Hypervisor, Intent, NodeFact, Port, PortDevice, Power,
    Probe, Reboot, RemoteVolume, RunState, SeedFile, Shutdown, Start, Step, WriteSeed,
};

driver! {
    /// Plans how a machine is made, run, changed and removed on a node.
    ///
    /// Whether a machine should run, and how often it was ordered to boot, is in the intent: a machine that died is the
    /// host's to think about. Its volumes and networks are there before it and stay after it.
    ///
    /// ```
    /// use symphony_sdk::MachineDriver;
    /// use symphony_sdk::driver::Refusal;
    /// use symphony_sdk::driver::machine::{Fact, Intent, Power, Probe, RunState, Start, Step};
    ///
    /// /// Starts what is off, and does nothing else.
    /// #[derive(Default)]
    /// struct OnSwitch;
    ///
    /// impl MachineDriver for OnSwitch {
    ///     const NAME: &'static str = "on-switch";
    ///
    ///     fn probes(&self, intent: &Intent) -> Vec<Probe> {
    ///         vec![Probe::Domain(intent.object.clone())]
    ///     }
    ///
    ///     fn plan(&self, intent: &Intent, facts: &[Fact]) -> Result<Vec<Step>, Refusal> {
    ///         let is_off = facts.iter().any(|fact| match fact {
    ///             Fact::Domain(fact) => fact.found.as_ref().is_some_and(|domain| matches!(domain.state, RunState::Off(_))),
    ///             Fact::Node(_) => false,
    ///         });
    ///         let start = Step::Start(Start { object: intent.object.clone(), boots: intent.boots });
    ///         Ok(if is_off && intent.power == Power::On { vec![start] } else { Vec::new() })
    ///     }
    /// }
    ///
    /// symphony_sdk::export_machine_driver!(OnSwitch);
    /// ```
    MachineDriver
}
