//! The columns of tokens, projects and the audit log.

use jiff::Timestamp;
use symphony_api::v1::{AuditLine, Project, Token, TokenState};
use symphony_core::project::Resource;
use symphony_core::quantity::Bytes;

use super::moment;
use crate::age::age;
use crate::output::Listed;
use crate::table::or_dash;

impl Listed for Token {
    const HEADERS: &'static [&'static str] =
        &["ID", "NAME", "ROLE", "PROJECT", "STATE", "EXPIRES", "USES", "AGE", "BY"];
    const NARROW: usize = 8;

    fn cells(&self, now: Timestamp) -> Vec<String> {
        vec![
            self.id.clone(),
            or_dash(self.name.clone()),
            self.role.clone(),
            or_dash(self.project.clone()),
            self.state.as_str().to_owned(),
            match self.state {
                TokenState::Expired => "-".to_owned(),
                _ => self.expires_at.map_or_else(|| "never".to_owned(), |end| age(now, end)),
            },
            or_dash(self.uses_left.map(|left| left.to_string())),
            age(self.created_at, now),
            self.created_by.clone(),
        ]
    }

    fn name(&self) -> String {
        self.id.clone()
    }
}

/// How long a token lasts yet, in words.
pub(crate) fn lasts(expires_at: Option<Timestamp>, now: Timestamp) -> String {
    match expires_at {
        Some(end) => format!("for {}", age(now, end)),
        None => "until it is revoked".to_owned(),
    }
}

impl Listed for Project {
    const HEADERS: &'static [&'static str] = &["NAME", "AGE", "QUOTA"];
    const NARROW: usize = 3;

    fn cells(&self, now: Timestamp) -> Vec<String> {
        vec![
            self.name.clone(),
            or_dash(self.created_at.map(|at| age(at, now))),
            quota(self),
        ]
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn details(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let mut fields = vec![("name", self.name.clone())];
        if let Some(at) = self.created_at {
            fields.push(("created", format!("{} ({} ago)", moment(at), age(at, now))));
        }
        for resource in Resource::ALL {
            let used = self.used.as_ref().and_then(|used| used.get(resource.as_str()));
            let used = or_dash(used.map(|used| amount(resource, *used)));
            let limit = self.quota.get(resource.as_str());
            let limit = limit.map_or_else(|| "no limit".to_owned(), |limit| amount(resource, *limit));
            fields.push((label(resource), format!("{used} / {limit}")));
        }
        fields
    }
}

/// All limits of a project in one line.
pub(crate) fn quota(project: &Project) -> String {
    let limits = Resource::ALL.into_iter().filter_map(|resource| {
        let limit = project.quota.get(resource.as_str())?;
        Some(format!("{}={}", label(resource), amount(resource, *limit)))
    });
    let limits: Vec<String> = limits.collect();
    if limits.is_empty() {
        return "no limits".to_owned();
    }
    limits.join(",")
}

const fn label(resource: Resource) -> &'static str {
    match resource {
        Resource::MemoryBytes => "memory",
        Resource::VolumeBytes => "volume-size",
        other => other.as_str(),
    }
}

fn amount(resource: Resource, amount: u64) -> String {
    match resource {
        Resource::MemoryBytes | Resource::VolumeBytes => Bytes(amount).to_string(),
        _ => amount.to_string(),
    }
}

impl Listed for AuditLine {
    const HEADERS: &'static [&'static str] = &[
        "TIME",
        "PRINCIPAL",
        "METHOD",
        "PATH",
        "STATUS",
        "REMOTE",
        "PROJECT",
        "REVISION",
        "REQUEST",
        "LOST",
    ];
    const NARROW: usize = 6;

    fn cells(&self, _: Timestamp) -> Vec<String> {
        vec![
            moment(self.time),
            self.principal.clone(),
            self.method.clone(),
            self.path.clone(),
            self.status.to_string(),
            or_dash(self.remote.clone()),
            or_dash(self.project.clone()),
            or_dash(self.revision.map(|revision| revision.to_string())),
            self.request_id.clone(),
            self.lost.to_string(),
        ]
    }

    fn name(&self) -> String {
        self.request_id.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::samples::object;

    #[test]
    fn a_token_says_how_long_it_lasts() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let token = |more: serde_json::Value| -> Token {
            object(crate::rows::samples::with(
                serde_json::json!({"kind": "token", "id": "0123456789abcdef", "role": "block", "state": "active",
                    "created_by": "client.toml", "created_at": "2026-11-23T11:59:00Z", "revision": 1}),
                more,
            ))
        };
        let join = token(serde_json::json!({"expires_at": "2026-11-23T12:14:00Z", "uses_left": 1}));
        assert_eq!(join.cells(now)[4..8], ["active", "14m", "1", "60s"]);
        let api = token(serde_json::json!({"role": "member", "project": "web", "name": "ci"}));
        assert_eq!(api.cells(now)[1..7], ["ci", "member", "web", "active", "never", "-"]);
    }

    #[test]
    fn a_project_shows_what_it_has_of_what_it_may_have() {
        let project: Project = object(serde_json::json!({"kind": "project", "name": "web", "revision": 3,
            "quota": {"machines": 10, "memory_bytes": 1_u64 << 30}, "used": {"machines": 3, "memory_bytes": 1 << 20, "cpus": 2}}));
        let fields = project.details(Timestamp::UNIX_EPOCH);
        let field = |name: &str| fields.iter().find(|(label, _)| *label == name).unwrap().1.clone();
        assert_eq!(
            (field("machines"), field("memory"), field("cpus")),
            ("3 / 10".into(), "1MiB / 1GiB".into(), "2 / no limit".into())
        );
        assert_eq!(quota(&project), "machines=10,memory=1GiB");
    }
}
