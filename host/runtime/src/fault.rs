//! Plugin faults: which plugin, which call, and what went wrong, in one word for metrics and a sentence for a person.

use symphony_core::digest::Digest;
use symphony_core::name::Name;
use symphony_core::place::{AnswerFault, Violation};
use symphony_core::plan::PlanFault;
use wasmtime::{Trap, WasmBacktrace};

use crate::guest::OverLimit;

/// Frames of a guest's backtrace that are kept.
const FRAMES_MAX: usize = 6;
/// Longest text of a fault, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 1024;

/// A call that gave nothing usable. It fails that call only.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("plugin {plugin} {version} ({}) failed in {call}: {kind}", digest.short())]
pub struct PluginFault {
    /// The plugin's name.
    pub plugin: Name,
    /// Its version.
    pub version: String,
    /// Its component.
    pub digest: Digest,
    /// The call: `instantiate`, `describe`, `configure`, `load`, `update`, `place`, `explain`, `probes` or `plan`.
    pub call: &'static str,
    /// What went wrong.
    pub kind: FaultKind,
}

impl PluginFault {
    /// One word for events and metrics; see [`FaultKind::reason`].
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.kind.reason()
    }
}

/// What went wrong in a call.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FaultKind {
    /// The guest trapped; with its own function names where it carries them.
    #[error("{0}")]
    Trap(String),
    /// The call used up its fuel: an endless loop, or more work than it is worth.
    #[error("it ran out of fuel ({0} units)")]
    OutOfFuel(u64),
    /// The caller stopped waiting.
    #[error("it gave no answer within {0} ms")]
    Deadline(u128),
    /// Memory, tables or instances over their limit.
    #[error("{0}")]
    Memory(String),
    /// Calls nested too deeply.
    #[error("it ran out of stack{0}")]
    StackOverflow(String),
    /// More bytes than a call may hand over.
    #[error("its answer is over {0} bytes")]
    OutputTooLarge(usize),
    /// An answer that breaks its contract.
    #[error("{0}")]
    Answer(String),
    /// The plugin does not hold what it was given.
    #[error("{0}")]
    Stale(String),
    /// No instance could be made.
    #[error("{0}")]
    Instantiate(String),
    /// It refused its configuration.
    #[error("it refused its configuration: {0}")]
    Config(String),
    /// It said itself that it can't answer.
    #[error("{0}")]
    Guest(String),
    /// A choice that breaks a hard rule (found by the checks in core).
    #[error("{0}")]
    Choice(Violation),
    /// A plan that is not taken (found by the checks in core).
    #[error("{0}")]
    Plan(PlanFault),
    /// The host's own failure; the plugin is not to blame.
    #[error("{0}")]
    Host(String),
}

impl FaultKind {
    /// One word for events and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Trap(_) => "trap",
            Self::OutOfFuel(_) => "out-of-fuel",
            Self::Deadline(_) => "deadline",
            Self::Memory(_) => "memory",
            Self::StackOverflow(_) => "stack-overflow",
            Self::OutputTooLarge(_) => "output-too-large",
            Self::Answer(_) => "bad-answer",
            Self::Stale(_) => "stale",
            Self::Instantiate(_) => "instantiate",
            Self::Config(_) => "config",
            Self::Guest(_) => "refused",
            Self::Choice(violation) => violation.reason(),
            Self::Plan(fault) => fault.reason(),
            Self::Host(_) => "host",
        }
    }

    /// What an error of wasmtime means. `fuel` is what the call was given, `answer_bytes` its limit on answers, `said`
    /// the last error that the guest logged in this call (the SDK logs a panic's message before it traps).
    pub(crate) fn of(error: &wasmtime::Error, call: &Call<'_>) -> Self {
        if let Some(over) = error.downcast_ref::<OverLimit>() {
            return Self::Memory(over.to_string());
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => return Self::OutOfFuel(call.fuel),
            Some(Trap::StackOverflow) => return Self::StackOverflow(frames(error)),
            Some(trap) => {
                let said = call.said.map(|said| format!(": {said}")).unwrap_or_default();
                return Self::Trap(clip(&format!("{trap}{said}{}", frames(error)), TEXT_BYTES_MAX));
            }
            None => {}
        }
        let text = clip(&chain(error), TEXT_BYTES_MAX);
        // wasmtime has no public types for these two.
        if text.contains("fuel allocated for hostcalls has been exhausted") {
            Self::OutputTooLarge(call.answer_bytes)
        } else if text.contains("resource limit exceeded") || text.contains("exceeds memory limits") {
            Self::Memory(text)
        } else if call.name == "instantiate" {
            Self::Instantiate(text)
        } else {
            Self::Answer(text)
        }
    }
}

impl From<AnswerFault> for FaultKind {
    fn from(fault: AnswerFault) -> Self {
        Self::Answer(fault.to_string())
    }
}

/// A call, as far as its fault needs to know it.
pub(crate) struct Call<'a> {
    pub(crate) name: &'static str,
    pub(crate) fuel: u64,
    pub(crate) answer_bytes: usize,
    pub(crate) said: Option<&'a str>,
}

/// The texts of an error and of what caused it, without the backtrace.
pub(crate) fn chain(error: &wasmtime::Error) -> String {
    let texts: Vec<String> = error.chain().map(ToString::to_string).collect();
    let texts: Vec<&str> = texts
        .iter()
        .map(|text| text.trim())
        .filter(|text| !text.starts_with("error while executing"))
        .collect();
    texts.join(": ")
}

/// ` in a < b < c`: the guest's innermost functions. Empty when it carries no names.
fn frames(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return String::new();
    };
    let text = backtrace.to_string();
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.rsplit_once('!').map(|(_, name)| name))
        .take(FRAMES_MAX)
        .collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(" in {}", clip(&names.join(" < "), TEXT_BYTES_MAX / 2))
    }
}

/// A text of a guest made fit for people and logs: control characters escaped, at most `bytes_max` bytes.
pub(crate) fn clip(text: &str, bytes_max: usize) -> String {
    const MORE: char = '…';
    let mut clipped = String::with_capacity(text.len().min(bytes_max));
    for c in text.chars() {
        let before = clipped.len();
        if c.is_control() {
            clipped.extend(c.escape_default())
        } else {
            clipped.push(c)
        }
        if clipped.len() > bytes_max {
            clipped.truncate(before);
            while clipped.len() + MORE.len_utf8() > bytes_max && clipped.pop().is_some() {}
            clipped.push(MORE);
            break;
        }
    }
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_guests_are_short_and_harmless() {
        assert_eq!(clip("plain é", 64), "plain é");
        assert_eq!(clip("\u{1b}[31m\nred\0", 64), "\\u{1b}[31m\\nred\\u{0}");
        for limit in 3..40 {
            let clipped = clip(&"é\n".repeat(100), limit);
            assert!(clipped.len() <= limit && clipped.ends_with('…'), "{limit}: {clipped}");
        }
    }
}
