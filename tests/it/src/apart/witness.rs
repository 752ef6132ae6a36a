//! Looks at the processes of all nodes, again and again: no word of the cluster's is taken. Sees each QEMU with its machine
//! and its node, and each process that may write to a volume's file.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Story;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// What a process has: a machine that it runs, or a volume's file that it may write to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Machine(String),
    Volume(PathBuf),
}

/// A process of a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Holder {
    node: String,
    pid: u32,
    program: String,
}

type Seen = BTreeMap<Thing, BTreeSet<Holder>>;

#[derive(Debug, Default)]
struct Found {
    /// The newest look.
    now: Seen,
    /// All that was ever seen, with all of its holders.
    ever: Seen,
    violations: Vec<String>,
    looks: u64,
}

/// A thread that looks until this is dropped.
#[derive(Debug)]
pub struct Witness {
    found: Arc<Mutex<Found>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    /// Begins to look at the nodes whose folders are in this one.
    ///
    /// # Panics
    /// When there can't be another thread.
    #[must_use]
    pub fn start(nodes: &Path, story: &Story) -> Self {
        let (found, end) = (Arc::<Mutex<Found>>::default(), Arc::<AtomicBool>::default());
        let looking = {
            let (found, end) = (Arc::clone(&found), Arc::clone(&end));
            let (nodes, story) = (nodes.to_owned(), story.clone());
            move || {
                while !end.load(Ordering::SeqCst) {
                    look(&nodes, &story, &found);
                    std::thread::sleep(PAUSE);
                }
            }
        };
        let thread = std::thread::Builder::new().name("witness".to_owned()).spawn(looking);
        Self {
            found,
            end,
            thread: Some(thread.expect("there can be a thread")),
        }
    }

    /// What must never be and was seen: empty when all is well.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.found().violations.clone()
    }

    /// How many machines and volumes were ever seen in use, and on how many nodes a machine at most, one after the other.
    #[must_use]
    pub fn ever(&self) -> (usize, usize, usize) {
        let found = self.found();
        let machines = found
            .ever
            .iter()
            .filter(|(thing, _)| matches!(thing, Thing::Machine(_)));
        let nodes =
            |holders: &BTreeSet<Holder>| holders.iter().map(|holder| &holder.node).collect::<BTreeSet<_>>().len();
        let most = machines
            .clone()
            .map(|(_, holders)| nodes(holders))
            .max()
            .unwrap_or_default();
        let machines = machines.count();
        (machines, found.ever.len() - machines, most)
    }

    /// Machines that run now: id to node.
    #[must_use]
    pub fn running(&self) -> BTreeMap<String, String> {
        let found = self.found();
        let machine = |(thing, holders): (&Thing, &BTreeSet<Holder>)| match thing {
            Thing::Machine(id) => holders.first().map(|holder| (id.clone(), holder.node.clone())),
            Thing::Volume(_) => None,
        };
        found.now.iter().filter_map(machine).collect()
    }

    /// Waits until a look was taken that began after this call.
    pub async fn fresh(&self) {
        let before = self.found().looks;
        crate::until("the witness to look", async || {
            (self.found().looks > before + 1).then_some(())
        })
        .await;
    }

    fn found(&self) -> std::sync::MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn look(nodes: &Path, story: &Story, found: &Mutex<Found>) {
    let mut now = Seen::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            && let Some((holder, things)) = holder(nodes, pid)
        {
            for thing in things {
                now.entry(thing).or_default().insert(holder.clone());
            }
        }
    }
    let mut violations = Vec::new();
    for (thing, holders) in now.iter().filter(|(_, holders)| holders.len() > 1) {
        // The look was no moment: who was seen first may have let go before the second came. Who holds it still did so all
        // the time.
        let still = |one: &&Holder| holder(nodes, one.pid).is_some_and(|(_, things)| things.contains(thing));
        let still: Vec<&Holder> = holders.iter().filter(still).collect();
        if still.len() > 1 {
            violations.push(format!("{thing:?} is held by {still:?} at once"));
        }
    }
    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
    for (thing, holders) in &now {
        let before = found.now.get(thing).cloned().unwrap_or_default();
        for holder in holders.difference(&before) {
            story.note(format!("seen: {thing:?} held by {holder:?}"));
        }
        found
            .ever
            .entry(thing.clone())
            .or_default()
            .extend(holders.iter().cloned());
    }
    for (thing, holders) in &found.now {
        let after = now.get(thing).cloned().unwrap_or_default();
        for holder in holders.difference(&after) {
            story.note(format!("seen: {thing:?} let go by {holder:?}"));
        }
    }
    for violation in violations {
        if !found.violations.contains(&violation) {
            story.note(format!("VIOLATION: {violation}"));
            found.violations.push(violation);
        }
    }
    found.now = now;
    found.looks += 1;
}

/// What a process holds, if it is one of a node's machines or servers of volumes.
fn holder(nodes: &Path, pid: u32) -> Option<(Holder, BTreeSet<Thing>)> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let program = String::from_utf8_lossy(words[0].rsplit(|byte| *byte == b'/').next()?).into_owned();
    if !program.starts_with("qemu-system") && !program.starts_with("qemu-storage-daemon") {
        return None;
    }
    let line = String::from_utf8_lossy(&line);
    let folder = format!("{}/", nodes.display());
    let at = line.find(&folder)? + folder.len();
    let holder = Holder {
        node: line[at..].split(['/', '\0', ',']).next()?.to_owned(),
        pid,
        program,
    };
    let mut things: BTreeSet<Thing> = writable(pid).into_iter().map(Thing::Volume).collect();
    if let Some(at) = words.iter().position(|word| *word == b"-uuid") {
        let id = String::from_utf8_lossy(words.get(at + 1)?).into_owned();
        things.insert(Thing::Machine(id));
    }
    Some((holder, things))
}

/// The volumes' files that a process has open for writing.
fn writable(pid: u32) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let Ok(path) = std::fs::read_link(entry.path()) else {
            continue;
        };
        if !path.as_os_str().as_bytes().ends_with(b".raw") {
            continue;
        }
        let name = entry.file_name();
        let info =
            std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", name.to_string_lossy())).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags
            .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
            .unwrap_or_default();
        // O_WRONLY or O_RDWR.
        if flags & 0o3 != 0 {
            found.insert(path);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// Looks like a QEMU of a node: its name, its words, and a file that it has open in this way. Ends with its stdin.
    fn qemu(nodes: &Path, node: &str, id: &str, open: &str, file: &Path) -> Child {
        let mut command = Command::new("bash");
        command
            .arg0("qemu-system-x86_64")
            .args(["-c", &format!("exec 3{open}\"$1\"; read line")]);
        command
            .arg(nodes.join(node).join("serial.sock"))
            .arg(file)
            .args(["-uuid", id]);
        command.stdin(Stdio::piped()).spawn().unwrap()
    }

    fn ends(mut child: Child) {
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn two_at_once_are_seen_and_one_after_the_other_is_not_two() {
        let dir = tempfile::tempdir().unwrap();
        let (nodes, file) = (dir.path(), dir.path().join("volume.raw"));
        std::fs::write(&file, "").unwrap();
        let witness = Witness::start(nodes, &Story::default());
        let machine = |id: &str, node: &str| Some(node.to_owned()) == witness.running().get(id).cloned();

        let first = qemu(nodes, "n1", "a", "<>", &file);
        crate::until("the first to be seen", async || machine("a", "n1").then_some(())).await;
        // A reader is no writer, and another machine.
        let reader = qemu(nodes, "n2", "b", "<", &file);
        crate::until("the reader to be seen", async || machine("b", "n2").then_some(())).await;
        ends(first);
        let next = qemu(nodes, "n2", "a", "<>", &file);
        crate::until("the next to be seen", async || machine("a", "n2").then_some(())).await;
        witness.fresh().await;
        assert_eq!(witness.violations(), Vec::<String>::new());
        assert_eq!(
            witness.ever(),
            (2, 1, 2),
            "two machines, one volume, a machine on two nodes"
        );

        let twice = qemu(nodes, "n3", "a", "<", &file);
        crate::until("the machine to be seen twice", async || {
            witness
                .violations()
                .iter()
                .any(|line| line.contains("Machine(\"a\")"))
                .then_some(())
        })
        .await;
        let writer = qemu(nodes, "n4", "c", "<>", &file);
        crate::until("the second writer to be seen", async || {
            witness
                .violations()
                .iter()
                .any(|line| line.contains("volume.raw"))
                .then_some(())
        })
        .await;
        [reader, next, twice, writer].into_iter().for_each(ends);
    }
}
