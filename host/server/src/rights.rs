//! What each operation of the API needs: one table. What is not in it is served to nobody.

use axum::http::Method;
use symphony_core::token::ApiRole;

use crate::principal::{Principal, Rights};

/// What an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// Nothing: anyone may.
    Open,
    /// To be an agent.
    Agent,
    /// To use the API at all. The route itself shows no more than the principal may see.
    Any,
    /// To read in the project of the path.
    Read,
    /// To write in the project of the path.
    Write,
    /// To read what belongs to no project: nodes, services, plugins.
    ReadAll,
    /// To be an operator.
    Operate,
    /// To be an admin.
    Admin,
}

/// Every operation: method, path as in the document, and what it needs.
///
/// Who is confined to one project sees that project, and nothing of the servers beneath it but what the explanation of
/// a placement of its own says. Cross-project lists and watches ([`Right::Any`]) show it what is its own.
const TABLE: &[(Method, &str, Right)] = &[
    (Method::GET, "/healthz", Right::Open),
    (Method::GET, "/readyz", Right::Open),
    (Method::GET, "/openapi.json", Right::Any),
    (Method::GET, "/metrics", Right::ReadAll),
    (Method::POST, "/agent/v1/session", Right::Agent),
    // The token, or the certificate, in the body says who may.
    (Method::POST, "/agent/v1/enrol", Right::Open),
    (Method::POST, "/agent/v1/renew", Right::Open),
    (Method::GET, "/v1/projects/{project}/volumes", Right::Read),
    (Method::POST, "/v1/projects/{project}/volumes", Right::Write),
    (Method::GET, "/v1/projects/{project}/volumes/{volume}", Right::Read),
    (Method::PATCH, "/v1/projects/{project}/volumes/{volume}", Right::Write),
    (Method::DELETE, "/v1/projects/{project}/volumes/{volume}", Right::Write),
    (
        Method::GET,
        "/v1/projects/{project}/volumes/{volume}/explanation",
        Right::Read,
    ),
    (Method::GET, "/v1/projects/{project}/machines", Right::Read),
    (Method::POST, "/v1/projects/{project}/machines", Right::Write),
    (Method::GET, "/v1/projects/{project}/machines/{machine}", Right::Read),
    (Method::PATCH, "/v1/projects/{project}/machines/{machine}", Right::Write),
    (
        Method::DELETE,
        "/v1/projects/{project}/machines/{machine}",
        Right::Write,
    ),
    (
        Method::GET,
        "/v1/projects/{project}/machines/{machine}/explanation",
        Right::Read,
    ),
    (
        Method::POST,
        "/v1/projects/{project}/machines/{machine}/start",
        Right::Write,
    ),
    (
        Method::POST,
        "/v1/projects/{project}/machines/{machine}/stop",
        Right::Write,
    ),
    (
        Method::POST,
        "/v1/projects/{project}/machines/{machine}/reboot",
        Right::Write,
    ),
    (
        Method::POST,
        "/v1/projects/{project}/machines/{machine}/volumes",
        Right::Write,
    ),
    (
        Method::DELETE,
        "/v1/projects/{project}/machines/{machine}/volumes/{volume}",
        Right::Write,
    ),
    (
        Method::POST,
        "/v1/projects/{project}/machines/{machine}/ports",
        Right::Write,
    ),
    (
        Method::DELETE,
        "/v1/projects/{project}/machines/{machine}/ports/{port}",
        Right::Write,
    ),
    // Who is at the console has the machine.
    (
        Method::GET,
        "/v1/projects/{project}/machines/{machine}/console",
        Right::Write,
    ),
    (
        Method::GET,
        "/v1/projects/{project}/machines/{machine}/console/log",
        Right::Read,
    ),
    (
        Method::GET,
        "/v1/projects/{project}/machines/{machine}/screen",
        Right::Write,
    ),
    (Method::GET, "/v1/projects/{project}/networks", Right::Read),
    (Method::POST, "/v1/projects/{project}/networks", Right::Write),
    (Method::GET, "/v1/projects/{project}/networks/{network}", Right::Read),
    (
        Method::DELETE,
        "/v1/projects/{project}/networks/{network}",
        Right::Write,
    ),
    (Method::GET, "/v1/projects/{project}/images", Right::Read),
    (Method::POST, "/v1/projects/{project}/images", Right::Write),
    (Method::GET, "/v1/projects/{project}/images/{image}", Right::Read),
    (Method::DELETE, "/v1/projects/{project}/images/{image}", Right::Write),
    (Method::GET, "/v1/events", Right::Any),
    (Method::GET, "/v1/watch", Right::Any),
    (Method::GET, "/v1/nodes", Right::ReadAll),
    (Method::GET, "/v1/nodes/{node}", Right::ReadAll),
    (Method::PATCH, "/v1/nodes/{node}", Right::Operate),
    (Method::POST, "/v1/nodes/{node}/fence", Right::Operate),
    (Method::POST, "/v1/nodes/{node}/power", Right::Operate),
    (Method::POST, "/v1/nodes/{node}/drain", Right::Operate),
    (Method::GET, "/v1/services", Right::ReadAll),
    (Method::DELETE, "/v1/services/{id}", Right::Admin),
    (Method::GET, "/v1/store", Right::ReadAll),
    (Method::GET, "/v1/plugins", Right::ReadAll),
    (Method::POST, "/v1/plugins", Right::Operate),
    (Method::GET, "/v1/plugins/{plugin}", Right::ReadAll),
    (Method::GET, "/v1/slots", Right::ReadAll),
    (Method::GET, "/v1/slots/{role}/{kind}", Right::ReadAll),
    (Method::POST, "/v1/slots/{role}/{kind}/activate", Right::Operate),
    (Method::POST, "/v1/slots/{role}/{kind}/rollback", Right::Operate),
    (Method::GET, "/v1/projects", Right::Any),
    (Method::POST, "/v1/projects", Right::Admin),
    (Method::GET, "/v1/projects/{project}", Right::Read),
    (Method::PATCH, "/v1/projects/{project}", Right::Admin),
    (Method::DELETE, "/v1/projects/{project}", Right::Admin),
    (Method::GET, "/v1/tokens", Right::Admin),
    (Method::POST, "/v1/tokens", Right::Admin),
    (Method::DELETE, "/v1/tokens/{id}", Right::Admin),
    (Method::GET, "/v1/audit", Right::Admin),
    (Method::GET, "/v1/authority", Right::Admin),
    (Method::POST, "/v1/authority/rotate", Right::Admin),
    (Method::POST, "/v1/authority/retire", Right::Admin),
    // It has the key of the authority in it.
    (Method::GET, "/v1/backup", Right::Admin),
];

/// What an operation needs; none: there is no such operation. `HEAD` needs what `GET` does.
pub(crate) fn of(method: &Method, path: &str) -> Option<Right> {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let mut rows = TABLE.iter();
    rows.find(|(known, at, _)| known == method && *at == path)
        .map(|(_, _, right)| *right)
}

/// The methods that a path takes, as the header `Allow` has them.
pub(crate) fn allowed(path: &str) -> String {
    let mut methods = Vec::new();
    for (method, at, _) in TABLE {
        if *at == path {
            methods.push(method.as_str());
            if *method == Method::GET {
                methods.push("HEAD");
            }
        }
    }
    methods.join(",")
}

/// All rows, as texts: for those who prove that the table is whole, and for documentation.
#[must_use]
pub fn table() -> Vec<(&'static str, &'static str, &'static str)> {
    let rows = TABLE.iter();
    rows.map(|(method, path, right)| (method.as_str(), *path, right.as_str()))
        .collect()
}

impl Right {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Agent => "agent",
            Self::Any => "any",
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadAll => "read-all",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    /// Whether a principal has it, in the project of the path.
    pub(crate) fn is_of(self, principal: &Principal, project: Option<&str>) -> bool {
        let (role, own) = match &principal.rights {
            Rights::Agent => return matches!(self, Self::Open | Self::Agent),
            Rights::Api { role, project } => (*role, project.as_ref()),
        };
        // Who is confined to a project has no right outside of it, and a member without one is a member of nothing.
        let inside = match own {
            Some(own) => project == Some(own.as_str()),
            None => role != ApiRole::Member,
        };
        let everywhere = own.is_none() && inside;
        match self {
            Self::Open | Self::Any => true,
            Self::Agent => false,
            Self::Read => inside,
            Self::Write => inside && role >= ApiRole::Member,
            Self::ReadAll => everywhere,
            Self::Operate => everywhere && role >= ApiRole::Operator,
            Self::Admin => everywhere && role >= ApiRole::Admin,
        }
    }

    /// What is needed, in words: fits after "this needs ".
    pub(crate) fn in_words(self, project: Option<&str>) -> String {
        let project = project.unwrap_or("the path");
        match self {
            Self::Open | Self::Any => "a token for the API".to_owned(),
            Self::Agent => "an agent".to_owned(),
            Self::Read => format!("a viewer or member of project {project}, or a viewer of all projects"),
            Self::Write => format!("a member of project {project}, or an operator"),
            Self::ReadAll => "a viewer of all projects, or an operator".to_owned(),
            Self::Operate => "an operator".to_owned(),
            Self::Admin => "an admin".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(role: ApiRole, project: Option<&str>) -> Principal {
        Principal {
            who: "w".into(),
            rights: Rights::Api {
                role,
                project: project.map(|name| name.parse().unwrap()),
            },
            token: None,
        }
    }

    #[test]
    fn each_role_may_what_the_table_says() {
        use Right::{Admin, Agent, Any, Open, Operate, Read, ReadAll, Write};
        let all = [Open, Agent, Any, Read, Write, ReadAll, Operate, Admin];
        let may = |principal: &Principal, project: &str| -> Vec<Right> {
            all.into_iter()
                .filter(|right| right.is_of(principal, Some(project)))
                .collect()
        };
        for (principal, own, other) in [
            (api(ApiRole::Viewer, Some("a")), vec![Open, Any, Read], vec![Open, Any]),
            (
                api(ApiRole::Member, Some("a")),
                vec![Open, Any, Read, Write],
                vec![Open, Any],
            ),
            (
                api(ApiRole::Viewer, None),
                vec![Open, Any, Read, ReadAll],
                vec![Open, Any, Read, ReadAll],
            ),
            (
                api(ApiRole::Operator, None),
                vec![Open, Any, Read, Write, ReadAll, Operate],
                vec![Open, Any, Read, Write, ReadAll, Operate],
            ),
            (
                Principal::admin("w"),
                vec![Open, Any, Read, Write, ReadAll, Operate, Admin],
                vec![Open, Any, Read, Write, ReadAll, Operate, Admin],
            ),
            (Principal::agent("w"), vec![Open, Agent], vec![Open, Agent]),
            // No such token is made; if there were one, its project would still be all of its world.
            (
                api(ApiRole::Admin, Some("a")),
                vec![Open, Any, Read, Write],
                vec![Open, Any],
            ),
        ] {
            assert_eq!(may(&principal, "a"), own, "{principal:?}");
            assert_eq!(may(&principal, "b"), other, "{principal:?}");
        }
        assert!(!Read.is_of(&api(ApiRole::Member, Some("a")), None));
    }

    #[test]
    fn no_operation_is_there_twice() {
        let mut seen = std::collections::HashSet::new();
        for (method, path, _) in TABLE {
            assert!(seen.insert((method, path)), "{method} {path}");
        }
        assert_eq!(of(&Method::HEAD, "/v1/nodes"), Some(Right::ReadAll));
        assert_eq!(of(&Method::PUT, "/v1/nodes"), None);
        assert_eq!(allowed("/v1/tokens"), "GET,HEAD,POST");
    }
}
