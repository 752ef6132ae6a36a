//! The backports of the release that runs here: derived from the sources that the server has already, so that its own
//! mirror serves them too. Only reads; the addition is a shell command, to be run or shown.

use std::error::Error;
use std::path::{Path, PathBuf};

/// The releases that need backports; what comes later is new enough.
const OLD: [&str; 1] = ["bookworm"];
/// Where apt's sources are.
const SOURCES: &str = "/etc/apt";

/// A suite of backports.
pub(super) struct Suite {
    /// Its name: `bookworm-backports`.
    pub(super) name: String,
    /// What must be added to apt's sources to have it; absent when apt has it.
    pub(super) sources: Option<String>,
}

impl Suite {
    /// The shell command that adds it, when it must be added.
    pub(super) fn addition(&self) -> Option<String> {
        let lines = self.sources.as_ref()?.lines().map(|line| format!("'{line}'"));
        Some(format!(
            "printf '%s\\n' {} > {SOURCES}/sources.list.d/{}.sources",
            lines.collect::<Vec<_>>().join(" "),
            self.name
        ))
    }
}

/// The backports of this release; absent when it needs none.
pub(super) fn find() -> Result<Option<Suite>, Box<dyn Error>> {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let release = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    match release.map(|name| name.trim_matches('"')) {
        Some(release) if OLD.contains(&release) => from(release, &sources()).map(Some),
        _ => Ok(None),
    }
}

/// The text of all sources in the newer form, those in the older form changed into it.
fn sources() -> Vec<String> {
    let list = Path::new(SOURCES).join("sources.list");
    let more = std::fs::read_dir(Path::new(SOURCES).join("sources.list.d"));
    let mut paths: Vec<PathBuf> = more.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).ok()?;
        match path.extension()?.to_str()? {
            "sources" => Some(text),
            "list" => Some(text.lines().filter_map(stanza).collect::<Vec<_>>().join("\n\n")),
            _ => None,
        }
    };
    std::iter::once(list).chain(paths).filter_map(read).collect()
}

/// A line `deb [options] URI SUITE COMPONENT...` in the newer form.
fn stanza(line: &str) -> Option<String> {
    let rest = line.trim().strip_prefix("deb ")?.trim();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    let components = words.collect::<Vec<_>>().join(" ");
    let signed = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="));
    let signed = signed.map_or_else(String::new, |key| format!("\nSigned-By: {key}"));
    Some(format!(
        "Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: {components}{signed}"
    ))
}

/// Finds the release among these sources, and makes the source of its backports from it.
fn from(release: &str, sources: &[String]) -> Result<Suite, Box<dyn Error>> {
    let name = format!("{release}-backports");
    let stanzas: Vec<Vec<&str>> = sources.iter().flat_map(|text| stanzas(text)).collect();
    let serves = |stanza: &[&str], suite: &str| {
        let suites = stanza.iter().find_map(|line| line.strip_prefix("Suites:"));
        suites.is_some_and(|suites| suites.split_whitespace().any(|word| word == suite))
    };
    if stanzas.iter().any(|stanza| serves(stanza, &name)) {
        return Ok(Suite { name, sources: None });
    }
    let Some(own) = stanzas.iter().find(|stanza| serves(stanza, release)) else {
        return Err(format!("apt has no source for {release}: add {name} to {SOURCES}, then try again").into());
    };
    let lines = own.iter().map(|line| match line.strip_prefix("Suites:") {
        Some(_) => format!("Suites: {name}"),
        None => (*line).to_owned(),
    });
    let sources = Some(lines.collect::<Vec<_>>().join("\n"));
    Ok(Suite { name, sources })
}

/// The stanzas that are in use: neither comments nor those turned off.
fn stanzas(text: &str) -> Vec<Vec<&str>> {
    let mut stanzas = vec![Vec::new()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match stanzas.last_mut() {
            Some(last) if !line.trim().is_empty() => last.push(line),
            _ => stanzas.push(Vec::new()),
        }
    }
    stanzas.retain(|stanza: &Vec<&str>| {
        let is_off = stanza.iter().any(|line| line.to_lowercase().starts_with("enabled: no"));
        !stanza.is_empty() && !is_off
    });
    stanzas
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWER: &str = "Types: deb\n# a note\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\
        Components: main\nSigned-By: /k.gpg\n\nTypes: deb\nURIs: http://mirror.example/security\n\
        Suites: bookworm-security\nComponents: main\n";

    #[test]
    fn backports_come_from_the_mirror_that_serves_the_release() {
        let suite = from("bookworm", &[NEWER.to_owned()]).unwrap();
        assert_eq!(
            suite.sources.as_deref(),
            Some(
                "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm-backports\nComponents: main\n\
                 Signed-By: /k.gpg"
            )
        );
        let line = suite.addition().unwrap();
        assert!(line.starts_with("printf '%s\\n' 'Types: deb' 'URIs: http"), "{line}");
    }

    #[test]
    fn the_older_form_serves_as_well() {
        let line = "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib";
        let text = stanza(line).unwrap();
        let sources = from("bookworm", &[text]).unwrap().sources.unwrap();
        assert!(sources.contains("URIs: http://mirror.example/debian\nSuites: bookworm-backports"));
        assert!(sources.ends_with("Components: main contrib\nSigned-By: /k.gpg"));
        assert!(stanza("# deb http://mirror.example/debian bookworm main").is_none());
        assert!(stanza("deb-src http://mirror.example/debian bookworm main").is_none());
    }

    #[test]
    fn what_is_there_is_not_added_again() {
        let there = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm-backports\nComponents: main\n";
        let sources = [NEWER.to_owned(), there.to_owned()];
        assert!(from("bookworm", &sources).unwrap().addition().is_none());
        let off = format!("{there}Enabled: no\n");
        let sources = [NEWER.to_owned(), off];
        assert!(from("bookworm", &sources).unwrap().addition().is_some());
        assert!(from("bookworm", &[there.to_owned()]).unwrap().addition().is_none());
        assert!(from("bookworm", &[]).is_err());
    }
}
