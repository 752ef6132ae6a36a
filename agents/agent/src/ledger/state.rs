//! The ledger in memory.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use symphony_core::counter::{Admission, Epoch, Generation, Tenure};
use symphony_core::plan::Kind as _;
use symphony_core::plan::export::Exports;
use symphony_core::plan::fence::Fences;
use symphony_core::plan::image::Images;
use symphony_core::plan::machine::Machines;
use symphony_core::plan::network::Networks;
use symphony_core::plan::volume::Volumes;
use uuid::Uuid;

use super::frame::Entry;

/// Most objects that are remembered: 8 MiB of memory. Over it, the eighth that was acted on longest ago is forgotten.
pub(super) const OBJECTS_MAX: usize = 1 << 17;

/// The kinds of object.
const KINDS: [&str; 6] = [
    Volumes::NAME,
    Images::NAME,
    Machines::NAME,
    Networks::NAME,
    Exports::NAME,
    Fences::NAME,
];

/// What a call is about: a kind and an id, as `volume/ID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    kind: &'static str,
    id: Uuid,
}

/// Not a kind and an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an object: KIND/ID, where the kind is {kinds}", kinds = KINDS.join(", "))]
pub struct ObjectKeyError(String);

impl FromStr for ObjectKey {
    type Err = ObjectKeyError;

    fn from_str(text: &str) -> Result<Self, ObjectKeyError> {
        let read = || {
            let (kind, id) = text.split_once('/')?;
            Some(Self {
                kind: KINDS.into_iter().find(|known| *known == kind)?,
                id: id.parse().ok()?,
            })
        };
        read()
            .filter(|key| key.to_string() == text)
            .ok_or_else(|| ObjectKeyError(text.chars().take(80).collect()))
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.id)
    }
}

/// What the ledger says.
#[derive(Debug, Default)]
pub(super) struct State {
    epoch: Epoch,
    revision: u64,
    /// What the node has settled under.
    admission: Admission,
    /// What the manager of this session says the node's admission is; nothing before the first session. Never written
    /// down: an agent that just started knows nothing.
    heard: Option<Admission>,
    objects: HashMap<ObjectKey, Known>,
}

/// What is remembered of an object.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    acted: Generation,
    floor: Tenure,
    /// The sequence number of the frame that said it last: who is forgotten first.
    sequence: u64,
}

impl State {
    pub(super) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The newest revision of the store that was told of.
    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    /// The highest generation of an object that was acted on; 0 when none was.
    pub(super) fn acted(&self, object: ObjectKey) -> Generation {
        self.objects.get(&object).map_or(Generation(0), |known| known.acted)
    }

    /// The highest tenure of an object that was heard of; 0 when none was.
    pub(super) fn floor(&self, object: ObjectKey) -> Tenure {
        self.objects.get(&object).map_or(Tenure(0), |known| known.floor)
    }

    pub(super) const fn admission(&self) -> Admission {
        self.admission
    }

    pub(super) const fn heard(&self) -> Option<Admission> {
        self.heard
    }

    pub(super) const fn hear(&mut self, admission: Admission) {
        self.heard = Some(admission);
    }

    pub(super) fn apply(&mut self, entries: &[Entry], sequence: u64) {
        for entry in entries {
            match entry {
                // Another life of the store counts its revisions anew.
                Entry::Epoch(epoch) if epoch.life() > self.epoch.life() => (self.epoch, self.revision) = (*epoch, 0),
                Entry::Epoch(epoch) => self.epoch = self.epoch.max(*epoch),
                Entry::Revision(revision) => self.revision = self.revision.max(*revision),
                Entry::Acted { object, generation } => {
                    self.note(object, sequence, |known| known.acted = known.acted.max(*generation));
                }
                Entry::Floor { object, tenure } => {
                    self.note(object, sequence, |known| known.floor = known.floor.max(*tenure));
                }
                Entry::Admitted(admission) => self.admission = self.admission.max(*admission),
            }
        }
        if self.objects.len() > OBJECTS_MAX {
            self.forget_oldest();
        }
    }

    fn note(&mut self, object: &str, sequence: u64, change: impl FnOnce(&mut Known)) {
        // Entries are made from keys, so one that can't be read was never written.
        if let Ok(object) = object.parse::<ObjectKey>() {
            let known = self.objects.entry(object).or_default();
            known.sequence = sequence;
            change(known);
        }
    }

    /// Everything, oldest first.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let mut objects: Vec<_> = self.objects.iter().collect();
        objects.sort_unstable_by_key(|(object, known)| (known.sequence, **object));
        let of = |(object, known): (&ObjectKey, &Known)| {
            let acted = Entry::Acted {
                object: object.to_string(),
                generation: known.acted,
            };
            let floor = (known.floor > Tenure(0)).then(|| Entry::Floor {
                object: object.to_string(),
                tenure: known.floor,
            });
            std::iter::once(acted).chain(floor)
        };
        let first = [
            Entry::Epoch(self.epoch),
            Entry::Revision(self.revision),
            Entry::Admitted(self.admission),
        ];
        first.into_iter().chain(objects.into_iter().flat_map(of)).collect()
    }

    fn forget_oldest(&mut self) {
        let mut sequences: Vec<u64> = self.objects.values().map(|known| known.sequence).collect();
        let eighth = sequences.len() / 8;
        let (_, bound, _) = sequences.select_nth_unstable(eighth);
        let bound = *bound;
        self.objects.retain(|_, known| known.sequence > bound);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_strictly() {
        let good = "volume/01890a5d-ac96-774b-bcce-b302099a8057";
        for kind in KINDS {
            let good = good.replace("volume", kind);
            assert_eq!(good.parse::<ObjectKey>().unwrap().to_string(), good);
        }
        for text in [
            "",
            "volume/",
            "volume/x",
            "disk/01890a5d-ac96-774b-bcce-b302099a8057",
            &good.to_uppercase(),
        ] {
            assert!(text.parse::<ObjectKey>().is_err(), "{text}");
        }
        assert!(
            "volume/01890A5D-ac96-774b-bcce-b302099a8057"
                .parse::<ObjectKey>()
                .is_err()
        );
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let mut state = State::default();
        let object = |n: usize| format!("volume/00000000-0000-7000-8000-{n:012x}");
        for n in 0..=OBJECTS_MAX {
            state.apply(
                &[Entry::Acted {
                    object: object(n),
                    generation: Generation(2),
                }],
                n as u64,
            );
        }
        assert!(state.objects.len() <= OBJECTS_MAX);
        assert_eq!(state.acted(object(0).parse().unwrap()), Generation(0));
        assert_eq!(state.acted(object(OBJECTS_MAX).parse().unwrap()), Generation(2));
    }

    #[test]
    fn counters_never_go_down() {
        let mut state = State::default();
        let object = "image/01890a5d-ac96-774b-bcce-b302099a8057".to_owned();
        let acted = |generation| Entry::Acted {
            object: object.clone(),
            generation: Generation(generation),
        };
        state.apply(&[Entry::Epoch(Epoch(5)), acted(3), acted(2), Entry::Epoch(Epoch(4))], 1);
        state.apply(&[Entry::Revision(7), Entry::Revision(6)], 2);
        assert_eq!(
            (state.epoch(), state.acted(object.parse().unwrap()), state.revision()),
            (Epoch(5), Generation(3), 7)
        );
    }

    #[test]
    fn revisions_begin_anew_with_a_restored_store() {
        let mut state = State::default();
        state.apply(
            &[Entry::Epoch(Epoch(5)), Entry::Revision(900), Entry::Epoch(Epoch(6))],
            1,
        );
        assert_eq!(state.revision(), 900, "another leader of the same store");
        state.apply(&[Entry::Epoch(Epoch(5 + Epoch::PASSED_OVER)), Entry::Revision(3)], 2);
        assert_eq!(state.revision(), 3);
        let mut again = State::default();
        again.apply(&state.entries(), 1);
        assert_eq!((again.epoch(), again.revision()), (state.epoch(), 3));
    }
}
