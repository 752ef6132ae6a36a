//! Making a network. That no two of a project overlap is held by one record that every new network writes.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use symphony_api::Code;
use symphony_api::v1::CreateNetwork;
use symphony_control::clock;
use symphony_core::condition::Conditions;
use symphony_core::counter::Generation;
use symphony_core::id::NetworkId;
use symphony_core::labels::Labels;
use symphony_core::meta::Meta;
use symphony_core::name::Name;
use symphony_core::network::{MTU_DEFAULT, MTU_MAX, MTU_MIN, Network, NetworkSpec, NetworkStatus, Subnet, Vni};
use symphony_core::project::{Resource, Usage};
use symphony_core::{keys, record};
use symphony_store::{Compare, Range, Store, Txn};

use crate::app::App;
use crate::event::{Records as _, about, event};
use crate::failure::{Answer, Failure};
use crate::input::Check;
use crate::quota;
use crate::reading::Stored;
use crate::routes::idempotency::{Replay, Ticket, answered};
use crate::routes::{TRIES, crowded, object};

/// Most networks of one project: all of them are looked at when one is made.
pub(super) const NETWORKS_MAX: usize = 1_000;

/// The values of a request, each of them acceptable.
struct Wanted {
    name: Name,
    labels: Labels,
    subnet: Option<Subnet>,
    nat: bool,
    mtu: Option<u16>,
}

/// A length of packets that no network can have.
#[derive(Debug, thiserror::Error)]
#[error("packets are {MTU_MIN} to {MTU_MAX} bytes long, and {0} is not between")]
struct BadMtu(u16);

impl Wanted {
    fn read(body: &CreateNetwork) -> Answer<Self> {
        let mut check = Check::default();
        let name = check.take("/name", body.name.parse::<Name>());
        let labels = check.take("/labels", Labels::try_from(body.labels.clone()));
        let subnet = body.spec.subnet.as_ref();
        let subnet = subnet.map(|text| check.take("/spec/subnet", Subnet::of_network(text)));
        let mtu = body.spec.mtu;
        let mtu = mtu.and_then(|mtu| {
            let is_good = (MTU_MIN..=MTU_MAX).contains(&mtu);
            check.take("/spec/mtu", is_good.then_some(mtu).ok_or(BadMtu(mtu)))
        });
        check.end()?;
        match (name, labels) {
            (Some(name), Some(labels)) => Ok(Self {
                name,
                labels,
                subnet: subnet.flatten(),
                nat: body.spec.nat,
                mtu,
            }),
            // Whatever is missing here was noted above.
            _ => Err(Failure::new(Code::InvalidArgument, "a value is not acceptable")),
        }
    }

    fn draft(&self, project: &Name, others: &[Network], vni: Vni) -> Answer<Network> {
        let id = NetworkId::new(clock::new_uuid());
        Ok(Network {
            meta: Meta::new(
                id,
                project.clone(),
                self.name.clone(),
                self.labels.clone(),
                clock::now(),
            ),
            spec: NetworkSpec {
                subnet: match self.subnet {
                    Some(subnet) => apart(subnet, others)?,
                    None => first_free(others)?,
                },
                nat: self.nat,
                mtu: Some(self.mtu.unwrap_or(MTU_DEFAULT)),
            },
            status: NetworkStatus {
                vni: Some(vni),
                observed_generation: Generation(0),
                conditions: Conditions::default(),
            },
        })
    }
}

/// Stores a network. The same key with the same body stores it once.
pub(super) async fn create(app: &App, project: &Name, body: &CreateNetwork, key: Option<&str>) -> Answer<Response> {
    let wanted = Wanted::read(body)?;
    quota::expect(&*app.store, project).await?;
    let ticket = Ticket::new("network", project, key, body)?;
    let network_key = keys::network(project, &wanted.name);
    for _ in 0..TRIES {
        let kept = match &ticket {
            Some(ticket) => match ticket.look(&*app.store).await? {
                Replay::Known(stored) => return Ok(created(&stored)),
                Replay::New(unanswered) => Some((ticket, unanswered)),
            },
            None => None,
        };
        // Before the others are read: one that is made after that changes it.
        let guard = guard(&*app.store, project).await?;
        let others = others(&*app.store, project).await?;
        if others.iter().any(|other| other.meta.name == wanted.name) {
            match answered(ticket.as_ref(), &*app.store).await? {
                Some(stored) => return Ok(created(&stored)),
                None => return Err(taken(&wanted.name, project)),
            }
        }
        // One that is taken already is seen by the transaction; the next try has another.
        let vni = Vni::by_chance(clock::new_uuid().as_u64_pair().1);
        let network = wanted.draft(project, &others, vni)?;
        let room = match quota::for_new(&*app.store, project, &Usage::default().with(Resource::Networks, 1)).await {
            Ok(room) => room,
            // The same request, sent twice at once, may be what has taken the last of it.
            Err(failure) => match answered(ticket.as_ref(), &*app.store).await? {
                Some(stored) => return Ok(created(&stored)),
                None => return Err(failure),
            },
        };
        let id = network.meta.id;
        let message = format!("{} was asked for", network.spec.subnet);
        let mut txn = room
            .hold(Txn::new())
            .when(guard)
            .put(keys::subnets(project), id.to_string().into_bytes())
            .when(Compare::absent(&network_key))
            .record(network_key.clone(), &network)?
            .put(keys::network_id(id), network_key.as_bytes().to_vec())
            .when(Compare::absent(keys::vni(vni)))
            .put(keys::vni(vni), id.to_string().into_bytes())
            .tell(&event("created", about("network", &network.meta), message))?;
        if let Some((ticket, unanswered)) = kept {
            txn = ticket.keep(txn, unanswered, &network)?;
        }
        symphony_crash::point("api.network.create.before_commit");
        let result = app.store.txn(txn).await?;
        symphony_crash::point("api.network.create.after_commit");
        if result.succeeded {
            return Ok(created(&Stored {
                value: network,
                revision: result.revision,
            }));
        }
    }
    Err(crowded())
}

/// Holds as long as the project gets no other network.
async fn guard(store: &dyn Store, project: &Name) -> Answer<Compare> {
    let key = keys::subnets(project);
    Ok(match store.get(&key.as_str().into(), None).await? {
        Some(kv) => Compare::mod_revision(key, kv.mod_revision),
        None => Compare::absent(key),
    })
}

/// All networks of the project, also those on their way out: nodes may still have parts of them.
async fn others(store: &dyn Store, project: &Name) -> Answer<Vec<Network>> {
    let range = Range::prefix(keys::networks_of(project)).limit(NETWORKS_MAX);
    let found = store.range(range).await?;
    if found.kvs.len() >= NETWORKS_MAX {
        let detail = format!("a project has at most {NETWORKS_MAX} networks");
        return Err(Failure::new(Code::Conflict, detail));
    }
    let decoded = found.kvs.iter().map(|kv| record::decode(&kv.value));
    Ok(decoded.collect::<Result<_, _>>()?)
}

fn apart(subnet: Subnet, others: &[Network]) -> Answer<Subnet> {
    let Some(other) = others.iter().find(|other| other.spec.subnet.overlaps(&subnet)) else {
        return Ok(subnet);
    };
    let (name, has) = (&other.meta.name, other.spec.subnet);
    let detail =
        format!("{subnet} overlaps with {has} of the network {name}; leave the subnet out to be given a free one");
    Err(Failure::field(Code::SubnetOverlaps, "/spec/subnet", detail))
}

/// The first of `10.N.0.0/24` that overlaps with none.
fn first_free(others: &[Network]) -> Answer<Subnet> {
    let candidates = (0..=u8::MAX).filter_map(|n| Subnet::of_network(&format!("10.{n}.0.0/24")).ok());
    let is_free = |subnet: &Subnet| others.iter().all(|other| !other.spec.subnet.overlaps(subnet));
    candidates.into_iter().find(is_free).ok_or_else(|| {
        let detail = "none of 10.0.0.0/24, 10.1.0.0/24 to 10.255.0.0/24 is free; name a subnet, like 192.168.0.0/24";
        Failure::field(Code::SubnetOverlaps, "/spec/subnet", detail)
    })
}

fn created(stored: &Stored<Network>) -> Response {
    let mut response = object(StatusCode::CREATED, &super::wire(stored), stored.revision.0);
    let meta = &stored.value.meta;
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/projects/{}/networks/{}", meta.project, meta.name)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn taken(name: &Name, project: &Name) -> Failure {
    Failure::field(
        Code::AlreadyExists,
        "/name",
        format!("there is a network {name} in project {project} already"),
    )
}
