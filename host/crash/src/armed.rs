//! What a crash point does in debug builds.

use std::collections::HashSet;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

struct Trap {
    name: String,
    left: AtomicU64,
}

/// The file, and the names that are in it already.
type Log = (std::fs::File, HashSet<String>);

pub(super) fn pass(name: &str) {
    record(name);
    static TRAP: OnceLock<Option<Trap>> = OnceLock::new();
    let Some(trap) = TRAP.get_or_init(armed_by_environment) else {
        return;
    };
    if trap.name == name && trap.left.fetch_sub(1, Ordering::SeqCst) == 1 && is_first() {
        kill_self();
    }
}

/// Whether nobody died here before: with `SYMPHONY_CRASH_ONCE` the first to make that file does, and only it.
fn is_first() -> bool {
    std::env::var_os("SYMPHONY_CRASH_ONCE").is_none_or(|path| {
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .is_ok()
    })
}

fn armed_by_environment() -> Option<Trap> {
    let wanted = std::env::var("SYMPHONY_CRASH_AT").ok()?;
    let (name, times) = match wanted.rsplit_once(':') {
        Some((name, times)) => (name.to_owned(), times.parse().unwrap_or(1)),
        None => (wanted, 1),
    };
    Some(Trap {
        name,
        left: AtomicU64::new(times),
    })
}

fn record(name: &str) {
    static LOG: OnceLock<Option<Mutex<Log>>> = OnceLock::new();
    let log = LOG.get_or_init(|| {
        let path = std::env::var_os("SYMPHONY_CRASH_LOG")?;
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path).ok()?;
        Some(Mutex::new((file, HashSet::new())))
    });
    if let Some(Ok(mut log)) = log.as_ref().map(Mutex::lock)
        && log.1.insert(name.to_owned())
    {
        // A name that could not be written shows up as a point never reached: the test fails, not the process.
        let _ = log.0.write_all(format!("{name}\n").as_bytes());
    }
}

/// Ends this process as `kill -9` would: nothing is flushed, no destructor runs.
fn kill_self() -> ! {
    let pid = rustix::process::getpid();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}
