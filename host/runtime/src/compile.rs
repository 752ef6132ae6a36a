//! From a checked component to machine code that may run.
//!
//! Compiling is outside wasmtime's promise against denial of service (636 kB took 12 s), so it is done in a child process
//! with limits of its own, one at a time. The result is kept under a MAC: [`cache`] is the only source of machine code,
//! and whatever it can't vouch for is compiled again.

mod artefact;
pub(crate) mod cache;
mod child;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use wasmtime::Engine;

pub(crate) use artefact::load;
pub use child::child_main;

use crate::fault::{chain, clip};

/// The argument with which the binary `symphony` becomes the child (it then calls [`child_main`]).
pub const CHILD_ARGUMENT: &str = "__compile-plugin";
/// Longest time that compiling one component may take. 18 MB of Python take 9 s on a slow machine.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// Largest machine code that is taken from a child.
pub const ARTEFACT_BYTES_MAX: u64 = 512 << 20;
const ERROR_BYTES_MAX: u64 = 4096;

/// What compiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compiler {
    /// A child process: reads the component from its standard input, writes machine code to its standard output.
    Child {
        /// The program, by its absolute path; `/proc/self/exe` for the running one.
        command: PathBuf,
        /// Its arguments.
        args: Vec<OsString>,
        /// After this time it is killed.
        deadline: Duration,
    },
    /// The caller's own process, without limits. For tests and benches: never for what was uploaded.
    InProcess,
}

impl Compiler {
    /// The running program as child, with [`CHILD_ARGUMENT`].
    #[must_use]
    pub fn this_program() -> Self {
        Self::Child {
            command: "/proc/self/exe".into(),
            args: vec![CHILD_ARGUMENT.into()],
            deadline: DEADLINE,
        }
    }

    /// Compiles a component that passed [`crate::inspect`].
    pub(crate) async fn compile(&self, engine: &Engine, component: &[u8]) -> Result<Vec<u8>, CompileError> {
        match self {
            Self::InProcess => engine
                .precompile_component(component)
                .map_err(|error| CompileError::Refused(chain(&error))),
            Self::Child {
                command,
                args,
                deadline,
            } => {
                let mut command = Command::new(command);
                command.args(args).env_clear().current_dir("/");
                command
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .kill_on_drop(true);
                let mut child = command.spawn().map_err(CompileError::Child)?;
                let Ok(result) = tokio::time::timeout(*deadline, converse(&mut child, component)).await else {
                    // Waits for it too: no child outlives its call.
                    child.kill().await.map_err(CompileError::Child)?;
                    return Err(CompileError::Deadline(*deadline));
                };
                result
            }
        }
    }
}

/// Why no machine code came of a component.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The compiler does not take it.
    #[error("the compiler refused it: {0}")]
    Refused(String),
    /// The child was killed at its deadline.
    #[error("compiling took over {} s", .0.as_secs())]
    Deadline(Duration),
    /// The child ended early: over its limits of memory or processor time, most likely.
    #[error("the compiler ended early ({0}): the component takes more memory or time than is allowed")]
    Limit(String),
    /// More machine code than is taken.
    #[error("its machine code is over {ARTEFACT_BYTES_MAX} bytes")]
    TooLarge,
    /// What came back does not load.
    #[error("the compiled code does not load: {0}")]
    Unusable(String),
    /// No child could be started or talked to.
    #[error("the compiler could not be run")]
    Child(#[source] std::io::Error),
}

impl CompileError {
    /// One word for events and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Refused(_) => "compile-refused",
            Self::Deadline(_) => "compile-deadline",
            Self::Limit(_) => "compile-limit",
            Self::TooLarge => "compile-too-large",
            Self::Unusable(_) => "compile-unusable",
            Self::Child(_) => "compile-child",
        }
    }
}

async fn converse(child: &mut Child, component: &[u8]) -> Result<Vec<u8>, CompileError> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
        return Err(CompileError::Child(std::io::ErrorKind::BrokenPipe.into()));
    };
    let write = async {
        // A child that ends before it has read all says why on its standard error.
        let _ = stdin.write_all(component).await;
        drop(stdin);
    };
    let ((), code, error) = tokio::join!(write, read(stdout, ARTEFACT_BYTES_MAX), read(stderr, ERROR_BYTES_MAX));
    let (code, error) = (code.map_err(CompileError::Child)?, error.map_err(CompileError::Child)?);
    if code.len() as u64 > ARTEFACT_BYTES_MAX {
        child.kill().await.map_err(CompileError::Child)?;
        return Err(CompileError::TooLarge);
    }
    let status = child.wait().await.map_err(CompileError::Child)?;
    match status.code() {
        Some(0) => Ok(code),
        Some(child::EXIT_REFUSED) => Err(CompileError::Refused(clip(&String::from_utf8_lossy(&error), 1024))),
        _ => Err(CompileError::Limit(status.to_string())),
    }
}

/// Reads to the end, or one byte past the limit.
async fn read(from: impl AsyncRead + Unpin, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}
