//! `symphony manager ca`: the authority that signs members' certificates.

use std::time::Duration;

use clap::Subcommand;
use jiff::Timestamp;
use symphony_api::Client;
use symphony_api::v1::Authority;

use crate::age::age;
use crate::failure::Failure;
use crate::output::{Listed, Output};
use crate::refusal::failure;

/// How often it is looked who is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Digits of a digest that are shown in a table.
const DIGITS: usize = 16;

/// The authority that signs members' certificates
#[derive(Debug, Subcommand)]
pub enum AuthorityVerb {
    /// Show the authority, and which members and tokens still need one before it
    #[command(after_help = "Example:\n  symphony manager ca show")]
    Show,
    /// Put another authority in its place, while everything runs
    #[command(after_help = "\
Examples:
  symphony manager ca rotate
  symphony manager ca rotate --no-wait

The new one issues at once. Managers and nodes take certificates of it by themselves, within seconds while they are
connected; the old one is trusted until all have. A node that is away holds that up: it takes its new certificate when it
comes back, or is removed (symphony manager service remove). Tokens that name the old authority go on working until
`ca retire`.

When the old key may be in other hands: rotate, make new tokens, then `symphony manager ca retire --force`.")]
    Rotate {
        /// Don't wait until all members have certificates of the new one
        #[arg(long)]
        no_wait: bool,
        /// How long to wait
        #[arg(long, value_name = "SECONDS", default_value_t = 120)]
        timeout: u64,
    },
    /// End all that comes of authorities before the present one: tokens that name them are of no use any more
    #[command(after_help = "Example:\n  symphony manager ca retire")]
    Retire {
        /// Also when members or tokens still need one of them: members must join again, tokens be made anew
        #[arg(long)]
        force: bool,
    },
}

impl Listed for Authority {
    const HEADERS: &'static [&'static str] = &["DIGEST", "AGE", "STATE", "WAITING", "TOKENS"];
    const NARROW: usize = 5;

    fn cells(&self, now: Timestamp) -> Vec<String> {
        vec![
            self.digest.chars().take(DIGITS).collect(),
            age(self.since, now),
            state(self).to_owned(),
            self.waiting.len().to_string(),
            self.tokens.to_string(),
        ]
    }

    fn name(&self) -> String {
        self.digest.clone()
    }

    fn details(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        vec![
            ("digest", self.digest.clone()),
            ("issues", format!("since {} ({})", self.since, age(self.since, now))),
            ("state", state(self).to_owned()),
            ("trusted besides", self.trusted.join("\n")),
            ("waiting for", self.waiting.join("\n")),
            ("tokens that name one before", self.tokens.to_string()),
        ]
    }
}

fn state(authority: &Authority) -> &'static str {
    match (authority.trusted.is_empty(), authority.known.is_empty()) {
        (false, _) => "rotating",
        (true, false) => "settled; tokens may name one before",
        (true, true) => "settled",
    }
}

/// Does a verb.
pub(crate) async fn run(client: &Client, output: Output, verb: &AuthorityVerb) -> Result<(), Failure> {
    match verb {
        AuthorityVerb::Show => {
            let authority = client.authority().await;
            output.object(&authority.map_err(|error| failure("look at the authority", error))?)
        }
        AuthorityVerb::Rotate { no_wait, timeout } => {
            let rotated = client.rotate_authority().await;
            let rotated = rotated.map_err(|error| failure("rotate the authority", error))?;
            output.remark(&format!("authority {} issues from now on", rotated.digest));
            if *no_wait {
                return output.changed(&rotated, "members take certificates of it by themselves");
            }
            let settled = settled(client, output, Duration::from_secs(*timeout)).await?;
            output.changed(
                &settled,
                "all members have certificates of it; the one before is trusted no more",
            )
        }
        AuthorityVerb::Retire { force } => {
            let alone = client.retire_authorities(*force).await;
            let alone = alone.map_err(|error| failure("retire the authorities before", error))?;
            output.changed(&alone, "nothing but the present authority is known any more")
        }
    }
}

/// Waits until nobody needs the one before any more, and says whom it waits for.
async fn settled(client: &Client, output: Output, patience: Duration) -> Result<Authority, Failure> {
    let end = tokio::time::Instant::now() + patience;
    let mut told = usize::MAX;
    loop {
        let now = client.authority().await;
        let now = now.map_err(|error| failure("look at the authority", error))?;
        if now.trusted.is_empty() {
            return Ok(now);
        }
        if now.waiting.len() != told {
            told = now.waiting.len();
            output.remark(&format!("waiting for {told}: {}", now.waiting.join(", ")));
        }
        if tokio::time::Instant::now() >= end {
            let failure = Failure::new(format!("{told} members have no certificate of the new authority yet"));
            return Err(failure.detail(now.waiting.join("\n")).hint(
                "they take one when they are connected; `symphony manager ca show` names them, `manager service remove` forgets those that are gone",
            ));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
