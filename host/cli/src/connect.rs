//! Which manager to talk to: flags, then the environment, then the context file. Sends nothing.

use std::path::PathBuf;

use symphony_api::{Client, ClientConfig, Context, DEFAULT_PROJECT, Endpoint};

use crate::failure::Failure;
use crate::globals::Globals;
use crate::output::Output;
use crate::refusal::failure;
use crate::socket;

/// A manager, and where we have it from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its address, token and project.
    pub(crate) context: Context,
    /// Where the address comes from, for a person.
    pub(crate) source: String,
}

/// The client for the API.
pub(crate) fn over_the_api(globals: &Globals) -> Result<Client, Failure> {
    if globals.socket.is_some() {
        return Err(Failure::usage(
            "control sockets serve `symphony manager`, `token`, `project`, `audit`, `backup`, `doctor` and `block|image|compute|network init` alone",
        )
        .hint("leave --socket away: this verb goes over the API (--address, or a context file)"));
    }
    let Found { context, .. } = find(globals, &ConfigFile::of_the_environment()?)?;
    let endpoint = Endpoint::Http(context.address);
    let client = Client::new(&endpoint, context.token.as_deref(), &context.project)
        .map_err(|error| failure("use the manager's address", error))?;
    Ok(telling(client, globals))
}

/// The client for the control socket when one is given, else for the API.
pub(crate) fn over_either(globals: &Globals) -> Result<Client, Failure> {
    let Some(path) = &globals.socket else {
        return over_the_api(globals);
    };
    socket::check(path)?;
    let project = globals.project.as_ref().map_or(DEFAULT_PROJECT, |name| name.as_str());
    let client = Client::new(&Endpoint::Socket(path.clone()), None, project)
        .map_err(|error| failure("use the control socket", error))?;
    Ok(telling(client, globals))
}

/// The same client; it says on stderr when a request takes long.
fn telling(client: Client, globals: &Globals) -> Client {
    let output = Output {
        format: globals.output,
        quiet: globals.quiet,
    };
    client.with_notice(move |notice| output.remark(notice))
}

/// The context file, read or missing.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    /// Where it is, or should be.
    pub(crate) path: PathBuf,
    /// What is in it.
    pub(crate) config: Option<ClientConfig>,
}

impl ConfigFile {
    pub(crate) fn of_the_environment() -> Result<Self, Failure> {
        let unusable = |error: &dyn std::error::Error| {
            Failure::caused("could not use the context file", error).hint("repair it, or pass --address and --token")
        };
        let path = ClientConfig::default_path().map_err(|error| unusable(&error))?;
        let config = ClientConfig::load_if_there(&path).map_err(|error| unusable(&error))?;
        Ok(Self { path, config })
    }
}

/// Puts together what flags, environment and file say.
pub(crate) fn find(globals: &Globals, file: &ConfigFile) -> Result<Found, Failure> {
    let unusable = |error: symphony_api::ConfigError| Failure::caused("could not use the context file", &error);
    let kept = file
        .config
        .as_ref()
        .map(|config| config.context(None))
        .transpose()
        .map_err(unusable)?
        .flatten();
    let path = file.path.display();
    let (mut context, source) = match (&globals.address, kept) {
        (Some(address), kept) => {
            // A token is for one manager: that of the file is not shown to another.
            let token = kept
                .as_ref()
                .filter(|kept| same(&kept.address, address))
                .and_then(|kept| kept.token.clone());
            let project = kept.map_or_else(|| DEFAULT_PROJECT.to_owned(), |kept| kept.project);
            (
                Context {
                    address: address.clone(),
                    token,
                    project,
                },
                "--address or SYMPHONY_ADDRESS".to_owned(),
            )
        }
        (None, Some(kept)) => (kept, path.to_string()),
        (None, None) => {
            let what = if file.config.is_some() {
                "names no manager"
            } else {
                "is not there"
            };
            return Err(Failure::new(format!("no manager is known: {path} {what}"))
                .hint("run `symphony dev` (it writes that file), set SYMPHONY_CONFIG to a manager's DIR/client.toml, or pass --address and --token"));
        }
    };
    if let Some(token) = &globals.token {
        context.token = Some(token.clone());
    }
    if let Some(project) = &globals.project {
        context.project = project.to_string();
    }
    Ok(Found { context, source })
}

fn same(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    fn globals() -> Globals {
        Globals {
            output: Format::Table,
            address: None,
            token: None,
            project: None,
            socket: None,
            quiet: false,
            no_color: true,
        }
    }

    fn file(config: Option<ClientConfig>) -> ConfigFile {
        ConfigFile {
            path: "/home/me/client.toml".into(),
            config,
        }
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = file(Some(ClientConfig::single("http://a:1", "kept")));
        let found = find(&globals(), &file).unwrap();
        assert_eq!(
            (found.context.address.as_str(), found.context.token.as_deref()),
            ("http://a:1", Some("kept"))
        );
        assert_eq!(found.source, "/home/me/client.toml");

        let flags = Globals {
            token: Some("mine".into()),
            project: Some("lab".parse().unwrap()),
            ..globals()
        };
        let found = find(&flags, &file).unwrap();
        assert_eq!(
            (found.context.token.as_deref(), found.context.project.as_str()),
            (Some("mine"), "lab")
        );
    }

    #[test]
    fn a_token_is_not_shown_to_another_manager() {
        let file = file(Some(ClientConfig::single("http://a:1", "kept")));
        let same = Globals {
            address: Some("http://a:1/".into()),
            ..globals()
        };
        assert_eq!(find(&same, &file).unwrap().context.token.as_deref(), Some("kept"));
        let other = Globals {
            address: Some("http://b:1".into()),
            ..globals()
        };
        assert_eq!(find(&other, &file).unwrap().context.token, None);
    }

    #[test]
    fn without_a_file_it_says_what_to_do() {
        let failure = find(&globals(), &file(None)).unwrap_err();
        assert!(
            failure.message.contains("/home/me/client.toml is not there"),
            "{failure:?}"
        );
        let hint = failure.hint.unwrap();
        assert!(hint.contains("symphony dev") && hint.contains("--address"), "{hint}");
    }

    #[test]
    fn the_socket_is_for_few_verbs() {
        let socket = Globals {
            socket: Some("/x".into()),
            ..globals()
        };
        assert_eq!(over_the_api(&socket).unwrap_err().exit, crate::Exit::Usage);
    }
}
