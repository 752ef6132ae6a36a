//! What guests say: a few short lines a call, kept in a ring and passed to tracing.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use symphony_core::digest::Digest;
use symphony_core::name::Name;

/// Lines that are kept of one plugin.
pub const LINES_MAX: usize = 1000;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// An operator should look.
    Error,
    /// Something is odd.
    Warn,
    /// Worth knowing.
    Info,
    /// For the plugin's author.
    Debug,
}

impl Level {
    /// Its name, lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Counts up from 0 for each plugin; a gap means that lines fell out of the ring.
    pub number: u64,
    /// When the host took it, for display.
    pub at: SystemTime,
    /// How much it matters.
    pub level: Level,
    /// The call in which it was said.
    pub call: &'static str,
    /// Its text, control characters escaped.
    pub text: String,
}

/// The log of one plugin: its last [`LINES_MAX`] lines.
#[derive(Debug)]
pub struct PluginLog {
    plugin: Name,
    version: String,
    digest: Digest,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<LogLine>,
    next: u64,
    dropped: u64,
}

impl PluginLog {
    pub(crate) fn new(plugin: Name, version: String, digest: Digest) -> Self {
        Self {
            plugin,
            version,
            digest,
            ring: Mutex::default(),
        }
    }

    /// The lines from number `from` on, oldest first.
    #[must_use]
    pub fn lines(&self, from: u64) -> Vec<LogLine> {
        self.ring()
            .lines
            .iter()
            .filter(|line| line.number >= from)
            .cloned()
            .collect()
    }

    /// Lines that were over a call's limit and are lost.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.ring().dropped
    }

    pub(crate) fn write(&self, level: Level, call: &'static str, text: String) {
        let (plugin, version, digest) = (self.plugin.as_str(), self.version.as_str(), self.digest.short());
        match level {
            Level::Error => tracing::error!(plugin, version, digest, call, "{text}"),
            Level::Warn => tracing::warn!(plugin, version, digest, call, "{text}"),
            Level::Info => tracing::info!(plugin, version, digest, call, "{text}"),
            Level::Debug => tracing::debug!(plugin, version, digest, call, "{text}"),
        }
        let mut ring = self.ring();
        if ring.lines.len() == LINES_MAX {
            ring.lines.pop_front();
        }
        let number = ring.next;
        ring.next += 1;
        ring.lines.push_back(LogLine {
            number,
            at: SystemTime::now(),
            level,
            call,
            text,
        });
    }

    pub(crate) fn drop_line(&self) {
        self.ring().dropped += 1;
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_last_lines_and_their_numbers() {
        let log = PluginLog::new("spread".parse().unwrap(), "1.0.0".into(), Digest::new([1; 32]));
        for n in 0..LINES_MAX + 5 {
            log.write(Level::Debug, "place", n.to_string());
        }
        let lines = log.lines(0);
        assert_eq!(
            (lines.len(), lines[0].number, lines[0].text.as_str()),
            (LINES_MAX, 5, "5")
        );
        assert_eq!(log.lines(1003).len(), 2);
    }
}
