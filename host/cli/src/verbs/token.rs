//! `symphony token`: what lets processes join, and people and programs use the API.

use clap::{Args, Subcommand, ValueEnum};
use jiff::{SpanRelativeTo, Timestamp};
use symphony_api::Client;
use symphony_api::v1::CreateToken;
use symphony_core::name::Name;
use symphony_core::token::{LIFE_SECONDS_MAX, TokenId, USES_MAX};

use crate::failure::Failure;
use crate::globals::{Globals, PROJECT_ENV};
use crate::output::Output;
use crate::refusal::failure;
use crate::rows::token::lasts;

/// Tokens
#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// Make a token; its text is printed once
    #[command(after_help = CREATE_HELP)]
    Create(CreateArgs),
    /// List the tokens, without their secrets
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  symphony token list\n  symphony token list -o wide"
    )]
    List,
    /// Revoke tokens: whoever has one is not let in any more
    #[command(
        visible_alias = "rm",
        after_help = "Example:\n  symphony token revoke 0123456789abcdef"
    )]
    Revoke {
        /// The ids that `token list` prints
        #[arg(value_name = "ID", required = true)]
        ids: Vec<TokenId>,
    },
}

const CREATE_HELP: &str = "\
Examples:
  T=$(symphony token create --role block -o name)      # for one process, within 15 minutes
  symphony token create --role compute --uses 20 --expires 1h
  symphony token create --role member --project web --name ci --expires 90d
  symphony token create --role admin --name alice

Roles of processes that join: block, image, compute, network. Roles for the API, each with what those before it may:
viewer (reads: with --project one project, else all), member (reads and writes in one project), operator (all projects,
nodes and plugins), admin (tokens, services, projects and the audit log as well).";

/// What `token create` takes.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What it lets its holder be
    #[arg(long, value_enum, value_name = "ROLE")]
    role: TokenRole,
    /// For people: who or what has it
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// How long it lasts, like 15m, 12h or 90d [default: 15m to join, for the API until it is revoked]
    #[arg(long, value_name = "TIME", value_parser = life)]
    expires: Option<u64>,
    /// How many processes may join with it [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(USES_MAX)))]
    uses: Option<u32>,
}

/// The roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenRole {
    /// A process that joins, and keeps volumes
    Block,
    /// A process that joins, and keeps images
    Image,
    /// A process that joins, and runs machines
    Compute,
    /// A process that joins, and connects machines
    Network,
    /// Reads: one project, or all
    Viewer,
    /// Reads and writes in one project
    Member,
    /// All projects, nodes and plugins
    Operator,
    /// Everything
    Admin,
}

impl TokenRole {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Image => "image",
            Self::Compute => "compute",
            Self::Network => "network",
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    const fn joins(self) -> bool {
        matches!(self, Self::Block | Self::Image | Self::Compute | Self::Network)
    }
}

/// Does a verb.
pub(crate) async fn run(client: &Client, output: Output, globals: &Globals, verb: TokenVerb) -> Result<(), Failure> {
    match verb {
        TokenVerb::Create(args) => create(client, output, globals, &args).await,
        TokenVerb::List => {
            let tokens = client.all_tokens().await;
            output.list(&tokens.map_err(|error| failure("list the tokens", error))?)
        }
        TokenVerb::Revoke { ids } => {
            let mut failures = Vec::new();
            for id in &ids {
                match client.revoke_token(&id.to_string()).await {
                    Ok(token) => output.changed(&token, &format!("token {id} ({}) is revoked", token.role))?,
                    Err(error) => failures.push(failure(&format!("revoke token {id}"), error)),
                }
            }
            Failure::together(failures)
        }
    }
}

async fn create(client: &Client, output: Output, globals: &Globals, args: &CreateArgs) -> Result<(), Failure> {
    let of_environment = std::env::var(PROJECT_ENV).ok();
    let body = body(args, globals.project.as_ref(), of_environment.as_deref())?;
    let created = client.create_token(&body).await;
    let created =
        created.map_err(|error| failure(&format!("create a token for the role {}", args.role.as_str()), error))?;
    let token = &created.token;
    let uses = match token.uses_left {
        Some(1) => ", once",
        _ => "",
    };
    let lasts = lasts(token.expires_at, Timestamp::now());
    output.remark(&format!(
        "token {} for the role {} is made ({lasts}{uses}); its text is shown only now",
        token.id, token.role
    ));
    output.value(&created, &format!("{}\n", created.text), &created.text)
}

fn body(args: &CreateArgs, project: Option<&Name>, of_environment: Option<&str>) -> Result<CreateToken, Failure> {
    let role = args.role;
    if args.uses.is_some() && !role.joins() {
        let message = format!(
            "--uses is for processes that join; a token for the role {} has no number of uses",
            role.as_str()
        );
        return Err(Failure::usage(message).hint("--expires says how long it lasts"));
    }
    let project = match (role, project) {
        (TokenRole::Member, None) => {
            let message = "a member is a member of one project: name it with --project";
            return Err(Failure::usage(message).hint("an operator has all projects: --role operator"));
        }
        (TokenRole::Member | TokenRole::Viewer, project) => project,
        // What the environment says is for other verbs; what the command line says was meant for this one.
        (_, Some(named)) if of_environment != Some(named.as_str()) => {
            let message = format!(
                "a token for the role {} is for all projects: leave --project away",
                role.as_str()
            );
            return Err(Failure::usage(message).hint("for one project there are --role member and --role viewer"));
        }
        (_, _) => None,
    };
    Ok(CreateToken {
        role: role.as_str().to_owned(),
        project: project.map(ToString::to_string),
        name: args.name.clone(),
        expires_in_seconds: args.expires,
        uses: args.uses,
    })
}

/// A time in seconds. A day has 24 hours.
fn life(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a time; write a number and a unit, like 15m, 12h or 90d");
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let time = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| wrong())?;
    match u64::try_from(time.as_secs()) {
        Ok(seconds @ 1..=LIFE_SECONDS_MAX) => Ok(seconds),
        Ok(0) => Err("a token lasts a second at least".to_owned()),
        Ok(_) => Err("a token lasts ten years at most".to_owned()),
        Err(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::Exit;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: CreateArgs,
    }

    fn read(line: &str, project: Option<&str>, environment: Option<&str>) -> Result<CreateToken, Failure> {
        let args = Line::try_parse_from(line.split_whitespace()).unwrap().args;
        let project = project.map(|name| name.parse().unwrap());
        body(&args, project.as_ref(), environment)
    }

    #[test]
    fn flags_become_the_body() {
        let member = read("create --role member --name ci --expires 90d", Some("web"), None).unwrap();
        assert_eq!(
            serde_json::to_value(member).unwrap(),
            serde_json::json!({"role": "member", "project": "web", "name": "ci", "expires_in_seconds": 7_776_000})
        );
        let block = read("create --role block --uses 3", None, None).unwrap();
        assert_eq!(
            (block.uses, block.expires_in_seconds, block.project),
            (Some(3), None, None)
        );
        // The project of the environment limits what can be limited, and is nothing to the others.
        assert_eq!(
            read("create --role viewer", Some("web"), Some("web"))
                .unwrap()
                .project
                .as_deref(),
            Some("web")
        );
        assert_eq!(
            read("create --role admin", Some("web"), Some("web")).unwrap().project,
            None
        );
    }

    #[test]
    fn what_does_not_go_together_is_a_usage_error() {
        for (line, project, why) in [
            ("create --role member", None, "--project"),
            ("create --role operator", Some("web"), "all projects"),
            ("create --role block", Some("web"), "all projects"),
            ("create --role viewer --uses 2", None, "--uses"),
        ] {
            let failure = read(line, project, None).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{line}");
            assert!(failure.message.contains(why), "{line}: {failure:?}");
        }
    }

    #[test]
    fn times_have_units_and_limits() {
        assert_eq!(life("15m"), Ok(900));
        assert_eq!(life("1d 12h"), Ok(129_600));
        for wrong in ["", "15", "soon", "-1h", "0s", "11y", "20000d", "1 parsec"] {
            assert!(life(wrong).is_err(), "{wrong}");
        }
    }
}
