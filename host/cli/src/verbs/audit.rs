//! `symphony audit`: who wrote, and who was refused.

use clap::Args;
use symphony_api::{Client, PAGE_MAX};

use crate::failure::Failure;
use crate::output::Output;
use crate::refusal::failure;

/// What `audit` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  symphony audit
  symphony audit --limit 500 -o json

It is the log of the manager that answers, newest first; its file is DIR/audit.log in the manager's folder.")]
pub struct AuditArgs {
    /// Most lines
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(PAGE_MAX)))]
    limit: u32,
}

/// Does it.
pub(crate) async fn run(client: &Client, output: Output, args: &AuditArgs) -> Result<(), Failure> {
    let lines = client.audit(args.limit).await;
    output.list(&lines.map_err(|error| failure("read the audit log", error))?.items)
}
