//! The flags that every verb takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use symphony_core::name::Name;

use crate::output::Format;

/// Names the project, in place of the context file.
pub(crate) const PROJECT_ENV: &str = "SYMPHONY_PROJECT";
/// How long a verb waits when not told.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a verb waits for a machine when not told: a guest that is asked to shut down may take its time.
const PATIENCE_WITH_MACHINES: Duration = Duration::from_secs(180);
/// Longest `--timeout`.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// The flags that every verb takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// The form of what is written to stdout
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "table",
        global = true
    )]
    pub output: Format,
    /// The manager's address, like http://127.0.0.1:15760 [default: from the context file]
    #[arg(
        long,
        value_name = "URL",
        env = "SYMPHONY_ADDRESS",
        global = true,
        hide_env_values = true
    )]
    pub address: Option<String>,
    /// The token [default: from the context file]; for `init` the join token
    #[arg(
        long,
        value_name = "TOKEN",
        env = "SYMPHONY_TOKEN",
        global = true,
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// The project [default: from the context file, else `default`]
    #[arg(
        long,
        value_name = "NAME",
        env = PROJECT_ENV,
        global = true,
        hide_env_values = true
    )]
    pub project: Option<Name>,
    /// A manager's control socket, for `manager`, `token`, `project`, `audit`, `backup` and `doctor`, or an agent's,
    /// for `block|image|compute|network init`
    #[arg(long, value_name = "PATH", global = true)]
    pub socket: Option<PathBuf>,
    /// Write nothing to stderr but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Write without colours [also: NO_COLOR=1]
    #[arg(long, global = true)]
    pub no_color: bool,
}

impl Globals {
    /// Whether messages may be coloured.
    #[must_use]
    pub fn color(&self) -> bool {
        !self.no_color && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }
}

/// Whether a verb waits for what it asked for.
#[derive(Debug, Clone, Args)]
pub(crate) struct Waiting {
    /// Wait until it is done (this is the default)
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Return as soon as the manager has taken it down
    #[arg(long, overrides_with = "wait")]
    no_wait: bool,
    /// How long to wait, like 90s or 5m; what was asked for goes on after it [default: 30s; for machines 3m]
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    timeout: Option<Duration>,
}

impl Waiting {
    /// How long to wait; not at all when none.
    pub(crate) fn limit(&self) -> Option<Duration> {
        (!self.no_wait).then_some(self.timeout.unwrap_or(PATIENCE))
    }

    /// How long to wait for a machine; not at all when none.
    pub(crate) fn limit_with_machines(&self) -> Option<Duration> {
        (!self.no_wait).then_some(self.timeout.unwrap_or(PATIENCE_WITH_MACHINES))
    }
}

pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time; write a number and a unit, like 30s, 5m or 1h");
    let duration: SignedDuration = text.parse().map_err(|_| wrong())?;
    match Duration::try_from(duration) {
        Ok(duration) if duration.is_zero() => {
            Err("a timeout is more than 0; to not wait at all, use --no-wait".to_owned())
        }
        Ok(duration) if duration > TIMEOUT_MAX => Err("a timeout is at most 24h".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("a timeout is more than 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_units_and_limits() {
        assert_eq!(timeout("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(timeout("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(timeout("500ms"), Ok(Duration::from_millis(500)));
        for wrong in ["", "30", "soon", "30 parsecs", "-3s", "0s", "25h"] {
            assert!(timeout(wrong).is_err(), "{wrong}");
        }
    }
}
