//! `symphony volume`: block volumes.

use std::time::Duration;

use clap::{Args, Subcommand};
use symphony_api::v1::{CreateVolume, CreateVolumeSpec, Kind, PatchVolume, PatchVolumeSpec, Size, Volume, VolumePhase};
use symphony_api::{Client, Code};
use symphony_core::labels::LabelError;
use symphony_core::name::Name;
use symphony_core::quantity::{Bytes, VolumeSize};

use crate::failure::{Exit, Failure};
use crate::globals::Waiting;
use crate::output::{Format, Output};
use crate::progress::Progress;
use crate::refusal::failure;
use crate::target::{Target, label, labels};
use crate::verdicts;
use crate::wait::{self, Goal, Look};

/// Block volumes
#[derive(Debug, Subcommand)]
pub enum VolumeVerb {
    /// Make a volume, empty or from an image
    #[command(after_help = CREATE_HELP)]
    Create(CreateArgs),
    /// List the volumes of the project
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  symphony volume list\n  symphony volume list -o wide\n  symphony volume list -o json | jq '.[].name'"
    )]
    List,
    /// Show one volume
    #[command(after_help = "Examples:\n  symphony volume show data\n  symphony volume show data -o yaml")]
    Show {
        /// Name or id
        #[arg(value_name = "VOLUME")]
        volume: Target,
    },
    /// Make a volume larger; volumes never shrink
    #[command(
        after_help = "Examples:\n  symphony volume resize data 20GiB\n  symphony volume resize data 20GiB --no-wait"
    )]
    Resize(ResizeArgs),
    /// Delete volumes and their bytes, for good
    #[command(
        visible_alias = "rm",
        after_help = "Examples:\n  symphony volume delete data\n  symphony volume delete data --dry-run\n  symphony volume list -o name | xargs symphony volume delete"
    )]
    Delete(DeleteArgs),
}

const CREATE_HELP: &str = "\
Examples:
  symphony volume create data --size 10GiB
  symphony volume create root --image debian-12 --size 20GiB
  symphony volume create logs --size 5GiB --require zone=a --pool default
  symphony volume create data --size 10TiB --dry-run     # where would it go, and why?

A volume that fits nowhere is kept and waits for room (exit code 5; `symphony explain volume NAME` says why).";

/// What `volume create` takes.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Its name: lower-case letters, digits and '-'
    #[arg(value_name = "NAME")]
    name: Name,
    /// Its size, like 512MiB or 10GiB; the size of the image's disk when not given
    #[arg(
        long,
        value_name = "SIZE",
        allow_hyphen_values = true,
        required_unless_present = "image"
    )]
    size: Option<VolumeSize>,
    /// The image whose bytes it starts with: name or id
    #[arg(long, value_name = "IMAGE")]
    image: Option<Target>,
    /// The pool it must be in, on whichever node
    #[arg(long, value_name = "POOL")]
    pool: Option<Name>,
    /// A label that its node must have; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    require: Vec<String>,
    /// A label of the volume; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<String>,
    /// Only say where it would go, and why; store nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// What `volume resize` takes.
#[derive(Debug, Args)]
pub struct ResizeArgs {
    /// Name or id
    #[arg(value_name = "VOLUME")]
    volume: Target,
    /// The new size, at least the present one
    #[arg(value_name = "SIZE", allow_hyphen_values = true)]
    size: VolumeSize,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// What `volume delete` takes.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Names or ids
    #[arg(value_name = "VOLUME", required = true)]
    volumes: Vec<Target>,
    /// Only say what would be deleted
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    waiting: Waiting,
}

#[cfg(test)]
impl DeleteArgs {
    /// How long it waits.
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.waiting.limit()
    }
}

/// Does a verb.
pub(crate) async fn run(client: &Client, output: Output, verb: VolumeVerb) -> Result<(), Failure> {
    match verb {
        VolumeVerb::Create(args) if args.dry_run => preview(client, output, &args).await,
        VolumeVerb::Create(args) => create(client, output, &args).await,
        VolumeVerb::List => {
            let volumes = client
                .all_volumes(None)
                .await
                .map_err(|error| failure("list the volumes", error))?;
            output.list(&volumes)
        }
        VolumeVerb::Show { volume } => output.object(&read(client, "show", &volume).await?),
        VolumeVerb::Resize(args) => resize(client, output, &args).await,
        VolumeVerb::Delete(args) => delete(client, output, &args).await,
    }
}

async fn read(client: &Client, verb: &str, volume: &Target) -> Result<Volume, Failure> {
    client
        .volume(volume.as_str())
        .await
        .map_err(|error| failure(&format!("{verb} volume {volume}"), error))
}

fn body(args: &CreateArgs) -> Result<CreateVolume, Failure> {
    let wrong = |error: LabelError| Failure::usage(error.to_string());
    Ok(CreateVolume {
        name: args.name.to_string(),
        labels: labels(&args.labels).map_err(wrong)?.into(),
        spec: CreateVolumeSpec {
            size: args.size.map(|size| Size::bytes(size.bytes())),
            pool: args.pool.as_ref().map(ToString::to_string),
            require: labels(&args.require).map_err(wrong)?.into(),
            image: args.image.as_ref().map(ToString::to_string),
        },
    })
}

async fn preview(client: &Client, output: Output, args: &CreateArgs) -> Result<(), Failure> {
    let what = format!("place volume {}", args.name);
    let preview = client
        .preview_volume(&body(args)?)
        .await
        .map_err(|error| failure(&what, error))?;
    let text = format!(
        "volume {} would go to {} (pool {}), score {}\ndecided by {}; nothing was stored\n\n{}",
        args.name,
        preview.node,
        preview.pool,
        verdicts::score(preview.score),
        verdicts::decider(&preview.decided_by),
        verdicts::table(&preview.verdicts, Some((&preview.node, &preview.pool))),
    );
    output.value(&preview, &text, &preview.node)
}

async fn create(client: &Client, output: Output, args: &CreateArgs) -> Result<(), Failure> {
    let name = &args.name;
    let what = format!("create volume {name}");
    let volume = client
        .create_volume(&body(args)?)
        .await
        .map_err(|error| failure(&what, error))?;
    let Some(limit) = args.waiting.limit() else {
        return output.changed(&volume, &format!("volume {name} is taken down; its nodes make it now"));
    };
    let ready = match settle(client, output, &volume, limit).await? {
        Settled::Ready(volume) => volume,
        Settled::Unplaceable(volume) => {
            // It exists: who asked for a machine's form gets it, whatever the exit code.
            if output.format != Format::Table && output.format != Format::Wide {
                output.object(&volume)?;
            }
            return Err(unplaceable(client, &volume).await);
        }
    };
    let node = ready.node().unwrap_or("-");
    output.changed(
        &ready,
        &format!("volume {name} is ready on {node} ({})", Bytes(ready.spec.size)),
    )
}

enum Settled {
    Ready(Volume),
    Unplaceable(Volume),
}

/// Waits until the volume is as its newest spec says, or until it is known that it can't be now.
async fn settle(client: &Client, output: Output, volume: &Volume, limit: Duration) -> Result<Settled, Failure> {
    let (name, id) = (&volume.meta.name, volume.meta.id.to_string());
    let subject = format!("volume {name}");
    let mut progress = Progress::waiting(&subject, output.quiet);
    let goal = Goal {
        kind: Kind::Volume,
        id: id.clone(),
        revision: volume.meta.revision,
        state: "ready",
        limit,
        story: None,
    };
    wait::until(client, &goal, &mut progress, &subject, async || {
        let seen = client
            .volume(&id)
            .await
            .map_err(|error| failure(&format!("wait for volume {name}"), error))?;
        let state = wait::state(seen.status.phase.as_str(), &seen.status.conditions);
        let newest = seen.status.observed_generation >= volume.meta.generation;
        Ok(match seen.status.phase {
            VolumePhase::Ready if newest => Look::Done(Settled::Ready(seen)),
            VolumePhase::Unplaceable => Look::Done(Settled::Unplaceable(seen)),
            VolumePhase::Failed if newest => {
                return Err(
                    Failure::new(format!("volume {name} can't be made as asked: {state}")).hint(format!(
                        "`symphony volume show {name}` says more; delete it and ask for another"
                    )),
                );
            }
            VolumePhase::Deleting => {
                return Err(Failure::new(format!("volume {name} is being deleted")).exit(Exit::Conflict));
            }
            _ => Look::Going(state),
        })
    })
    .await
}

/// Why no node takes it, each by name.
async fn unplaceable(client: &Client, volume: &Volume) -> Failure {
    let name = &volume.meta.name;
    let table = match client.explain_volume(&volume.meta.id.to_string()).await {
        Ok(explanation) => verdicts::table(&explanation.verdicts, None),
        Err(_) => wait::state(volume.status.phase.as_str(), &volume.status.conditions),
    };
    Failure::new(format!("no node takes volume {name} ({}) now", Bytes(volume.spec.size)))
        .exit(Exit::Unplaceable)
        .detail(table)
        .hint(format!(
            "the volume stays and is placed as soon as there is room; to give it up: symphony volume delete {name}"
        ))
}

async fn resize(client: &Client, output: Output, args: &ResizeArgs) -> Result<(), Failure> {
    let volume = &args.volume;
    if args.dry_run {
        let seen = read(client, "resize", volume).await?;
        let (from, to) = (Bytes(seen.spec.size), Bytes(args.size.bytes()));
        if to < from {
            return Err(Failure::new(format!(
                "volume {volume} has {from} and volumes never shrink"
            )));
        }
        let text = format!(
            "volume {} would grow from {from} to {to}; nothing was changed\n",
            seen.meta.name
        );
        return output.value(&seen, &text, &seen.meta.name);
    }
    let spec = PatchVolumeSpec {
        size: Some(Size::bytes(args.size.bytes())),
    };
    let patch = PatchVolume {
        labels: None,
        spec: Some(spec),
    };
    let what = format!("resize volume {volume}");
    let changed = client
        .patch_volume(volume.as_str(), &patch, None)
        .await
        .map_err(|error| failure(&what, error))?;
    let name = &changed.meta.name;
    let Some(limit) = args.waiting.limit() else {
        return output.changed(&changed, &format!("volume {name} is being resized to {}", args.size));
    };
    match settle(client, output, &changed, limit).await? {
        Settled::Ready(ready) => output.changed(&ready, &format!("volume {name} has {} now", Bytes(ready.spec.size))),
        Settled::Unplaceable(seen) => Err(unplaceable(client, &seen).await),
    }
}

async fn delete(client: &Client, output: Output, args: &DeleteArgs) -> Result<(), Failure> {
    let (mut asked, mut failures) = (Vec::new(), Vec::new());
    for volume in &args.volumes {
        if args.dry_run {
            match read(client, "delete", volume).await {
                Ok(seen) => would_delete(output, &seen)?,
                Err(failure) => failures.push(failure),
            }
            continue;
        }
        match client.delete_volume(volume.as_str(), None).await {
            Ok(deleted) => asked.push(deleted),
            Err(error) => failures.push(failure(&format!("delete volume {volume}"), error)),
        }
    }
    for volume in &asked {
        match gone(client, output, volume, args.waiting.limit()).await {
            Ok(sentence) => output.changed(volume, &sentence)?,
            Err(failure) => failures.push(failure),
        }
    }
    Failure::together(failures)
}

fn would_delete(output: Output, volume: &Volume) -> Result<(), Failure> {
    let on = volume.node().map(|node| format!(" on {node}")).unwrap_or_default();
    let text = format!(
        "volume {} ({}{on}) would be deleted with its bytes; nothing was changed\n",
        volume.meta.name,
        Bytes(volume.spec.size)
    );
    output.value(volume, &text, &volume.meta.name)
}

async fn gone(client: &Client, output: Output, volume: &Volume, limit: Option<Duration>) -> Result<String, Failure> {
    let (name, id) = (&volume.meta.name, volume.meta.id.to_string());
    let Some(limit) = limit else {
        return Ok(format!("volume {name} is being deleted"));
    };
    let subject = format!("volume {name}");
    let mut progress = Progress::waiting(&subject, output.quiet);
    let goal = Goal {
        kind: Kind::Volume,
        id: id.clone(),
        revision: volume.meta.revision,
        state: "gone",
        limit,
        story: None,
    };
    wait::until(client, &goal, &mut progress, &subject, async || {
        match client.volume(&id).await {
            Ok(seen) => Ok(Look::Going(wait::state(
                seen.status.phase.as_str(),
                &seen.status.conditions,
            ))),
            Err(error) if error.code() == Some(Code::NotFound) => Ok(Look::Done(())),
            Err(error) => Err(failure(&format!("wait for the end of volume {name}"), error)),
        }
    })
    .await?;
    Ok(format!("volume {name} is deleted"))
}
