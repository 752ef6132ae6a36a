//! Which records a watch tells of.

use symphony_api::Code;
use symphony_api::v1::Kind;
use symphony_core::keys;
use symphony_core::name::Name;

use crate::failure::{Answer, Failure};

/// What can be watched, and where it is.
const WATCHED: [(Kind, &str); 8] = [
    (Kind::Volume, keys::VOLUMES),
    (Kind::Image, keys::IMAGES),
    (Kind::Machine, keys::MACHINES),
    (Kind::Network, keys::NETWORKS),
    (Kind::Node, keys::NODES),
    (Kind::Plugin, keys::PLUGINS),
    (Kind::Slot, keys::ACTIVATIONS),
    (Kind::Event, keys::EVENTS),
];

/// Kinds and a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selection {
    kinds: Vec<Kind>,
    /// Whether kinds were named, or all of them are meant.
    named: bool,
    project: Option<Name>,
    /// Nothing of what belongs to no project, either.
    alone: bool,
}

impl Selection {
    pub(super) fn parse(kinds: Option<&str>, project: Option<&str>) -> Answer<Self> {
        let wrong = |error| Failure::field(Code::InvalidArgument, "project", format!("{error}"));
        let project = project
            .map(|project| project.parse::<Name>().map_err(wrong))
            .transpose()?;
        let named = kinds.is_some_and(|kinds| !kinds.is_empty());
        let kinds = match kinds {
            None | Some("") => WATCHED.iter().map(|(kind, _)| *kind).collect(),
            Some(kinds) => kinds.split(',').map(kind).collect::<Answer<Vec<Kind>>>()?,
        };
        Ok(Self {
            kinds,
            named,
            project,
            alone: false,
        })
    }

    /// Only what somebody may see who is confined to a project: what is in it.
    pub(super) fn confined_to(mut self, own: Option<&Name>) -> Answer<Self> {
        let Some(own) = own else { return Ok(self) };
        if let Some(other) = self.project.as_ref().filter(|asked| *asked != own) {
            let detail = format!("this needs a viewer of project {other}, and the token is for project {own}");
            return Err(Failure::new(Code::Forbidden, detail));
        }
        let visible = |kind: Kind| is_of_tenant(kind) || kind == Kind::Event;
        if let Some(hidden) = self.kinds.iter().find(|kind| self.named && !visible(**kind)) {
            let detail = format!(
                "this needs a viewer of all projects: {} belong to none, and the token is for project {own}",
                hidden.plural()
            );
            return Err(Failure::new(Code::Forbidden, detail));
        }
        self.kinds.retain(|kind| visible(*kind));
        self.project = Some(own.clone());
        self.alone = true;
        Ok(self)
    }

    /// Where the watched kinds are, for the state at the start.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = (Kind, String)> {
        WATCHED
            .iter()
            .filter(|(kind, _)| self.kinds.contains(kind))
            .map(|(kind, prefix)| {
                let own = self.project.as_ref().filter(|_| is_of_tenant(*kind));
                (
                    *kind,
                    own.map_or_else(|| (*prefix).to_owned(), |project| format!("{prefix}{project}/")),
                )
            })
    }

    /// The kind of a key, when it is watched.
    pub(super) fn kind_of(&self, key: &str) -> Option<Kind> {
        let (kind, prefix) = WATCHED.iter().find(|(_, prefix)| key.starts_with(prefix))?;
        let rest = &key[prefix.len()..];
        let of_tenant = is_of_tenant(*kind);
        let own = self
            .project
            .as_ref()
            .is_none_or(|own| !of_tenant || rest.split('/').next() == Some(own.as_str()));
        (own && self.kinds.contains(kind)).then_some(*kind)
    }

    /// Whether an event, whose key does not say whom it is about, is watched.
    pub(super) fn tells_of(&self, project: Option<&Name>) -> bool {
        match (&self.project, project) {
            (Some(own), Some(project)) => own == project,
            (Some(_), None) => !self.alone,
            (None, _) => true,
        }
    }
}

/// Whether things of this kind belong to a project.
const fn is_of_tenant(kind: Kind) -> bool {
    matches!(kind, Kind::Volume | Kind::Image | Kind::Machine | Kind::Network)
}

fn kind(text: &str) -> Answer<Kind> {
    let found = WATCHED.iter().find(|(kind, _)| kind.plural() == text.trim());
    let known = || {
        WATCHED
            .iter()
            .map(|(kind, _)| kind.plural())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let unknown = || {
        Failure::field(
            Code::InvalidArgument,
            "kinds",
            format!("{text:?} can't be watched; there are {}", known()),
        )
    };
    found.map(|(kind, _)| *kind).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_sees_its_own_and_what_belongs_to_none() {
        let selection = Selection::parse(Some("volumes,nodes"), Some("a")).unwrap();
        assert_eq!(selection.kind_of("v1/volume/a/x"), Some(Kind::Volume));
        assert_eq!(selection.kind_of("v1/volume/ab/x"), None);
        assert_eq!(selection.kind_of("v1/node/n1"), Some(Kind::Node));
        for other in ["v1/image/a/x", "v1/volume-id/1", "v1/ledger/n1", "v1/leader", ""] {
            assert_eq!(selection.kind_of(other), None, "{other}");
        }
        assert!(Selection::parse(Some("volumes,secrets"), None).is_err());
        assert!(Selection::parse(None, Some("../x")).is_err());
    }

    #[test]
    fn who_is_confined_sees_its_own_alone() {
        let own: Name = "a".parse().unwrap();
        let confined = |kinds, project| Selection::parse(kinds, project).unwrap().confined_to(Some(&own));
        let all = confined(None, None).unwrap();
        for (key, kind) in [
            ("v1/volume/a/x", Some(Kind::Volume)),
            ("v1/event/1", Some(Kind::Event)),
            ("v1/volume/b/x", None),
            ("v1/node/n1", None),
            ("v1/plugin/1", None),
            ("v1/activation/s", None),
            ("v1/token/0", None),
        ] {
            assert_eq!(all.kind_of(key), kind, "{key}");
        }
        assert!(
            all.prefixes()
                .all(|(kind, prefix)| kind == Kind::Event || prefix.ends_with("/a/"))
        );
        assert!(all.tells_of(Some(&own)) && !all.tells_of(None) && !all.tells_of(Some(&"b".parse().unwrap())));
        assert!(confined(Some("volumes,events"), Some("a")).is_ok());
        for (kinds, project) in [(Some("nodes"), None), (Some("volumes"), Some("b"))] {
            assert_eq!(confined(kinds, project).unwrap_err().0.code, Code::Forbidden);
        }
        let free = Selection::parse(None, None).unwrap();
        assert_eq!(free.clone().confined_to(None).unwrap(), free);
    }
}
