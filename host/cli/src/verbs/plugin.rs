//! `symphony plugin`: schedulers and drivers, written by anyone.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use symphony_api::Client;
use symphony_api::v1::Activate;
use symphony_core::name::Name;
use symphony_core::plugin::{COMPONENT_BYTES_MAX, Slot};
use symphony_core::quantity::Bytes;
use symphony_plugin_build::{BuildOptions, SdkSource, Template, build_component, new_plugin};

use crate::failure::Failure;
use crate::output::Output;
use crate::refusal::failure;
use crate::table::details;

/// The SDK of the checkout that this program was built in; there is one on no registry yet.
const SDK_HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sdk/rust");

/// Schedulers and drivers: sandboxed components, swapped while the cloud runs
#[derive(Debug, Subcommand)]
pub enum PluginVerb {
    /// Start a plugin of your own in a new folder
    #[command(after_help = "Example:\n  symphony plugin new my-policy && cd my-policy && symphony plugin build")]
    New(NewArgs),
    /// Build the plugin in a folder; prints its component, digest, size and imports
    #[command(after_help = "Examples:\n  symphony plugin build\n  symphony plugin build my-policy -o json")]
    Build(BuildArgs),
    /// Upload a component; it serves nowhere before it is activated
    #[command(
        visible_alias = "upload",
        after_help = "Examples:\n  symphony plugin push my-policy.wasm\n  symphony plugin activate $(symphony plugin push my-policy.wasm -o name)"
    )]
    Push {
        /// The component that `symphony plugin build` made
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// List the uploaded plugins and where they serve
    #[command(visible_alias = "ls", after_help = "Example:\n  symphony plugin list -o wide")]
    List,
    /// Show one plugin
    #[command(after_help = "Example:\n  symphony plugin show spread@0.1.0")]
    Show {
        /// Name, name@version, digest, or the first 8 or more digits of a digest
        #[arg(value_name = "PLUGIN")]
        plugin: String,
    },
    /// Let a plugin serve; calls under way end on the one before
    #[command(
        after_help = "Examples:\n  symphony plugin activate my-policy\n  symphony plugin activate binpack@0.1.0 --slot scheduler/volume\n  symphony plugin activate my-policy --config '{\"weight\": 2}'"
    )]
    Activate(ActivateArgs),
    /// Let what served before serve again
    #[command(after_help = "Examples:\n  symphony plugin rollback\n  symphony plugin rollback driver/volume")]
    Rollback {
        /// Where: scheduler/volume, or driver/ and volume, image, machine or network
        #[arg(value_name = "SLOT", default_value = "scheduler/volume")]
        slot: Slot,
    },
}

/// What `plugin new` takes.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// The plugin's name, and the folder's
    #[arg(value_name = "NAME")]
    name: Name,
    /// What it is to be
    #[arg(long, value_enum, default_value = "scheduler")]
    template: Kind,
    /// The folder to make its folder in
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// The folder of the SDK (sdk/rust of a checkout) [default: that of the checkout this program was built in]
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

/// What a new plugin is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Decides where volumes go
    Scheduler,
    /// Decides how volumes are made
    VolumeDriver,
}

/// What `plugin build` takes.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The plugin's folder, with its Cargo.toml
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Where to write the component [default: DIR/NAME.wasm]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Without a look at the network
    #[arg(long)]
    offline: bool,
}

/// What `plugin activate` takes.
#[derive(Debug, Args)]
pub struct ActivateArgs {
    /// Name, name@version, digest, or the first 8 or more digits of a digest
    #[arg(value_name = "PLUGIN")]
    plugin: String,
    /// Where: scheduler/volume, or driver/ and volume, image, machine or network; what the plugin was made for when not given
    #[arg(long, value_name = "SLOT")]
    slot: Option<Slot>,
    /// Its configuration: JSON, or @FILE
    #[arg(long, value_name = "JSON|@FILE")]
    config: Option<String>,
}

/// Does a verb that needs no manager; gives back one that does.
pub(crate) fn run_locally(output: Output, verb: PluginVerb) -> Result<Option<PluginVerb>, Failure> {
    match verb {
        PluginVerb::New(args) => new(output, &args).map(|()| None),
        PluginVerb::Build(args) => build(output, &args).map(|()| None),
        other => Ok(Some(other)),
    }
}

/// Does a verb.
pub(crate) async fn run(client: &Client, output: Output, verb: PluginVerb) -> Result<(), Failure> {
    match verb {
        PluginVerb::New(args) => new(output, &args),
        PluginVerb::Build(args) => build(output, &args),
        PluginVerb::Push { file } => {
            let component = component(&file)?;
            let what = format!("push {}", file.display());
            let plugin = client
                .push_plugin(component)
                .await
                .map_err(|error| failure(&what, error))?;
            let sentence = format!("plugin {}@{} is there: {}", plugin.name, plugin.version, plugin.digest);
            output.changed(&plugin, &sentence)
        }
        PluginVerb::List => {
            let plugins = client
                .all_plugins()
                .await
                .map_err(|error| failure("list the plugins", error))?;
            output.list(&plugins)
        }
        PluginVerb::Show { plugin } => {
            let found = client
                .plugin(&plugin)
                .await
                .map_err(|error| failure(&format!("show plugin {plugin}"), error))?;
            output.object(&found)
        }
        PluginVerb::Activate(args) => activate(client, output, &args).await,
        PluginVerb::Rollback { slot } => {
            let rolled = client.rollback(slot.as_str()).await;
            let rolled = rolled.map_err(|error| failure(&format!("roll {slot} back"), error))?;
            let serves = rolled.plugin.as_deref().unwrap_or("what is built in");
            output.changed(&rolled, &format!("{slot}: {serves} serves again"))
        }
    }
}

async fn activate(client: &Client, output: Output, args: &ActivateArgs) -> Result<(), Failure> {
    let what = format!("activate plugin {}", args.plugin);
    let config = args.config.as_deref().map(config).transpose()?;
    // Always by digest, so that what is looked at here and what serves then are the same.
    let plugin = client
        .plugin(&args.plugin)
        .await
        .map_err(|error| failure(&what, error))?;
    let slot = args.slot.map_or_else(|| plugin.slot.clone(), |slot| slot.to_string());
    let activate = Activate {
        plugin: plugin.digest.clone(),
        config,
    };
    let changed = client
        .activate(&slot, &activate)
        .await
        .map_err(|error| failure(&what, error))?;
    output.changed(
        &changed,
        &format!(
            "{slot}: {}@{} serves now ({})",
            plugin.name, plugin.version, plugin.digest
        ),
    )
}

/// The configuration: JSON text, or that of the file behind `@`.
fn config(text: &str) -> Result<serde_json::Value, Failure> {
    let json = match text.strip_prefix('@') {
        None => text.to_owned(),
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| Failure::caused(format!("could not read the configuration {file}"), &error))?,
    };
    serde_json::from_str(&json).map_err(|error| {
        Failure::usage(format!("the configuration is not JSON: {error}"))
            .hint("write --config '{\"key\": 1}', or --config @FILE")
    })
}

/// The bytes of a component, if it is not too large to be taken.
fn component(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| Failure::caused(format!("could not read {}", file.display()), &error);
    let size = std::fs::metadata(file).map_err(failed)?.len();
    if size > COMPONENT_BYTES_MAX {
        let (size, limit) = (Bytes(size), Bytes(COMPONENT_BYTES_MAX));
        return Err(Failure::new(format!(
            "{} has {size}, and a component has at most {limit}",
            file.display()
        )));
    }
    std::fs::read(file).map_err(failed)
}

fn new(output: Output, args: &NewArgs) -> Result<(), Failure> {
    let sdk = args.sdk.clone().unwrap_or_else(|| PathBuf::from(SDK_HERE));
    let sdk = sdk.canonicalize().map_err(|error| {
        Failure::caused(format!("there is no SDK at {}", sdk.display()), &error)
            .hint("name the folder sdk/rust of a checkout: --sdk DIR")
    })?;
    let template = match args.template {
        Kind::Scheduler => Template::Scheduler,
        Kind::VolumeDriver => Template::VolumeDriver,
    };
    let folder = args.dir.join(args.name.as_str());
    let files = new_plugin(template, &folder, args.name.as_str(), &SdkSource::Path(sdk))
        .map_err(|error| Failure::caused(format!("could not make plugin {}", args.name), &error))?;
    output.remark(&format!(
        "plugin {} is in {}; next: cd {0} && symphony plugin build",
        args.name,
        folder.display()
    ));
    let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    output.value(&files, "", &folder.display().to_string())
}

#[derive(Serialize)]
struct Built {
    file: String,
    name: String,
    version: String,
    digest: String,
    size_bytes: u64,
    imports: Vec<String>,
}

fn build(output: Output, args: &BuildArgs) -> Result<(), Failure> {
    let failed = |error: symphony_plugin_build::Error| Failure::caused("could not build the plugin", &error);
    let options = BuildOptions {
        offline: args.offline,
        quiet: output.quiet,
        ..BuildOptions::new(&args.dir)
    };
    let built = build_component(&options).map_err(failed)?;
    let file = args
        .out
        .clone()
        .unwrap_or_else(|| args.dir.join(format!("{}.wasm", built.manifest.name)));
    built.write_to(&file).map_err(failed)?;
    let shown = Built {
        file: file.display().to_string(),
        name: built.manifest.name.clone(),
        version: built.manifest.version.clone(),
        digest: built.digest.clone(),
        size_bytes: built.size(),
        imports: built.imports.clone(),
    };
    let mut text = details(&[
        ("component", shown.file.clone()),
        ("plugin", format!("{}@{}", shown.name, shown.version)),
        ("digest", shown.digest.clone()),
        ("size", Bytes(shown.size_bytes).to_string()),
        (
            "imports",
            if shown.imports.is_empty() {
                "nothing".to_owned()
            } else {
                shown.imports.join("\n")
            },
        ),
    ]);
    _ = writeln!(text, "next: symphony plugin push {}", shown.file);
    output.value(&shown, &text, &shown.file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn configurations_are_json_or_a_file_of_it() {
        assert_eq!(config("{\"a\": 1}").unwrap(), serde_json::json!({"a": 1}));
        assert_eq!(config("{a}").unwrap_err().exit, Exit::Usage);
        assert!(config("@/nope").unwrap_err().message.contains("/nope"));
    }

    #[test]
    fn a_component_has_a_limit() {
        let path = std::env::temp_dir().join(format!("symphony-cli-component-{}", std::process::id()));
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(100_000_000).unwrap();
        let failure = component(&path).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert!(failure.message.contains("at most 32MiB"), "{}", failure.message);
    }
}
