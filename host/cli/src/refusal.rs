//! What a manager refused, in the words of the command line: exit code, detail and hint by the problem's code.

use std::fmt::Write as _;

use symphony_api::{ClientError, Code, Problem};

use crate::failure::{Exit, Failure};
use crate::verdicts;

/// A failed request. `what` is the verb and its object, fitting after "could not": `create volume data`.
pub(crate) fn failure(what: &str, error: ClientError) -> Failure {
    match error {
        ClientError::Problem(problem) => refused(what, &problem),
        ClientError::Address(_) | ClientError::Unpinned(_) => Failure { exit: Exit::Usage, ..Failure::new(error.to_string()) },
        error if error.is_unreachable() => Failure::caused(format!("could not {what}"), &error)
            .hint("is a manager running there? `symphony dev` starts one; `symphony config show` says where this client looks"),
        error => Failure::caused(format!("could not {what}"), &error),
    }
}

fn refused(what: &str, problem: &Problem) -> Failure {
    let mut detail = String::new();
    for error in &problem.errors {
        if !problem.detail.contains(&error.detail) {
            _ = writeln!(detail, "{}: {}", error.pointer, error.detail);
        }
    }
    if !problem.verdicts.is_empty() {
        detail.push_str(&verdicts::table(&problem.verdicts, None));
    }
    let said = if problem.detail.is_empty() {
        &problem.title
    } else {
        &problem.detail
    };
    let failure = Failure::new(format!("could not {what}: {said}"))
        .exit(exit(problem.code))
        .detail(detail);
    match hint(problem) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The exit code of a problem.
fn exit(code: Code) -> Exit {
    match code.exit_code() {
        3 => Exit::NotFound,
        4 => Exit::Conflict,
        5 => Exit::Unplaceable,
        _ => Exit::Error,
    }
}

fn hint(problem: &Problem) -> Option<String> {
    let text = match problem.code {
        Code::Unauthorized => {
            "pass --token, or use the client.toml that the manager wrote: SYMPHONY_CONFIG=DIR/client.toml"
        }
        // It says itself how to make it.
        Code::ProjectNotFound => return None,
        Code::Forbidden => "an admin makes tokens for more: `symphony token create`",
        Code::QuotaExceeded => {
            "`symphony project show` tells what is used; delete something, or have an admin raise it with `symphony project set-quota`"
        }
        Code::NotFound => "`list` shows what there is; --project names another project",
        Code::AlreadyExists => "choose another name, or delete that one first",
        // A field that is wrong says what to give in its place.
        Code::Conflict if !problem.errors.is_empty() => return None,
        Code::Conflict | Code::PreconditionFailed => "look at it again, then try again",
        Code::ImageInUse => {
            "delete the volumes that were made from it first; `symphony volume list -o wide` names the images"
        }
        Code::VolumeInUse => "`symphony volume list` shows which machine has it",
        Code::NetworkInUse => {
            "delete the machines on it first, or take them from it with `machine detach`; `symphony machine list -o wide` names networks"
        }
        Code::NetworkFull => "delete machines on it, or make another network",
        Code::SubnetOverlaps => "`symphony network list` shows what is taken; without --subnet a free one is chosen",
        Code::Unplaceable => "`symphony node list` shows what is free; ask for less, or add a node",
        Code::HasResources => "move or delete them first, or use --force to give them up",
        Code::NoImageService => "an agent with the role `image` must be there: see `symphony manager service list`",
        Code::NotReady | Code::StoreUnavailable | Code::TooManyRequests => "try again in a moment",
        Code::PluginRejected => "`symphony plugin build` makes components that are taken",
        Code::ImageRefused => "flatten it first: qemu-img convert -O qcow2 IN OUT",
        Code::DigestMismatch => "fetch the file again, or give the digest of this one",
        Code::ShrinkNotSupported => "make a new, smaller volume and copy what you need",
        Code::Internal if !problem.request_id.is_empty() => {
            return Some(format!("the manager's log says more; look for {}", problem.request_id));
        }
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use symphony_api::FieldError;
    use symphony_api::v1::{Outcome, Verdict};

    fn of(problem: Problem) -> Failure {
        failure("create volume data", ClientError::Problem(Box::new(problem)))
    }

    #[test]
    fn codes_become_exit_codes() {
        for (code, exit) in [
            (Code::NotFound, Exit::NotFound),
            (Code::AlreadyExists, Exit::Conflict),
            (Code::ImageInUse, Exit::Conflict),
            (Code::VolumeInUse, Exit::Conflict),
            (Code::NetworkFull, Exit::Conflict),
            (Code::QuotaExceeded, Exit::Conflict),
            (Code::ProjectNotFound, Exit::NotFound),
            (Code::SubnetOverlaps, Exit::Conflict),
            (Code::PreconditionFailed, Exit::Conflict),
            (Code::Unplaceable, Exit::Unplaceable),
            (Code::InvalidArgument, Exit::Error),
            (Code::Unauthorized, Exit::Error),
            (Code::Internal, Exit::Error),
        ] {
            assert_eq!(of(Problem::new(code, "x")).exit, exit, "{code}");
        }
    }

    #[test]
    fn who_may_give_another_value_is_not_told_to_try_again() {
        let error = FieldError {
            pointer: "/spec/ports/0/address".into(),
            detail: "leave it out".into(),
        };
        let taken = Problem::new(Code::Conflict, "").with_errors(vec![error]);
        assert_eq!(of(taken).hint, None);
        assert!(of(Problem::new(Code::Conflict, "it changed")).hint.is_some());
    }

    #[test]
    fn says_which_fields_are_wrong() {
        let errors = vec![
            FieldError {
                pointer: "/spec/size".into(),
                detail: "is 0".into(),
            },
            FieldError {
                pointer: "/spec/pool".into(),
                detail: "is no name".into(),
            },
        ];
        let failure = of(Problem::new(Code::InvalidArgument, "").with_errors(errors));
        assert_eq!(failure.message, "could not create volume data: /spec/size: is 0");
        assert_eq!(failure.detail, "/spec/pool: is no name\n");
    }

    #[test]
    fn says_why_no_node_takes_it() {
        let verdict = Verdict {
            node: "node-1".into(),
            pool: "default".into(),
            outcome: Outcome::Removed,
            score: None,
            parts: Vec::new(),
            filter: Some("capacity".into()),
            wanted: Some(10 << 40),
            available: Some(20 << 30),
            detail: None,
        };
        let failure = of(Problem::new(Code::Unplaceable, "no node takes it").with_verdicts(vec![verdict]));
        assert_eq!(failure.exit, Exit::Unplaceable);
        assert!(
            failure.detail.contains("node-1") && failure.detail.contains("10TiB") && failure.detail.contains("20GiB")
        );
    }

    #[tokio::test]
    async fn an_unreachable_manager_gives_a_hint() {
        let client =
            symphony_api::Client::new(&symphony_api::Endpoint::Http("http://127.0.0.1:9".into()), None, "p").unwrap();
        let failure = failure("list volumes", client.delete_volume("x", None).await.unwrap_err());
        assert!(failure.hint.unwrap().contains("symphony dev"));
        assert_eq!(failure.exit, Exit::Error);
    }
}
