//! `symphony project`: tenants and their quotas.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use symphony_api::Client;
use symphony_api::v1::{CreateProject, PatchProject};
use symphony_core::name::Name;
use symphony_core::project::Resource;
use symphony_core::quantity::Bytes;

use crate::failure::Failure;
use crate::output::Output;
use crate::refusal::failure;
use crate::rows::token::quota;

/// Projects
#[derive(Debug, Subcommand)]
pub enum ProjectVerb {
    /// Make a project
    #[command(
        after_help = "Examples:\n  symphony project create web\n  symphony project create web --machines 10 --cpus 40 --memory 64GiB --volume-size 1TiB"
    )]
    Create {
        /// Its name: lower-case letters, digits and '-'
        #[arg(value_name = "NAME")]
        name: Name,
        /// What it may have
        #[command(flatten)]
        limits: Limits,
    },
    /// List the projects
    #[command(visible_alias = "ls", after_help = "Example:\n  symphony project list")]
    List,
    /// Show one project: what it has, and what it may have
    #[command(after_help = "Example:\n  symphony project show web")]
    Show {
        /// Its name
        #[arg(value_name = "NAME")]
        name: Name,
    },
    /// Change what a project may have; what it has already stays
    #[command(
        after_help = "Examples:\n  symphony project set-quota web --machines 20\n  symphony project set-quota default --volume-size 500GiB --cpus none"
    )]
    SetQuota {
        /// Its name
        #[arg(value_name = "NAME")]
        name: Name,
        /// What it may have
        #[command(flatten)]
        limits: Limits,
    },
    /// Delete projects that have nothing any more, and their tokens
    #[command(visible_alias = "rm", after_help = "Example:\n  symphony project delete web")]
    Delete {
        /// Their names
        #[arg(value_name = "NAME", required = true)]
        names: Vec<Name>,
    },
}

/// A limit: an amount, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit(Option<u64>);

/// The flags of quotas. `none` takes a limit away.
#[derive(Debug, Args)]
#[command(next_help_heading = "Quotas (`none` takes one away)")]
pub struct Limits {
    /// Most machines
    #[arg(long, value_name = "N", value_parser = number)]
    machines: Option<Limit>,
    /// Most virtual processors
    #[arg(long, value_name = "N", value_parser = number)]
    cpus: Option<Limit>,
    /// Most memory of machines, like 64GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<Limit>,
    /// Most volumes
    #[arg(long, value_name = "N", value_parser = number)]
    volumes: Option<Limit>,
    /// Most in volumes, like 1TiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    volume_size: Option<Limit>,
    /// Most networks
    #[arg(long, value_name = "N", value_parser = number)]
    networks: Option<Limit>,
    /// Most images
    #[arg(long, value_name = "N", value_parser = number)]
    images: Option<Limit>,
}

impl Limits {
    fn all(&self) -> BTreeMap<String, Option<u64>> {
        let given = [
            (Resource::Machines, self.machines),
            (Resource::Cpus, self.cpus),
            (Resource::MemoryBytes, self.memory),
            (Resource::Volumes, self.volumes),
            (Resource::VolumeBytes, self.volume_size),
            (Resource::Networks, self.networks),
            (Resource::Images, self.images),
        ];
        let given = given.into_iter();
        given
            .filter_map(|(resource, limit)| Some((resource.as_str().to_owned(), limit?.0)))
            .collect()
    }
}

fn number(text: &str) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    let limit = text
        .parse()
        .map_err(|_| format!("{text:?} is not a number, and not `none`"))?;
    Ok(Limit(Some(limit)))
}

fn size(text: &str) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    let Bytes(bytes) = text.parse().map_err(|error| format!("{error}, and it is not `none`"))?;
    Ok(Limit(Some(bytes)))
}

/// Does a verb.
pub(crate) async fn run(client: &Client, output: Output, verb: ProjectVerb) -> Result<(), Failure> {
    match verb {
        ProjectVerb::Create { name, limits } => {
            let limits = limits.all().into_iter();
            let body = CreateProject {
                name: name.to_string(),
                quota: limits.filter_map(|(name, limit)| Some((name, limit?))).collect(),
            };
            let project = client.create_project(&body).await;
            let project = project.map_err(|error| failure(&format!("create project {name}"), error))?;
            output.changed(&project, &format!("project {name} is made"))
        }
        ProjectVerb::List => {
            let projects = client.all_projects().await;
            output.list(&projects.map_err(|error| failure("list the projects", error))?)
        }
        ProjectVerb::Show { name } => {
            let project = client.show_project(name.as_str()).await;
            output.object(&project.map_err(|error| failure(&format!("show project {name}"), error))?)
        }
        ProjectVerb::SetQuota { name, limits } => {
            let quota_of = limits.all();
            if quota_of.is_empty() {
                return Err(Failure::usage(
                    "nothing would be changed: give at least one quota, like --machines 10",
                ));
            }
            let patch = PatchProject { quota: quota_of };
            let project = client.patch_project(name.as_str(), &patch, None).await;
            let project = project.map_err(|error| failure(&format!("change project {name}"), error))?;
            output.changed(&project, &format!("project {name} may have: {}", quota(&project)))
        }
        ProjectVerb::Delete { names } => {
            let mut failures = Vec::new();
            for name in &names {
                match client.delete_project(name.as_str()).await {
                    Ok(project) => output.changed(&project, &format!("project {name} is deleted"))?,
                    Err(error) => failures.push(failure(&format!("delete project {name}"), error)),
                }
            }
            Failure::together(failures)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_an_amount_or_none() {
        assert_eq!(number("10"), Ok(Limit(Some(10))));
        assert_eq!(number("0"), Ok(Limit(Some(0))));
        assert_eq!((number("none"), size("none")), (Ok(Limit(None)), Ok(Limit(None))));
        assert_eq!(size("1GiB"), Ok(Limit(Some(1 << 30))));
        for wrong in ["", "-1", "1.5", "many"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
        assert!(size("much").is_err());
    }
}
