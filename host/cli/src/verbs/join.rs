//! `symphony --socket SOCKET block|image|compute|network init`: lets a node into the cluster for a role. Asks the node's own
//! agent, over its control socket; the agent asks the manager.

use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use symphony_core::node::Role;
use symphony_core::token::TokenText;
use symphony_protocol::control::{AgentStatus, INIT_PATH, InitRequest};
use symphony_protocol::enrol::Refusal;

use crate::failure::{Exit, Failure};
use crate::globals::Globals;
use crate::output::Output;
use crate::socket;

/// How long the agent may take: it asks up to three managers.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a node does for the cluster
#[derive(Debug, Subcommand)]
pub enum RoleVerb {
    /// Let the node of this control socket into the cluster, for this role
    #[command(after_help = JOIN_HELP)]
    Init(JoinArgs),
}

pub(crate) const JOIN_HELP: &str = "\
Examples:
  symphony token create --role block                        # on a manager; prints a token
  symphony --socket /var/lib/symphony-agent/control.sock block init 192.0.2.10 --token sym1.…

The socket is that of the node's agent (`symphony-agent --config-dir DIR` has it in DIR). Do it once for each of the
roles that the node is to have: block, image, compute, network.";

/// Where the cluster is.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// Any manager of the cluster; the port is 15760 when not given. The join token goes to --token
    #[arg(value_name = "MANAGER[:PORT]")]
    manager: String,
}

/// Lets a node in.
pub(crate) async fn run(globals: &Globals, output: Output, role: Role, args: &JoinArgs) -> Result<(), Failure> {
    let word = role.as_str();
    let Some(path) = &globals.socket else {
        return Err(
            Failure::usage(format!("`{word} init` needs the control socket of the node's agent")).hint(format!(
                "symphony --socket DIR/control.sock {word} init {} --token T",
                args.manager
            )),
        );
    };
    let Some(token) = &globals.token else {
        return Err(
            Failure::usage(format!("`{word} init` needs a join token")).hint(format!(
                "make one on a manager, `symphony token create --role {word}`, and give it with --token"
            )),
        );
    };
    // A token that is none is not handed to anybody.
    if let Err(error) = token.parse::<TokenText>() {
        return Err(Failure::caused("could not use the token", &error)
            .exit(Exit::Usage)
            .hint(format!("`symphony token create --role {word}` prints one")));
    }
    socket::check(path).map_err(|failure| match failure.exit {
        Exit::NotFound => {
            failure.hint("start the agent: `symphony-agent --config-dir DIR` (its socket is DIR/control.sock)")
        }
        _ => failure,
    })?;
    let request = InitRequest {
        role,
        manager: args.manager.clone(),
        token: token.clone(),
    };
    let status = ask(path, &request).await?;
    let cluster = status.cluster.as_deref().unwrap_or("?");
    let roles: Vec<&str> = status.roles.iter().map(|role| role.as_str()).collect();
    let sentence = format!(
        "node {} is in cluster {cluster} for: {}\n",
        status.node,
        roles.join(", ")
    );
    output.value(&status, &sentence, status.node.as_str())?;
    output.remark("`symphony node list` on a manager shows it as soon as its agent has a session");
    Ok(())
}

async fn ask(path: &Path, request: &InitRequest) -> Result<AgentStatus, Failure> {
    let shown = path.display();
    let failed = |error: &dyn std::error::Error| {
        Failure::caused(format!("no answer over the control socket {shown}"), error)
            .hint("is that the socket of a running symphony-agent?")
    };
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(symphony_pki::trusting_nobody())
        .unix_socket(path)
        .timeout(PATIENCE)
        .build()
        .map_err(|error| failed(&error))?;
    let answer = client
        .post(format!("http://localhost{INIT_PATH}"))
        .json(request)
        .send()
        .await;
    let answer = answer.map_err(|error| failed(&error))?;
    let (status, bytes) = (answer.status(), answer.bytes().await.map_err(|error| failed(&error))?);
    if status.is_success() {
        return serde_json::from_slice(&bytes).map_err(|error| failed(&error));
    }
    match serde_json::from_slice::<Refusal>(&bytes) {
        Ok(refusal) => Err(refused(request, &refusal)),
        Err(_) => Err(
            Failure::new(format!("what answers at {shown} is no agent (HTTP status {status})"))
                .hint("a manager's socket is for `symphony manager …`; give --socket the one in the agent's folder"),
        ),
    }
}

/// What the agent or the manager says no to, and what to do.
fn refused(request: &InitRequest, refusal: &Refusal) -> Failure {
    let role = request.role.as_str();
    let failure = Failure::new(format!("could not let the node in for {role}: {}", refusal.detail));
    let another = format!("make a token for it on a manager: `symphony token create --role {role}`");
    match refusal.code.as_str() {
        Refusal::UNKNOWN | Refusal::EXPIRED | Refusal::USED | Refusal::WRONG_ROLE | Refusal::WRONG_CLUSTER => {
            failure.hint(another)
        }
        Refusal::ENROLLED => failure.exit(Exit::Conflict).hint(
            "`symphony manager service list` shows who is in; a node that is gone for good is taken out with \
             `symphony manager service remove ID`",
        ),
        Refusal::CLOCK => {
            failure.hint("set the clocks of both servers (`timedatectl set-ntp true`); the token is still good")
        }
        Refusal::VERSION => failure.hint("bring agents and managers to versions that are at most one apart"),
        // The agent does not know the path: a manager, or something else.
        "not_found" => failure.hint("is this the socket of an agent? A manager's is for `symphony manager …`"),
        "manager_unreachable" => failure.hint(format!(
            "give the address of a manager, like 192.0.2.10:15760; `{}` was given",
            request.manager
        )),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: &str, detail: &str) -> Failure {
        let request = InitRequest {
            role: Role::Block,
            manager: "m1".to_owned(),
            token: String::new(),
        };
        let refusal = Refusal {
            code: code.to_owned(),
            detail: detail.to_owned(),
            leader: None,
        };
        refused(&request, &refusal)
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        assert_eq!(
            refusal(Refusal::USED, "the token was used already").text(false),
            "error: could not let the node in for block: the token was used already\n\
             hint: make a token for it on a manager: `symphony token create --role block`\n"
        );
        assert_eq!(refusal(Refusal::ENROLLED, "x").exit, Exit::Conflict);
        assert!(refusal(Refusal::CLOCK, "x").hint.unwrap().contains("timedatectl"));
        assert!(
            refusal("manager_unreachable", "x")
                .hint
                .unwrap()
                .contains("`m1` was given")
        );
    }
}
