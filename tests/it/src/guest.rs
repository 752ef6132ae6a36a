//! A guest as its user sees it: what it says on its console, and what is typed there.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use symphony_api::Client;
use symphony_api::client::{Console, Said};

use crate::wait::Patience;

/// How long one piece of output is waited for before the line is typed again.
const QUIET: Duration = Duration::from_secs(20);
/// How much is told of what was heard when something is missing.
const TOLD_BYTES_MAX: usize = 3_000;

/// Counts the lines typed to all guests: a viewer is told first what was said to others.
static LINES: AtomicU32 = AtomicU32::new(1);

/// A viewer of a machine's console.
pub struct Guest {
    console: Console,
    heard: String,
}

impl Guest {
    /// Attaches to a machine's console.
    ///
    /// # Panics
    /// When it can't.
    pub async fn attach(client: &Client, machine: &str) -> Self {
        let console = client.console(machine).await.expect("the console can be attached");
        Self {
            console,
            heard: String::new(),
        }
    }

    /// Waits until the guest has said this since the last wait; gives what it said up to the end of it.
    ///
    /// # Panics
    /// When it does not, or the console ends before.
    pub async fn says(&mut self, wanted: &str) -> String {
        let until = Instant::now() + Patience::default().0;
        loop {
            if let Some(at) = self.heard.find(wanted) {
                let rest = self.heard.split_off(at + wanted.len());
                return std::mem::replace(&mut self.heard, rest);
            }
            assert!(
                Instant::now() < until,
                "the guest never said {wanted:?}: {}",
                self.told()
            );
            match self.piece().await {
                Some(Said::Bytes(bytes)) => self.heard.push_str(&String::from_utf8_lossy(&bytes)),
                Some(Said::Ended(end)) => panic!("the console ended ({end:?}) before {wanted:?}: {}", self.told()),
                None => {}
            }
        }
    }

    /// Types a line of shell and gives what it printed.
    ///
    /// # Panics
    /// When the guest does not answer.
    pub async fn run(&mut self, line: &str) -> String {
        let number = LINES.fetch_add(1, Ordering::Relaxed);
        // What is typed is echoed, so the marks are not typed as they are printed.
        self.tell(&format!("echo beg$(({number}+0)).; {line}; echo end$(({number}+0))."))
            .await;
        self.says(&format!("beg{number}.")).await;
        let mark = format!("end{number}.");
        let said = self.says(&mark).await;
        said.trim_end_matches(&mark).trim().replace('\r', "")
    }

    /// Types a line and waits for nothing.
    ///
    /// # Panics
    /// When the connection is lost.
    pub async fn tell(&mut self, line: &str) {
        let sent = self.console.input.send(format!("{line}\n").as_bytes()).await;
        sent.expect("the console takes what is typed");
    }

    async fn piece(&mut self) -> Option<Said> {
        let said = tokio::time::timeout(QUIET, self.console.output.next()).await.ok()?;
        Some(said.expect("the console stays connected"))
    }

    fn told(&self) -> String {
        let from = self.heard.len().saturating_sub(TOLD_BYTES_MAX);
        let from = (from..).find(|at| self.heard.is_char_boundary(*at)).unwrap_or_default();
        self.heard[from..].to_owned()
    }
}
