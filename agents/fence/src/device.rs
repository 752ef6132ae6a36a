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

/// How a program ended, and what it must not be quoted with.
struct Answer {
    ended: Ended,
    secrets: Vec<String>,
}

impl Asked<'_> {
    /// What it says of the power, and why when it says nothing of use.
    pub(crate) async fn state(&self) -> (PowerState, String) {
        let answer = match self.run("status", STATUS_DEADLINE).await {
            Ok(answer) => answer,
            Err(error) => return (PowerState::Unknown, error.failure().message),
        };
        let ended = &answer.ended;
        let says = |line: &str| ended.stdout.lines().any(|printed| printed.trim() == line);
        match ended.status.code() {
            Some(ON) if says("Status: ON") && !says("Status: OFF") => (PowerState::On, String::new()),
            Some(OFF) if says("Status: OFF") && !says("Status: ON") => (PowerState::Off, String::new()),
            _ => (PowerState::Unknown, self.complaint(&answer)),
        }
    }

    /// Has it cut the power.
    pub(crate) async fn cut(&self) -> Result<(), StepError> {
        let answer = self.run("off", CUT_DEADLINE).await?;
        match answer.ended.status.success() {
            true => Ok(()),
            false => Err(StepError::Other(self.complaint(&answer))),
        }
    }

    async fn run(&self, action: &str, deadline: Duration) -> Result<Answer, StepError> {
        let (mut input, mut secrets) = (String::new(), Vec::new());
        for (name, value) in self.device.values() {
            let value = match value {
                OptionValue::Plain(value) => value.to_owned(),
                OptionValue::Secret(name) => {
                    let secret = self.secrets.read(&name)?;
                    secrets.push(secret.clone());
                    secret
                }
            };
            input.push_str(&format!("{name}={value}\n"));
        }
        // Last: a program that reads an option twice keeps the last.
        input.push_str(&format!("action={action}\n"));
        let ended = program::run(self.program, &[], &input, deadline).await?;
        Ok(Answer { ended, secrets })
    }

    /// What it complained of, without the secrets that it was told.
    fn complaint(&self, Answer { ended, secrets }: &Answer) -> String {
        // The convention's word for what counts, among warnings of its interpreter.
        let mut lines = ended.stderr.lines().chain(ended.stdout.lines());
        let failed = lines.find_map(|line| line.find("Failed:").map(|at| line[at..].trim().to_owned()));
        let (program, status) = (&self.device.program, ended.status);
        let mut complaint = failed.unwrap_or_else(|| ended.complaint());
        for secret in secrets {
            complaint = complaint.replace(secret, "***");
        }
        match complaint.is_empty() {
            true => format!("{program} ended with {status} and said nothing"),
            false => format!("{program} ended with {status}: {complaint}"),
        }
    }
}
