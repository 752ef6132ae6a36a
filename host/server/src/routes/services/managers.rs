//! The managers among the services.

use std::collections::BTreeSet;

use symphony_api::Code;
use symphony_api::v1::{Kind, Service, ServiceStatus};
use symphony_control::clock;
use symphony_control::members::without_serials;
use symphony_core::id::ServiceId;
use symphony_core::member::{Enrolment, Manager};
use symphony_core::name::Name;
use symphony_core::{keys, record};
use symphony_store::{Compare, Range, Txn, read_all};

use super::super::{TRIES, crowded};
use crate::app::App;
use crate::event::Records as _;
use crate::failure::{Answer, Failure};
use crate::reading::load;

/// Managers that are read at a time.
const PAGE: usize = 100;

/// All managers, by name; those that are not heard of are `Unknown`.
pub(super) async fn list(app: &App) -> Answer<Vec<Service>> {
    let own = own(app).await?;
    let known = read_all(&*app.store, Range::prefix(keys::MANAGERS), PAGE).await?.kvs;
    let alive = read_all(&*app.store, Range::prefix(keys::MANAGERS_ALIVE), PAGE)
        .await?
        .kvs;
    let alive: BTreeSet<&str> = alive
        .iter()
        .filter_map(|kv| kv.key.as_str()?.strip_prefix(keys::MANAGERS_ALIVE))
        .collect();
    let mut managers = Vec::new();
    for kv in &known {
        let Some(name) = kv.key.as_str().and_then(|key| key.strip_prefix(keys::MANAGERS)) else {
            continue;
        };
        let manager: Manager = record::decode(&kv.value)?;
        let answers = manager.id == own;
        let up = answers || alive.contains(name);
        managers.push(Service {
            kind: Kind::Service,
            id: manager.id.uuid(),
            role: "manager".to_owned(),
            node: name.to_owned(),
            status: if up { ServiceStatus::Up } else { ServiceStatus::Unknown },
            version: match manager.version.as_str() {
                "" => env!("CARGO_PKG_VERSION").to_owned(),
                version => version.to_owned(),
            },
            address: if answers {
                app.address.clone()
            } else {
                format!("https://{}", manager.address)
            },
            since: manager.since,
        });
    }
    Ok(managers)
}

/// Removes a manager that is gone for good: its certificates are worth nothing from now on.
pub(super) async fn remove(app: &App, manager: Service, force: bool) -> Answer<Service> {
    let name: Name = manager
        .node
        .parse()
        .map_err(|_| Failure::missing("service", &manager.id.to_string()))?;
    if name == app.manager {
        let detail = "this is the manager that answers; it can't remove itself: ask another one";
        return Err(Failure::new(Code::Conflict, detail));
    }
    if manager.status == ServiceStatus::Up && !force {
        let detail = format!("manager {name} is heard of; stop it first, or use force");
        return Err(Failure::new(Code::Conflict, detail));
    }
    let key = keys::manager_enrolment(&name);
    for _ in 0..TRIES {
        let txn = Txn::new().delete(keys::manager(&name));
        let txn = match load::<Enrolment>(&*app.store, &key).await? {
            Some(enrolment) => {
                let unchanged = Compare::mod_revision(&*key, enrolment.revision);
                without_serials(txn.when(unchanged).delete(&*key), &enrolment.value)?
            }
            None => txn.when(Compare::absent(&*key)),
        };
        if app.store.txn(txn).await?.succeeded {
            return Ok(manager);
        }
    }
    Err(crowded())
}

/// The id of this manager; it gets one when it has none.
async fn own(app: &App) -> Answer<ServiceId> {
    let key = keys::manager(&app.manager);
    for _ in 0..TRIES {
        if let Some(known) = load::<Manager>(&*app.store, &key).await? {
            return Ok(known.value.id);
        }
        let new = Manager {
            id: ServiceId::new(clock::new_uuid()),
            since: clock::now(),
            address: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let txn = Txn::new().when(Compare::absent(&*key)).record(key.clone(), &new)?;
        app.store.txn(txn).await?;
    }
    Err(crowded())
}
