//! From what is asked for to a machine that could be stored, with its volumes and addresses: everything that it names is
//! looked up, and all of it is written in one transaction.

use symphony_api::Code;
use symphony_control::clock;
use symphony_core::id::MachineId;
use symphony_core::keys;
use symphony_core::labels::Labels;
use symphony_core::machine::{Attachment, Machine, MachineSpec, MachineStatus};
use symphony_core::meta::Meta;
use symphony_core::name::Name;
use symphony_core::plan::machine::Power;
use symphony_core::record::{self, RECORD_BYTES_MAX};
use symphony_core::volume::{Holder, Volume};
use symphony_store::{Compare, Store, Txn};

use super::addresses::{Ports, allocate};
use super::disks;
use super::wanted::{Disk, Source, Wanted, in_words};
use crate::event::{Records as _, about, event};
use crate::failure::{Answer, Failure};
use crate::reading::{Stored, load};
use crate::routes::volumes;

/// What a machine's record keeps free for what is seen of it, in bytes.
const SPARE_BYTES: usize = 32 << 10;

/// A machine that could be stored, with what is made and taken for it.
pub(super) struct Draft {
    pub(super) machine: Machine,
    /// Its new volumes.
    pub(super) new: Vec<volumes::Draft>,
    /// Volumes that exist, as they were seen.
    pub(super) taken: Vec<Stored<Volume>>,
    ports: Ports,
}

impl Wanted<'_> {
    /// Looks up what is named and makes the machine, with a new id. `attempt` counts how often others were faster.
    pub(super) async fn draft(&self, store: &dyn Store, project: &Name, attempt: u32) -> Answer<Draft> {
        neighbours(store, project, "/spec/apart_from", &self.wishes.apart_from).await?;
        neighbours(store, project, "/spec/near", &self.wishes.near).await?;
        let id = MachineId::new(clock::new_uuid());
        let mut draft = Draft {
            machine: self.machine(id, project),
            new: Vec::new(),
            taken: Vec::new(),
            ports: Ports::default(),
        };
        for disk in &self.disks {
            self.add(&mut draft, disk, store, project).await?;
        }
        draft.ports = allocate(store, project, &self.ports, attempt).await?;
        draft.machine.spec.ports.clone_from(&draft.ports.ports);
        refuse_if_too_long(&draft.machine)?;
        Ok(draft)
    }

    fn machine(&self, id: MachineId, project: &Name) -> Machine {
        let meta = Meta::new(
            id,
            project.clone(),
            self.name.clone(),
            self.labels.clone(),
            clock::now(),
        );
        let spec = MachineSpec {
            size: self.size,
            cpu_mode: self.cpu_mode,
            hugepages: self.hugepages,
            power: self.power,
            boots: u64::from(self.power == Power::On),
            restart: self.restart,
            volumes: Vec::new(),
            ports: Vec::new(),
            first_boot: self.first_boot.clone(),
            wishes: self.wishes.clone(),
        };
        Machine {
            meta,
            spec,
            placement: None,
            status: MachineStatus::pending(),
        }
    }

    /// The pool that its new volumes must be in; nothing when it has none.
    fn pool_of_new(&self) -> Option<&Name> {
        let is_new = |disk: &Disk<'_>| !matches!(disk.from, Source::Record(_));
        self.pool.as_ref().filter(|_| self.disks.iter().any(is_new))
    }

    async fn add(&self, draft: &mut Draft, disk: &Disk<'_>, store: &dyn Store, project: &Name) -> Answer<()> {
        let (name, size, image) = match &disk.from {
            Source::Record(name) => {
                let volume = disks::unused(store, project, name, &disk.pointer).await?;
                draft.fits(&volume.value, self.pool_of_new(), &disk.pointer)?;
                draft.machine.spec.volumes.push(attachment(&volume.value, disk));
                draft.taken.push(volume);
                return Ok(());
            }
            Source::Image(image, name, size) => (name, *size, Some(*image)),
            Source::Nothing(name, size) => (name, Some(*size), None),
        };
        if load::<Volume>(store, &keys::volume(project, name)).await?.is_some() {
            let detail = format!("its volume would be called {name}, and there is a volume {name} already");
            return Err(Failure::field(Code::AlreadyExists, &disk.pointer, detail));
        }
        let wanted = volumes::Wanted {
            name: name.clone(),
            labels: Labels::default(),
            size,
            size_pointer: "/spec/root_size",
            pool: self.pool.clone(),
            require: Labels::default(),
            image,
        };
        let mut new = wanted.draft(store, project).await?;
        new.volume.machine = Some(Holder {
            id: draft.machine.meta.id,
            name: draft.machine.meta.name.clone(),
        });
        draft.machine.spec.volumes.push(attachment(&new.volume, disk));
        draft.new.push(new);
        Ok(())
    }
}

fn attachment(volume: &Volume, disk: &Disk<'_>) -> Attachment {
    Attachment {
        id: volume.meta.id,
        name: volume.meta.name.clone(),
        delete_with_machine: disk.delete_with_machine,
    }
}

impl Draft {
    /// Refuses a volume that can't be on one node, or in one pool, with the others.
    fn fits(&self, volume: &Volume, pool: Option<&Name>, pointer: &str) -> Answer<()> {
        let name = &volume.meta.name;
        let unprocessable = |detail: String| Err(Failure::field(Code::Unprocessable, pointer, detail));
        if self.taken.iter().any(|taken| taken.value.meta.id == volume.meta.id) {
            return unprocessable(format!("the volume {name} is named twice"));
        }
        if self.machine.spec.wishes.remote_volumes && volume.placement.is_some() {
            return Ok(());
        }
        let others = self.taken.iter().map(|taken| &taken.value);
        match disks::apart(volume, others, pool) {
            Some(why) => unprocessable(why),
            None => Ok(()),
        }
    }

    /// Writes all of it, if everything is as it was seen.
    pub(super) fn store(&self, txn: Txn) -> Answer<Txn> {
        let (machine, id) = (&self.machine, self.machine.meta.id);
        let key = keys::machine(&machine.meta.project, &machine.meta.name);
        let mut txn = txn
            .when(Compare::absent(&key))
            .record(key.clone(), machine)?
            .put(keys::machine_id(id), key.into_bytes());
        let asked = format!("{} were asked for", in_words(machine.spec.size));
        txn = txn.tell(&event("created", about("machine", &machine.meta), asked))?;
        for new in &self.new {
            txn = volumes::put_new(txn, new)?;
        }
        for taken in &self.taken {
            txn = disks::take(txn, taken, machine)?;
        }
        Ok(self.ports.reserve(txn))
    }
}

async fn neighbours(store: &dyn Store, project: &Name, pointer: &str, names: &[Name]) -> Answer<()> {
    for (at, name) in names.iter().enumerate() {
        let found = load::<Machine>(store, &keys::machine(project, name)).await?;
        if found.is_none() {
            let detail = format!("there is no machine {name} in project {project}");
            return Err(Failure::field(Code::NotFound, &format!("{pointer}/{at}"), detail));
        }
    }
    Ok(())
}

/// Refuses a machine whose record would have no room for what will be seen of it.
pub(super) fn refuse_if_too_long(machine: &Machine) -> Answer<()> {
    let over = |bytes: usize| {
        let most = RECORD_BYTES_MAX - SPARE_BYTES;
        let detail = format!(
            "all that is said of the machine may have {most} bytes, and it has {bytes}: \
             give it less user-data, fewer keys or fewer rules"
        );
        Failure::field(Code::InvalidArgument, "/spec", detail)
    };
    match record::encode(machine) {
        Ok(bytes) if bytes.len() <= RECORD_BYTES_MAX - SPARE_BYTES => Ok(()),
        Ok(bytes) => Err(over(bytes.len())),
        Err(record::RecordError::TooLarge(bytes)) => Err(over(bytes)),
        Err(error) => Err(error.into()),
    }
}
