//! What is going on while a verb waits or uploads: one moving line on a terminal, plain lines elsewhere, on stderr alone.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use symphony_core::quantity::Bytes;

use crate::table::plain;

/// Shows what is going on. Says each thing once.
#[derive(Debug)]
pub(crate) struct Progress {
    subject: String,
    last: String,
    way: Way,
    /// What was told, for tests.
    #[cfg(test)]
    pub(crate) told: Vec<String>,
}

#[derive(Debug)]
enum Way {
    Silent,
    Lines,
    Bar(ProgressBar),
}

impl Progress {
    /// Waiting for `subject`, like `volume data`.
    pub(crate) fn waiting(subject: &str, quiet: bool) -> Self {
        Self::start(subject, quiet, || {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        })
    }

    /// Moving bytes; a bar when the total is known.
    pub(crate) fn moving(subject: &str, total_bytes: Option<u64>, quiet: bool) -> Self {
        Self::start(subject, quiet, || match total_bytes {
            None => ProgressBar::new_spinner().with_style(style("{spinner} {prefix} {bytes} {bytes_per_sec}")),
            Some(total) => ProgressBar::new(total)
                .with_style(style("{prefix} [{bar:32}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")),
        })
    }

    fn start(subject: &str, quiet: bool, bar: impl FnOnce() -> ProgressBar) -> Self {
        let way = if quiet {
            Way::Silent
        } else if std::io::stderr().is_terminal() {
            Way::Bar(bar().with_prefix(subject.to_owned()))
        } else {
            Way::Lines
        };
        Self {
            subject: subject.to_owned(),
            last: String::new(),
            way,
            #[cfg(test)]
            told: Vec::new(),
        }
    }

    /// Says how it stands, unless that was the last thing said.
    pub(crate) fn say(&mut self, text: &str) {
        let text = plain(text);
        if text == self.last {
            return;
        }
        match &self.way {
            Way::Silent => {}
            Way::Lines => _ = writeln!(std::io::stderr(), "{}: {text}", self.subject),
            Way::Bar(bar) => bar.set_message(format!("{}: {text}", self.subject)),
        }
        self.last = text;
    }

    /// Tells what happened: a line that stays, on a terminal too.
    pub(crate) fn tell(&mut self, line: &str) {
        let line = plain(line);
        #[cfg(test)]
        self.told.push(line.clone());
        match &self.way {
            Way::Silent => {}
            Way::Lines => _ = writeln!(std::io::stderr(), "{line}"),
            Way::Bar(bar) => bar.println(line),
        }
    }

    /// Says how many bytes went by: a plain line per full 10 %, or per GiB when the total is not known.
    pub(crate) fn bytes(&mut self, done: u64, total: Option<u64>) {
        if let Way::Bar(bar) = &self.way {
            return bar.set_position(done);
        }
        self.say(&match total {
            Some(total) if total > 0 => {
                let tenths = u128::from(done) * 10 / u128::from(total);
                format!("{}% of {}", tenths * 10, Bytes(total))
            }
            _ => format!("{}GiB", done >> 30),
        });
    }

    /// What was said last.
    pub(crate) fn last(&self) -> &str {
        &self.last
    }

    /// Ends the moving line; nothing of it stays on the terminal.
    pub(crate) fn finish(&self) {
        if let Way::Bar(bar) = &self.way {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are ours; a wrong one would only lose the look.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
