//! What is asked for of a token: every value checked, and what does not go together refused.

use jiff::SignedDuration;
use symphony_api::v1::CreateToken;
use symphony_core::name::Name;
use symphony_core::node::Role;
use symphony_core::token::{ApiRole, JOIN_SECONDS_DEFAULT, LIFE_SECONDS_MAX, TokenKind, USES_MAX};

use crate::failure::{Answer, Failure};
use crate::input::Check;

/// Longest name, in characters.
const NAME_CHARS_MAX: usize = 63;

/// A token that could be made.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) kind: TokenKind,
    pub(super) name: String,
    /// None: without end.
    pub(super) lasts: Option<SignedDuration>,
    pub(super) uses: Option<u32>,
}

impl Wanted {
    /// Checks the values, all of them at once.
    pub(super) fn read(body: &CreateToken) -> Answer<Self> {
        let mut check = Check::default();
        let project = body.project.as_ref();
        let project = project.and_then(|project| check.take("/project", project.parse::<Name>()));
        let kind = kind(&mut check, body, project);
        let name = body.name.clone().unwrap_or_default();
        if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
            check.wrong(
                "/name",
                format!("it has at most {NAME_CHARS_MAX} characters that can be seen"),
            );
        }
        let joins = matches!(kind, Some(TokenKind::Join { .. }));
        match body.uses {
            Some(_) if !joins => check.wrong("/uses", "only tokens of processes that join have a number of uses"),
            Some(0) => check.wrong("/uses", "it must be 1 at least"),
            Some(uses) if uses > USES_MAX => check.wrong("/uses", format!("it must be {USES_MAX} at most")),
            _ => {}
        }
        let seconds = body.expires_in_seconds.or(joins.then_some(JOIN_SECONDS_DEFAULT));
        if seconds.is_some_and(|seconds| seconds == 0 || seconds > LIFE_SECONDS_MAX) {
            let detail = format!("it must be 1 to {LIFE_SECONDS_MAX} (ten years)");
            check.wrong("/expires_in_seconds", detail);
        }
        check.end()?;
        let kind =
            kind.ok_or_else(|| Failure::new(symphony_api::Code::InvalidArgument, "a value is not acceptable"))?;
        Ok(Self {
            kind,
            name,
            lasts: seconds.map(|seconds| SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))),
            uses: if joins { Some(body.uses.unwrap_or(1)) } else { None },
        })
    }
}

fn kind(check: &mut Check, body: &CreateToken, project: Option<Name>) -> Option<TokenKind> {
    let joins = [Role::Block, Role::Image, Role::Compute, Role::Network];
    if let Some(role) = joins.into_iter().find(|role| role.as_str() == body.role) {
        if body.project.is_some() {
            check.wrong("/project", "a process that joins is for all projects: leave it out");
        }
        return Some(TokenKind::Join { role });
    }
    let Some(role) = ApiRole::ALL.into_iter().find(|role| role.as_str() == body.role) else {
        let detail = "it must be block, image, compute or network (a process that joins), or viewer, member, operator or admin (the API)";
        check.wrong("/role", detail);
        return None;
    };
    match role {
        ApiRole::Member if body.project.is_none() => {
            check.wrong("/project", "a member is a member of one project: name it");
        }
        ApiRole::Operator | ApiRole::Admin if body.project.is_some() => {
            check.wrong(
                "/project",
                format!("an {role} has all projects: leave it out, or make a member"),
            );
        }
        _ => {}
    }
    Some(TokenKind::Api { role, project })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(role: &str) -> CreateToken {
        CreateToken {
            role: role.into(),
            ..CreateToken::default()
        }
    }

    #[track_caller]
    fn refused(body: &CreateToken, pointer: &str) {
        let failure = Wanted::read(body).unwrap_err();
        assert_eq!(failure.0.errors[0].pointer, pointer, "{:?}", failure.0);
    }

    #[test]
    fn a_process_joins_once_and_soon_when_nothing_is_said() {
        let wanted = Wanted::read(&body("block")).unwrap();
        assert_eq!(
            (wanted.uses, wanted.lasts),
            (Some(1), Some(SignedDuration::from_mins(15)))
        );
        let api = Wanted::read(&body("operator")).unwrap();
        assert_eq!((api.uses, api.lasts), (None, None));
        let member = CreateToken {
            project: Some("web".into()),
            expires_in_seconds: Some(60),
            ..body("member")
        };
        assert_eq!(Wanted::read(&member).unwrap().lasts, Some(SignedDuration::from_mins(1)));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for wrong in ["", "root", "Admin", "manager"] {
            refused(&body(wrong), "/role");
        }
        refused(&body("member"), "/project");
        for role in ["operator", "admin", "block"] {
            let project = Some("web".into());
            refused(&CreateToken { project, ..body(role) }, "/project");
        }
        refused(
            &CreateToken {
                uses: Some(1),
                ..body("viewer")
            },
            "/uses",
        );
        for uses in [0, USES_MAX + 1] {
            refused(
                &CreateToken {
                    uses: Some(uses),
                    ..body("block")
                },
                "/uses",
            );
        }
        for seconds in [0, u64::MAX] {
            let expires_in_seconds = Some(seconds);
            refused(
                &CreateToken {
                    expires_in_seconds,
                    ..body("viewer")
                },
                "/expires_in_seconds",
            );
        }
        for name in ["x".repeat(64), "a\nb".into()] {
            refused(
                &CreateToken {
                    name: Some(name),
                    ..body("viewer")
                },
                "/name",
            );
        }
        let project = Some("../x".into());
        refused(
            &CreateToken {
                project,
                ..body("viewer")
            },
            "/project",
        );
    }
}
