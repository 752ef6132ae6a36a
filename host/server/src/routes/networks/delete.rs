//! The end of a network: only when no port has an address of it.

use symphony_api::Code;
use symphony_control::clock;
use symphony_core::machine::Machine;
use symphony_core::name::Name;
use symphony_core::network::Network;
use symphony_core::{keys, record};
use symphony_store::{Compare, Range, Store, Txn, read_all};

use crate::app::App;
use crate::event::{Records as _, about, event};
use crate::failure::{Answer, Failure};
use crate::input::IfMatch;
use crate::reading::Stored;
use crate::routes::{TRIES, again, crowded};

/// Most machines that are named when a network is in use.
const NAMED_MAX: usize = 5;
/// Most machines that are looked at for that.
const SCANNED_MAX: usize = 5_000;
/// Records that are read at once.
const PAGE: usize = 500;

/// Asks for its end. Doing so again changes nothing.
pub(super) async fn delete(app: &App, project: &Name, name: &str, precondition: IfMatch) -> Answer<Stored<Network>> {
    for _ in 0..TRIES {
        let stored = super::find(&*app.store, project, name).await?;
        precondition.check(stored.revision)?;
        if stored.value.meta.is_deleting() {
            return Ok(stored);
        }
        let mut network = stored.value.clone();
        refuse_if_used(&*app.store, &network).await?;
        network.meta.deleting_since = Some(clock::now());
        network.meta.generation = network.meta.generation.next();
        let key = keys::network(project, &network.meta.name);
        let told = event(
            "deletion-requested",
            about("network", &network.meta),
            "its end was asked for",
        );
        let txn = Txn::new()
            .when(Compare::mod_revision(&key, stored.revision))
            .when(Compare::none_under(keys::addresses_of(network.meta.id)))
            .record(key, &network)?
            .tell(&told)?;
        symphony_crash::point("api.network.delete.before_commit");
        let result = app.store.txn(txn).await?;
        symphony_crash::point("api.network.delete.after_commit");
        if result.succeeded {
            return Ok(Stored {
                value: network,
                revision: result.revision,
            });
        }
        again(precondition)?;
    }
    Err(crowded())
}

async fn refuse_if_used(store: &dyn Store, network: &Network) -> Answer<()> {
    let addresses = Range::prefix(keys::addresses_of(network.meta.id)).limit(1);
    if store.range(addresses).await?.kvs.is_empty() {
        return Ok(());
    }
    let mut names = connected(store, network).await?;
    let more = if names.len() > NAMED_MAX { " and others" } else { "" };
    names.truncate(NAMED_MAX);
    let name = &network.meta.name;
    // An address may outlive its machine's record for a moment only; then there is nobody to name.
    let by = if names.is_empty() {
        "a machine that is just going".to_owned()
    } else {
        names.join(", ")
    };
    let detail = format!("the network {name} is in use by {by}{more}; delete those machines or their ports first");
    Err(Failure::new(Code::NetworkInUse, detail))
}

/// The names of machines with a port on the network, at most one more than are named.
async fn connected(store: &dyn Store, network: &Network) -> Answer<Vec<String>> {
    let range = Range::prefix(keys::machines_of(&network.meta.project)).limit(SCANNED_MAX);
    let mut names = Vec::new();
    for kv in read_all(store, range, PAGE).await?.kvs {
        let machine: Machine = record::decode(&kv.value)?;
        let mut ports = machine.spec.ports.iter().chain(&machine.status.leaving.ports);
        if ports.any(|port| port.network == network.meta.id) {
            names.push(machine.meta.name.to_string());
        }
        if names.len() > NAMED_MAX {
            break;
        }
    }
    Ok(names)
}
