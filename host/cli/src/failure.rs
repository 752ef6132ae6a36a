//! How a verb fails: what failed, what to do next, and the exit code. Never prints itself but through [`Failure::report`].

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use crate::table::plain;

/// The exit codes that scripts rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Anything that has no code of its own.
    Error = 1,
    /// The command line is wrong; nothing was sent.
    Usage = 2,
    /// There is no such object.
    NotFound = 3,
    /// It exists already, is in use, or was changed meanwhile.
    Conflict = 4,
    /// No node takes it now.
    Unplaceable = 5,
}

/// Why a verb did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What failed; one line, lower case.
    pub message: String,
    /// More lines, such as a table of nodes; empty when there is nothing more to say.
    pub detail: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a code of its own.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Error,
            message: message.into(),
            detail: String::new(),
            hint: None,
        }
    }

    /// A wrong command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            ..Self::new(message)
        }
    }

    /// With the chain of an error's sources behind the message.
    pub fn caused(message: impl Into<String>, error: &dyn std::error::Error) -> Self {
        let mut text = message.into();
        let mut next = Some(error);
        while let Some(error) = next {
            let part = error.to_string();
            // Some libraries repeat their source inside their own text.
            if !text.ends_with(&part) {
                _ = write!(text, ": {part}");
            }
            next = error.source();
        }
        Self::new(text)
    }

    /// With another exit code.
    #[must_use]
    pub fn exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// With what to do next.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// With more lines below the message.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            ..self
        }
    }

    /// Several failures as one: the first speaks, the others are named below it. No failure is success.
    ///
    /// # Errors
    /// When there is one or more.
    pub(crate) fn together(failures: Vec<Self>) -> Result<(), Self> {
        let mut failures = failures.into_iter();
        let Some(mut first) = failures.next() else {
            return Ok(());
        };
        for failure in failures {
            _ = writeln!(first.detail, "also: {}", failure.message);
        }
        Err(first)
    }

    /// What is written to stderr.
    #[must_use]
    pub fn text(&self, color: bool) -> String {
        let (red, cyan, reset) = if color {
            ("\x1b[1;31m", "\x1b[36m", "\x1b[0m")
        } else {
            ("", "", "")
        };
        let mut text = format!("{red}error:{reset} {}\n", plain(&self.message));
        for line in self.detail.lines() {
            text.push_str(format!("  {}", plain(line)).trim_end());
            text.push('\n');
        }
        if let Some(hint) = &self.hint {
            _ = writeln!(text, "{cyan}hint:{reset} {}", plain(hint));
        }
        text
    }

    /// Writes it to stderr and gives the exit code.
    pub fn report(&self, color: bool) -> ExitCode {
        let color = color && std::io::stderr().is_terminal();
        _ = std::io::stderr().write_all(self.text(color).as_bytes());
        ExitCode::from(self.exit as u8)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::caused("could not write the output", &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_failed_and_what_to_do() {
        let failure = Failure::new("volume data was not found")
            .exit(Exit::NotFound)
            .hint("see `symphony volume list`")
            .detail("a\nb");
        assert_eq!(
            failure.text(false),
            "error: volume data was not found\n  a\n  b\nhint: see `symphony volume list`\n"
        );
        assert_eq!(failure.exit as u8, 3);
    }

    #[test]
    fn a_chain_of_causes_is_one_line_without_doubles() {
        let inner = std::io::Error::other("connection refused");
        let outer = std::io::Error::other(inner);
        assert_eq!(
            Failure::caused("could not reach it", &outer).message,
            "could not reach it: connection refused"
        );
    }

    #[test]
    fn what_a_server_says_is_printed_harmlessly() {
        assert_eq!(
            Failure::new("bad\u{1b}[2Jname\nerror: forged").text(false),
            "error: bad?[2Jname?error: forged\n"
        );
    }
}
