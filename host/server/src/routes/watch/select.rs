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
    project: Option<Name>,
}

impl Selection {
    pub(super) fn parse(kinds: Option<&str>, project: Option<&str>) -> Answer<Self> {
        let wrong = |error| Failure::field(Code::InvalidArgument, "project", format!("{error}"));
        let project = project
            .map(|project| project.parse::<Name>().map_err(wrong))
            .transpose()?;
        let kinds = match kinds {
            None | Some("") => WATCHED.iter().map(|(kind, _)| *kind).collect(),
            Some(kinds) => kinds.split(',').map(kind).collect::<Answer<Vec<Kind>>>()?,
        };
        Ok(Self { kinds, project })
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
            _ => true,
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
}
