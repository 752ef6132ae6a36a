//! The other side of the jail's door: limits this process, then becomes the program.
//!
//! Runs in a process of its own, with one thread, before anything else of the agent is set up.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::process::{Resource, Rlimit, Signal};
use serde::{Deserialize, Serialize};

/// The hidden argument; the job follows.
pub const ARGUMENT: &str = "__jail";
/// In place of a job: says whether Landlock is enforced here, as an exit code.
pub const PROBE: &str = "probe";
/// The exit code when the jail could not be closed. `qemu-img` knows only 0 to 3 and 63.
pub const EXIT_NOT_ENTERED: i32 = 125;

/// Address space: the tables of a check on a 10 TiB image need a third of it.
const MEMORY_BYTES_MAX: u64 = 1 << 30;
/// Each thread reserves a stack, so a smaller one leaves address space for data.
const STACK_BYTES_MAX: u64 = 1 << 20;
const FILES_MAX: u64 = 64;
const NICENESS: i32 = 5;
/// What programs need to start: libraries and the table of them.
const PROGRAM_PATHS: [&str; 4] = ["/usr", "/lib", "/lib64", "/etc/ld.so.cache"];
/// The newest set of rights that was tested; an older kernel enforces what it knows.
const LANDLOCK_ABI: ABI = ABI::V6;

/// A job, as it crosses the door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The file that may be read, relative to the working directory.
    pub read: String,
    /// The file that may be written too.
    pub write: Option<String>,
    /// Largest file that may be written, in bytes.
    pub file_bytes_max: u64,
    /// Processor time, in seconds.
    pub cpu_seconds: u64,
    /// The agent: when it dies, so does this process.
    pub parent: u32,
}

#[derive(Debug, thiserror::Error)]
enum EnterError {
    #[error("the job can't be understood: {0}")]
    Spec(#[from] serde_json::Error),
    #[error("{0}: {1}")]
    Io(&'static str, #[source] io::Error),
    #[error("landlock: {0}")]
    Landlock(#[from] RulesetError),
    #[error("landlock is {0}")]
    Open(String),
    #[error("the agent is gone")]
    Orphan,
}

/// Closes the jail around this process and becomes the program. Comes back only when that fails, with an exit code.
#[must_use]
pub fn enter(job: &str) -> i32 {
    let result = if job == PROBE { probe() } else { become_program(job) };
    match result {
        Ok(()) => 0,
        Err(error) => {
            // The agent reads this; there is nowhere else to say it.
            let _ = io::Write::write_all(&mut io::stderr(), format!("{error}\n").as_bytes());
            EXIT_NOT_ENTERED
        }
    }
}

fn probe() -> Result<(), EnterError> {
    match shut(&[], None)? {
        RulesetStatus::NotEnforced => Err(EnterError::Open("not enabled in this kernel".to_owned())),
        _ => Ok(()),
    }
}

fn become_program(job: &str) -> Result<(), EnterError> {
    let spec: Spec = serde_json::from_str(job)?;
    // Before the limits, as this asks the kernel for the parent: an agent that died meanwhile never gets a child.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(at("death signal"))?;
    if rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()) != i32::try_from(spec.parent).ok() {
        return Err(EnterError::Orphan);
    }
    limit(&spec)?;
    rustix::thread::set_no_new_privs(true).map_err(at("no new privileges"))?;
    let read = beneath(&spec.read)?;
    let write = spec.write.as_deref().map(beneath).transpose()?;
    shut(&[&read], write.as_ref())?;
    Err(EnterError::Io(
        "exec",
        Command::new(&spec.program).args(&spec.arguments).exec(),
    ))
}

fn limit(spec: &Spec) -> Result<(), EnterError> {
    let limits = [
        (Resource::As, MEMORY_BYTES_MAX),
        (Resource::Stack, STACK_BYTES_MAX),
        (Resource::Cpu, spec.cpu_seconds),
        (Resource::Fsize, spec.file_bytes_max),
        (Resource::Nofile, FILES_MAX),
        (Resource::Core, 0),
    ];
    for (resource, value) in limits {
        let limit = Rlimit {
            current: Some(value),
            maximum: Some(value),
        };
        rustix::process::setrlimit(resource, limit).map_err(at("limit"))?;
    }
    rustix::process::nice(NICENESS).map_err(at("priority"))?;
    Ok(())
}

/// A handle on a file below the working directory, reached through no symlink.
fn beneath(path: &str) -> Result<File, EnterError> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), resolve);
    opened.map(File::from).map_err(at("open"))
}

/// Gives up every file but these and the program's own, and the network, and signals to others.
fn shut(read: &[&File], write: Option<&File>) -> Result<RulesetStatus, EnterError> {
    let reading: BitFlags<AccessFs> = AccessFs::ReadFile.into();
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK_ABI))?
        .handle_access(AccessNet::from_all(LANDLOCK_ABI))?
        .scope(Scope::from_all(LANDLOCK_ABI))?
        .create()?;
    for path in PROGRAM_PATHS {
        // One that is missing here is one that nothing can need.
        if let Ok(handle) = PathFd::new(path) {
            let rights = if path.ends_with(".cache") {
                reading
            } else {
                AccessFs::from_read(LANDLOCK_ABI)
            };
            ruleset = ruleset.add_rule(PathBeneath::new(handle, rights))?;
        }
    }
    for file in read {
        ruleset = ruleset.add_rule(PathBeneath::new(*file, reading))?;
    }
    if let Some(file) = write {
        let writing = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
        ruleset = ruleset.add_rule(PathBeneath::new(file, writing))?;
    }
    Ok(ruleset.restrict_self()?.ruleset)
}

fn at<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> EnterError {
    move |error| EnterError::Io(what, error.into())
}
