//! What a kind adds to the flow of a driver's calls: its interface, and the translation of its types.

use symphony_core::plan::Kind;
use wasmtime::Store;
use wasmtime::component::InstancePre;

use crate::bindings::volume::symphony::plugin::driving::Refusal;
use crate::guest::Guest;

/// A kind whose drivers run here. Only this crate can add one.
#[allow(private_bounds, reason = "sealed: the calls into a guest are this crate's own")]
pub trait Hosted: Glue {}

impl<K: Glue> Hosted for K {}

/// The calls of a kind's interface, with core's types on this side. Made by [`glue!`].
pub(crate) trait Glue: Kind {
    /// The exports of an instance.
    type Guest;

    /// A fresh instance.
    fn load(pre: &InstancePre<Guest>, store: &mut Store<Guest>) -> wasmtime::Result<Self::Guest>;

    /// Name, version and the schema of its configuration.
    fn describe(guest: &Self::Guest, store: &mut Store<Guest>) -> wasmtime::Result<(String, String, String)>;

    fn configure(guest: &Self::Guest, store: &mut Store<Guest>, json: &str) -> wasmtime::Result<Result<(), Refusal>>;

    fn probes(
        guest: &Self::Guest,
        store: &mut Store<Guest>,
        intent: &Self::Intent,
    ) -> wasmtime::Result<Vec<Self::Probe>>;

    fn plan(
        guest: &Self::Guest,
        store: &mut Store<Guest>,
        intent: &Self::Intent,
        facts: &[Self::Fact],
    ) -> wasmtime::Result<Result<Vec<Self::Step>, Refusal>>;
}

/// `glue!(KIND, INTERFACE)`, in a module that has the functions `intent`, `fact`, `probe` and `step` which translate.
macro_rules! glue {
    ($kind:ty, $wit:ident) => {
        impl $crate::driver::glue::Glue for $kind {
            type Guest = $wit::Guest;

            fn load(
                pre: &wasmtime::component::InstancePre<$crate::guest::Guest>,
                store: &mut wasmtime::Store<$crate::guest::Guest>,
            ) -> wasmtime::Result<$wit::Guest> {
                let instance = pre.instantiate(&mut *store)?;
                $wit::GuestIndices::new(pre)?.load(&mut *store, &instance)
            }

            fn describe(
                guest: &$wit::Guest,
                store: &mut wasmtime::Store<$crate::guest::Guest>,
            ) -> wasmtime::Result<(String, String, String)> {
                let said = guest.call_describe(store)?;
                Ok((said.name, said.version, said.config_schema))
            }

            fn configure(
                guest: &$wit::Guest,
                store: &mut wasmtime::Store<$crate::guest::Guest>,
                json: &str,
            ) -> wasmtime::Result<Result<(), $wit::Refusal>> {
                guest.call_configure(store, json)
            }

            fn probes(
                guest: &$wit::Guest,
                store: &mut wasmtime::Store<$crate::guest::Guest>,
                of: &Self::Intent,
            ) -> wasmtime::Result<Vec<Self::Probe>> {
                let probes = guest.call_probes(store, &intent(of))?;
                Ok(probes.into_iter().map(probe).collect())
            }

            fn plan(
                guest: &$wit::Guest,
                store: &mut wasmtime::Store<$crate::guest::Guest>,
                of: &Self::Intent,
                facts: &[Self::Fact],
            ) -> wasmtime::Result<Result<Vec<Self::Step>, $wit::Refusal>> {
                let facts: Vec<$wit::Fact> = facts.iter().map(fact).collect();
                let plan = guest.call_plan(store, &intent(of), &facts)?;
                Ok(plan.map(|steps| steps.into_iter().map(step).collect()))
            }
        }
    };
}

pub(crate) use glue;
