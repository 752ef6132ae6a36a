//! One device, asked by its program.

use std::path::Path;
use std::time::Duration;

use symphony_agent::StepError;
use symphony_agent::program::{self, Ended};
use symphony_core::power::{Device, OptionValue, PowerState};

use crate::secrets::Secrets;

/// How long a device may take to say whether the power is on.
pub(crate) const STATUS_DEADLINE: Duration = Duration::from_secs(30);
/// How long it may take to cut it: management boards take their time.
pub(crate) const CUT_DEADLINE: Duration = Duration::from_secs(120);

/// Statuses of the convention, for `action=status`.
const ON: i32 = 0;
const OFF: i32 = 2;

/// A device, and what it takes to ask it.
pub(crate) struct Asked<'a> {
    pub(crate) device: &'a Device,
    pub(crate) program: &'a Path,
    pub(crate) secrets: &'a Secrets,
}

impl Asked<'_> {
    /// What it says of the power, and why when it says nothing of use.
    pub(crate) async fn state(&self) -> (PowerState, String) {
        let ended = match self.run("status", STATUS_DEADLINE).await {
            Ok(ended) => ended,
            Err(error) => return (PowerState::Unknown, error.failure().message),
        };
        let says = |line: &str| ended.stdout.lines().any(|printed| printed.trim() == line);
        match ended.status.code() {
            Some(ON) if says("Status: ON") && !says("Status: OFF") => (PowerState::On, String::new()),
            Some(OFF) if says("Status: OFF") && !says("Status: ON") => (PowerState::Off, String::new()),
            _ => (PowerState::Unknown, self.complaint(&ended)),
        }
    }

    /// Has it cut the power.
    pub(crate) async fn cut(&self) -> Result<(), StepError> {
        let ended = self.run("off", CUT_DEADLINE).await?;
        match ended.status.success() {
            true => Ok(()),
            false => Err(StepError::Other(self.complaint(&ended))),
        }
    }

    async fn run(&self, action: &str, deadline: Duration) -> Result<Ended, StepError> {
        let mut input = String::new();
        let mut known = Vec::new();
        for (name, value) in self.device.values() {
            let value = match value {
                OptionValue::Plain(value) => value.to_owned(),
                OptionValue::Secret(name) => {
                    let secret = self.secrets.read(&name)?;
                    known.push(secret.clone());
                    secret
                }
            };
            input.push_str(&format!("{name}={value}\n"));
        }
        // Last: a program that reads an option twice keeps the last.
        input.push_str(&format!("action={action}\n"));
        let mut ended = program::run(self.program, &[], &input, deadline).await?;
        for text in [&mut ended.stdout, &mut ended.stderr] {
            for secret in &known {
                *text = text.replace(secret, "***");
            }
        }
        Ok(ended)
    }

    fn complaint(&self, ended: &Ended) -> String {
        // The convention's word for what counts, among warnings of its interpreter.
        let mut lines = ended.stderr.lines().chain(ended.stdout.lines());
        let failed = lines.find_map(|line| line.find("Failed:").map(|at| line[at..].trim().to_owned()));
        let (program, status) = (&self.device.program, ended.status);
        let complaint = failed.unwrap_or_else(|| ended.complaint());
        match complaint.is_empty() {
            true => format!("{program} ended with {status} and said nothing"),
            false => format!("{program} ended with {status}: {complaint}"),
        }
    }
}
