//! One pass over one volume that is served to a machine on another node, or was.
//!
//! Who may write is said first, with a new generation and a new key, in one transaction that compares the volume and the
//! machine; then the volume's node serves that, and ends what was before. A machine starts, and gets a disk, only once this
//! was seen; and a volume is its own node's again only once nothing of it is served any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use symphony_core::counter::Generation;
use symphony_core::event::{Event, Severity, Subject};
use symphony_core::export::{Endpoint, Export, ExportKey, Writer};
use symphony_core::id::VolumeId;
use symphony_core::keys;
use symphony_core::machine::Machine;
use symphony_core::name::Name;
use symphony_core::plan::Goal;
use symphony_core::plan::export::{Exports, Fact, Intent, Served};
use symphony_core::volume::{Placement, Volume, VolumePhase};
use symphony_protocol::{ExportAccess, Outcome, Seen, Task, Work};
use symphony_store::{Compare, Txn};
use tokio::time::Instant;

use crate::events::{about_volume, event, of_machine, with};
use crate::view::{Exporting, State, Stored};
use crate::write::{TxnRecords as _, WriteError};

use super::drive::{Driven, End};
use super::outcome::PassError;
use super::{Context, commit, drive};

/// How often it is looked whether what is served is served still.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// What was seen to be served: which generation, in which session of the volume's node, and when.
#[derive(Clone, Default)]
pub(crate) struct Seeing {
    at: Arc<Mutex<HashMap<VolumeId, Look>>>,
}

/// A generation, a session, and when.
type Look = (Generation, u64, Instant);

impl Seeing {
    /// Whether this generation was seen in this session; and so lately that nobody has to look again.
    fn of(&self, volume: VolumeId, generation: Generation, session: u64) -> (bool, bool) {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        match at.get(&volume) {
            Some((seen, of, when)) if (*seen, *of) == (generation, session) => (true, when.elapsed() < LOOK_EVERY),
            _ => (false, false),
        }
    }

    fn set(&self, volume: VolumeId, now: Option<(Generation, u64)>) {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        match now {
            Some((generation, session)) => drop(at.insert(volume, (generation, session, Instant::now()))),
            None => drop(at.remove(&volume)),
        }
    }
}

/// Whether a volume is served to this machine on this node, as seen since the volume's node connected.
pub(super) fn is_served(state: &State, context: &Context, volume: &Volume, writer: &Writer) -> bool {
    let (Some(export), Some(place)) = (state.exports.get(&volume.meta.id), &volume.placement) else {
        return false;
    };
    let export = &export.value;
    let session = context.agents.session_of(&place.node);
    let is_seen = session.is_some_and(|session| context.seeing.of(export.volume, export.generation, session).0);
    export.writer.as_ref() == Some(writer) && export.endpoint.is_some() && is_seen
}

/// Where a machine's volumes are reached that are on other nodes, and what opens them: also those that it is letting go of.
pub(super) fn access(state: &State, machine: &Machine, node: &Name) -> Vec<ExportAccess> {
    let attachments = machine.spec.volumes.iter().chain(&machine.status.leaving.volumes);
    let reached = attachments.filter_map(|attachment| {
        let export = &state.exports.get(&attachment.id)?.value;
        let endpoint = export.endpoint.clone()?;
        export.is_for(machine.meta.id, node).then(|| ExportAccess {
            volume: export.volume,
            export: export.name(),
            endpoint,
            client: node.clone(),
            key: export.key.clone(),
        })
    });
    reached.collect()
}

/// Whether there is something to do, or to look at, for this volume; with the session of its node.
pub(super) fn is_due(state: &State, context: &Context, id: VolumeId) -> Option<(Generation, u64)> {
    let volume = &state.volume(id)?.value;
    let session = context.agents.session_of(&volume.placement.as_ref()?.node)?;
    let export = state.exports.get(&id).map(|export| &export.value);
    let generation = export.map_or(Generation(0), |export| export.generation);
    let is_done = match (state.exporting(id), export) {
        (Some(wanted), Some(export)) => {
            let (_, is_fresh) = context.seeing.of(id, generation, session);
            export.writer.as_ref() == Some(&wanted.writer) && is_fresh
        }
        (Some(_), None) => false,
        (None, export) => export.is_none_or(|export| export.writer.is_none()),
    };
    (!is_done).then_some((generation, session))
}

/// Brings what is served of one volume to what its machine's place asks for.
pub(super) async fn pass(context: &Context, id: VolumeId) -> Result<(), PassError> {
    let (wanted, export) = read(context, id);
    let Some(wanted) = wanted else {
        return match export {
            Some(export) => end(context, id, &export).await,
            None => Ok(()),
        };
    };
    let is_written = |export: &Arc<Stored<Export>>| export.value.writer.as_ref() == Some(&wanted.writer);
    let export = match export.as_ref().filter(|export| is_written(export)) {
        Some(export) => Arc::clone(export),
        None => raise(context, &wanted, export.as_deref()).await?,
    };
    if !matches!(
        wanted.volume.value.status.phase,
        VolumePhase::Ready | VolumePhase::Resizing
    ) {
        return Err(PassError::Unready(format!("volume {}", wanted.volume.value.meta.name)));
    }
    let one = OneExport::new(context, &wanted.volume.value, &export.value)?;
    let intent = one.intent(Goal::Present, &wanted.writer);
    match drive::drive(context, &one, &intent).await {
        Ok(End::Met(Some(served))) => keep(context, &export, &one, &served).await,
        Ok(End::Met(None)) => Err(PassError::WrongAnswer),
        Ok(End::Impossible(why)) => Err(PassError::Refused(why)),
        // It was to end, its node did that, and nobody heard of it before it was wanted again by the same machine there.
        Err(PassError::Over) => {
            raise(context, &wanted, Some(&export)).await?;
            Err(PassError::Raced)
        }
        Err(error) => Err(error),
    }
}

fn read(context: &Context, id: VolumeId) -> (Option<Exporting>, Option<Arc<Stored<Export>>>) {
    let state = context.view.read();
    (state.exporting(id), state.exports.get(&id).cloned())
}

/// Says who may write from now on: what was known of the generation before opens nothing any more.
async fn raise(
    context: &Context,
    wanted: &Exporting,
    before: Option<&Stored<Export>>,
) -> Result<Arc<Stored<Export>>, PassError> {
    let (volume, machine) = (&wanted.volume.value, &wanted.machine.value);
    let id = volume.meta.id;
    let random = symphony_pki::random().map_err(|error| PassError::Unready(error.to_string()))?;
    let (key, writer) = (ExportKey::new(random), wanted.writer.clone());
    let export = match before {
        Some(before) => before.value.raised(writer, key),
        None => Export::first(id, writer, key),
    };
    let at = keys::export(id);
    let unchanged = match before {
        Some(before) => Compare::mod_revision(at.clone(), before.revision),
        None => Compare::absent(at.clone()),
    };
    let message = format!(
        "generation {}: node {} may write for machine {}",
        export.generation, wanted.writer.node, machine.meta.name
    );
    let told = of_machine(
        event(Severity::Normal, "export-raised", about_volume(volume), message),
        volume,
    );
    let told = with(told, "generation", export.generation);
    let (volume_at, machine_at) = (
        keys::volume(&volume.meta.project, &volume.meta.name),
        keys::machine(&machine.meta.project, &machine.meta.name),
    );
    let txn = Txn::new()
        .when(unchanged)
        .when(Compare::mod_revision(volume_at, wanted.volume.revision))
        .when(Compare::mod_revision(machine_at, wanted.machine.revision))
        .put_record(at, &export)
        .and_then(|txn| txn.tell(&told))
        .map_err(WriteError::from)?;
    symphony_crash::point("control.export.before_raise");
    commit(context, txn).await?;
    symphony_crash::point("control.export.after_raise");
    let raised = context.view.read().exports.get(&id).cloned();
    raised.filter(|raised| raised.value == export).ok_or(PassError::Raced)
}

/// It is served as wanted: writes down where.
async fn keep(
    context: &Context,
    export: &Stored<Export>,
    one: &OneExport<'_>,
    served: &Served,
) -> Result<(), PassError> {
    let endpoint = Endpoint {
        address: served.settings.listen.clone(),
        port: served.port,
    };
    if export.value.endpoint.as_ref() != Some(&endpoint) {
        let next = Export {
            endpoint: Some(endpoint),
            ..export.value.clone()
        };
        write(context, export, &next).await?;
        symphony_crash::point("control.export.after_endpoint");
    }
    let seen = (export.value.generation, one.session);
    context.seeing.set(export.value.volume, Some(seen));
    Ok(())
}

/// Nobody on another node may write any more.
async fn end(context: &Context, id: VolumeId, export: &Stored<Export>) -> Result<(), PassError> {
    let Some(writer) = &export.value.writer else {
        return Ok(());
    };
    context.seeing.set(id, None);
    let volume = context.view.read().volume(id).cloned().ok_or(PassError::Raced)?;
    let one = OneExport::new(context, &volume.value, &export.value)?;
    let intent = one.intent(Goal::Absent, writer);
    match drive::drive(context, &one, &intent).await? {
        End::Met(_) => {
            symphony_crash::point("control.export.before_end");
            write(context, export, &export.value.ended()).await
        }
        End::Impossible(why) => Err(PassError::Refused(why)),
    }
}

async fn write(context: &Context, before: &Stored<Export>, next: &Export) -> Result<(), PassError> {
    let at = keys::export(next.volume);
    let txn = Txn::new()
        .when(Compare::mod_revision(at.clone(), before.revision))
        .put_record(at, next)
        .map_err(WriteError::from)?;
    commit(context, txn).await
}

struct OneExport<'a> {
    volume: &'a Volume,
    placement: &'a Placement,
    export: &'a Export,
    /// An address of the volume's node.
    listen: String,
    session: u64,
}

impl<'a> OneExport<'a> {
    fn new(context: &Context, volume: &'a Volume, export: &'a Export) -> Result<Self, PassError> {
        let placement = volume.placement.as_ref().ok_or(PassError::Raced)?;
        let away = || PassError::Unready(format!("the agent of node {}", placement.node));
        let session = context.agents.session_of(&placement.node).ok_or_else(away)?;
        let url = context.agents.data_url(&placement.node).ok_or_else(away)?;
        Ok(Self {
            volume,
            placement,
            export,
            listen: host_of(&url).to_owned(),
            session,
        })
    }

    fn intent(&self, goal: Goal, writer: &Writer) -> Intent {
        Intent::of(self.export, goal, writer, &self.placement.pool, &self.listen)
    }
}

/// The address in `http://ADDRESS:PORT`: other nodes reach the node there.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

impl Driven for OneExport<'_> {
    type Kind = Exports;

    fn node(&self) -> &Name {
        &self.placement.node
    }

    fn id(&self) -> String {
        self.export.volume.to_string()
    }

    fn generation(&self) -> Generation {
        self.export.generation
    }

    fn adapt(&self, intent: &mut Intent, facts: &[Fact]) -> Result<(), PassError> {
        let over = |Fact::Serving(fact): &Fact| fact.object == intent.object && fact.floor > intent.settings.generation;
        match intent.goal == Goal::Present && facts.iter().any(over) {
            true => Err(PassError::Over),
            false => Ok(()),
        }
    }

    fn work(&self, task: Task<Exports>) -> Work {
        Work::Export {
            key: self.export.key.clone(),
            task,
        }
    }

    fn seen(outcome: Outcome) -> Option<Seen<Exports>> {
        match outcome {
            Outcome::Export(seen) => Some(seen),
            _ => None,
        }
    }

    fn subject(&self) -> Subject {
        about_volume(self.volume)
    }

    fn story(&self, step: Event) -> Option<Event> {
        Some(of_machine(step, self.volume))
    }
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn the_address_of_a_node_is_that_of_its_data_port() {
        for (url, host) in [
            ("http://127.0.0.1:15761", "127.0.0.1"),
            ("https://10.0.0.1:1/x", "10.0.0.1"),
            ("http://[fd00::1]:15761", "fd00::1"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }
}
