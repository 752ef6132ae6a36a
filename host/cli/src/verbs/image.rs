//! `symphony image`: disk images.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::{Args, Subcommand};
use symphony_api::client::Upload;
use symphony_api::v1::{Image, ImagePhase, Kind, Volume};
use symphony_api::{Client, Code};
use symphony_core::digest::Digest;
use symphony_core::name::Name;
use symphony_core::quantity::Bytes;

use crate::failure::{Exit, Failure};
use crate::globals::Waiting;
use crate::output::Output;
use crate::progress::Progress;
use crate::refusal::failure;
use crate::target::Target;
use crate::upload::Source;
use crate::verbs::join::{JOIN_HELP, JoinArgs};
use crate::wait::{self, Goal, Look};

/// How often the progress of an upload is shown.
const TICK: Duration = Duration::from_millis(100);
/// Most volumes named when an image can't be deleted.
const USES_NAMED_MAX: usize = 5;

/// Disk images: raw, or qcow2 that refers to no other file
#[derive(Debug, Subcommand)]
pub enum ImageVerb {
    /// Import an image from a file, from stdin or from an http address
    #[command(after_help = CREATE_HELP)]
    Create(CreateArgs),
    /// List the images of the project
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  symphony image list\n  symphony image list -o wide"
    )]
    List,
    /// Show one image
    #[command(after_help = "Example:\n  symphony image show debian-12 -o yaml")]
    Show {
        /// Name or id
        #[arg(value_name = "IMAGE")]
        image: Target,
    },
    /// Delete images; an image that volumes were made from is kept
    #[command(
        visible_alias = "rm",
        after_help = "Examples:\n  symphony image delete debian-12\n  symphony image delete debian-12 --dry-run"
    )]
    Delete(DeleteArgs),
    /// Let the node of this control socket into the cluster, for this role
    #[command(after_help = JOIN_HELP)]
    Init(JoinArgs),
}

const CREATE_HELP: &str = "\
Examples:
  symphony image create debian-12 --file debian-12-generic.qcow2
  symphony image create debian-12 --file d.qcow2 --sha256 $(sha256sum < d.qcow2 | cut -c1-64)
  curl -sL https://example.org/disk.raw | symphony image create disk --file -
  symphony image create disk --url http://mirror.lan/disk.raw

The bytes are streamed; an image of any size needs no memory. Its format is found out, and an image that refers to
another file (backing file, external data file) is refused.";

/// What `image create` takes.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub struct CreateArgs {
    /// Its name: lower-case letters, digits and '-'
    #[arg(value_name = "NAME")]
    name: Name,
    /// The file to import; `-` reads stdin
    #[arg(long, short, value_name = "FILE", group = "source")]
    file: Option<PathBuf>,
    /// The http address to import from; this client fetches it and passes it on
    #[arg(long, value_name = "URL", group = "source")]
    url: Option<String>,
    /// The SHA-256 that the bytes must have: 64 hexadecimal digits
    #[arg(long, value_name = "HEX")]
    sha256: Option<Digest>,
    #[command(flatten)]
    waiting: Waiting,
}

/// What `image delete` takes.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Names or ids
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<Target>,
    /// Only say what would be deleted
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// Does a verb.
pub(crate) async fn run(client: &Client, output: Output, verb: ImageVerb) -> Result<(), Failure> {
    match verb {
        ImageVerb::Create(args) => create(client, output, &args).await,
        ImageVerb::List => {
            let images = client
                .all_images(None)
                .await
                .map_err(|error| failure("list the images", error))?;
            output.list(&images)
        }
        ImageVerb::Show { image } => output.object(&read(client, "show", &image).await?),
        ImageVerb::Delete(args) if args.dry_run => preview_delete(client, output, &args.images).await,
        ImageVerb::Delete(args) => delete(client, output, &args).await,
        // Asked of an agent, never here.
        ImageVerb::Init(_) => Ok(()),
    }
}

async fn read(client: &Client, verb: &str, image: &Target) -> Result<Image, Failure> {
    client
        .image(image.as_str())
        .await
        .map_err(|error| failure(&format!("{verb} image {image}"), error))
}

async fn create(client: &Client, output: Output, args: &CreateArgs) -> Result<(), Failure> {
    let source = match (&args.file, &args.url) {
        (Some(file), _) => Source::file(file).await?,
        (None, Some(url)) => Source::url(url).await?,
        (None, None) => return Err(Failure::usage("give --file or --url")),
    };
    let uploaded = upload(client, output, args, source).await?;
    let name = &uploaded.meta.name;
    let Some(limit) = args.waiting.limit() else {
        return output.changed(&uploaded, &format!("image {name} is uploaded and being checked"));
    };
    let ready = settle(client, output, &uploaded, limit).await?;
    let (format, disk) = (ready.spec.format.as_str(), Bytes(ready.spec.virtual_bytes));
    output.changed(
        &ready,
        &format!(
            "image {name} is ready: {format}, a disk of {disk}, {}",
            ready.spec.digest
        ),
    )
}

async fn upload(client: &Client, output: Output, args: &CreateArgs, source: Source) -> Result<Image, Failure> {
    let (total, counter) = (source.total_bytes, source.counter());
    let mut progress = Progress::moving(&format!("image {}", args.name), total, output.quiet);
    let digest = args.sha256.map(|digest| digest.hex());
    let name = args.name.as_str();
    let mut upload = std::pin::pin!(client.create_image(name, digest.as_deref(), Upload::new(source, total)));
    let mut tick = tokio::time::interval(TICK);
    loop {
        // The tick may be dropped at any time; the upload is polled on and never dropped.
        tokio::select! {
            answer = &mut upload => {
                progress.bytes(counter.load(Ordering::Relaxed), total);
                return answer.map_err(|error| failure(&format!("create image {name}"), error));
            }
            _ = tick.tick() => progress.bytes(counter.load(Ordering::Relaxed), total),
        }
    }
}

async fn settle(client: &Client, output: Output, image: &Image, limit: Duration) -> Result<Image, Failure> {
    let (name, id) = (&image.meta.name, image.meta.id.to_string());
    let subject = format!("image {name}");
    let mut progress = Progress::waiting(&subject, output.quiet);
    let goal = Goal {
        kind: Kind::Image,
        id: id.clone(),
        revision: image.meta.revision,
        state: "ready",
        limit,
        story: None,
    };
    wait::until(client, &goal, &mut progress, &subject, async || {
        let seen = client
            .image(&id)
            .await
            .map_err(|error| failure(&format!("wait for image {name}"), error))?;
        let state = wait::state(seen.status.phase.as_str(), &seen.status.conditions);
        match seen.status.phase {
            ImagePhase::Ready => Ok(Look::Done(seen)),
            ImagePhase::Failed => Err(Failure::new(format!("image {name} is refused: {state}"))
                .hint(format!("delete it with: symphony image delete {name}"))),
            ImagePhase::Deleting => Err(Failure::new(format!("image {name} is being deleted")).exit(Exit::Conflict)),
            ImagePhase::Pending => Ok(Look::Going(state)),
        }
    })
    .await
}

async fn preview_delete(client: &Client, output: Output, images: &[Target]) -> Result<(), Failure> {
    let volumes = client
        .all_volumes(None)
        .await
        .map_err(|error| failure("list the volumes", error))?;
    let mut failures = Vec::new();
    for target in images {
        match read(client, "delete", target).await {
            Err(failure) => failures.push(failure),
            Ok(image) => match uses(&image, &volumes) {
                Some(uses) => failures.push(
                    Failure::new(format!(
                        "image {} could not be deleted: volumes were made from it: {uses}",
                        image.meta.name
                    ))
                    .exit(Exit::Conflict),
                ),
                None => {
                    let text = format!("image {} would be deleted; nothing was changed\n", image.meta.name);
                    output.value(&image, &text, &image.meta.name)?;
                }
            },
        }
    }
    Failure::together(failures)
}

/// The volumes that were made from an image, by name.
fn uses(image: &Image, volumes: &[Volume]) -> Option<String> {
    let made_from = |volume: &&Volume| {
        volume
            .spec
            .image
            .as_ref()
            .is_some_and(|used| used.digest == image.spec.digest)
    };
    let names: Vec<_> = volumes
        .iter()
        .filter(made_from)
        .map(|volume| volume.meta.name.as_str())
        .collect();
    match names.len() {
        0 => None,
        count if count > USES_NAMED_MAX => Some(format!(
            "{} and {} more",
            names[..USES_NAMED_MAX].join(", "),
            count - USES_NAMED_MAX
        )),
        _ => Some(names.join(", ")),
    }
}

async fn delete(client: &Client, output: Output, args: &DeleteArgs) -> Result<(), Failure> {
    let (mut asked, mut failures) = (Vec::new(), Vec::new());
    for image in &args.images {
        match client.delete_image(image.as_str(), None).await {
            Ok(deleted) => asked.push(deleted),
            Err(error) => failures.push(failure(&format!("delete image {image}"), error)),
        }
    }
    for image in &asked {
        match gone(client, output, image, args.waiting.limit()).await {
            Ok(sentence) => output.changed(image, &sentence)?,
            Err(failure) => failures.push(failure),
        }
    }
    Failure::together(failures)
}

async fn gone(client: &Client, output: Output, image: &Image, limit: Option<Duration>) -> Result<String, Failure> {
    let (name, id) = (&image.meta.name, image.meta.id.to_string());
    let Some(limit) = limit else {
        return Ok(format!("image {name} is being deleted"));
    };
    let subject = format!("image {name}");
    let mut progress = Progress::waiting(&subject, output.quiet);
    let goal = Goal {
        kind: Kind::Image,
        id: id.clone(),
        revision: image.meta.revision,
        state: "gone",
        limit,
        story: None,
    };
    wait::until(client, &goal, &mut progress, &subject, async || {
        match client.image(&id).await {
            Ok(seen) => Ok(Look::Going(wait::state(
                seen.status.phase.as_str(),
                &seen.status.conditions,
            ))),
            Err(error) if error.code() == Some(Code::NotFound) => Ok(Look::Done(())),
            Err(error) => Err(failure(&format!("wait for the end of image {name}"), error)),
        }
    })
    .await?;
    Ok(format!("image {name} is deleted"))
}
