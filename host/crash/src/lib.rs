//! Crash points: named places at which a test ends the process, as a power cut would.
//!
//! A leaf that manager and agents share. In release builds a point is nothing; in debug builds it reads
//! `SYMPHONY_CRASH_AT` once: `NAME` kills the process when the point is first passed, `NAME:N` at the N-th time. With
//! `SYMPHONY_CRASH_ONCE` set to a file, only the process that makes that file dies: one crash, however many processes
//! inherit the environment and are started again. With `SYMPHONY_CRASH_LOG` set to a file, the names of the points that were passed are appended to it, so that a test can
//! learn all of them and fail when one was never reached.

#[cfg(debug_assertions)]
mod armed;

/// Passes the crash point `name`: `room.action.moment`, lower case.
#[inline]
pub fn point(name: &'static str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// Passes the crash point whose name these parts make up: for what is written once and done for several kinds.
#[inline]
pub fn point_of(parts: &[&str]) {
    #[cfg(debug_assertions)]
    armed::pass(&parts.concat());
    #[cfg(not(debug_assertions))]
    let _ = parts;
}
