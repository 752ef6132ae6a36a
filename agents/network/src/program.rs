//! Running other programs, on the node or in a namespace, with a deadline and limits. Starts no shell.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::{NetworkError, namespace};

/// How long a program may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// How much of what it says about a failure is kept, in characters.
const SAID_MAX: usize = 1_000;

/// Runs a program to its end, with `input`; gives what it printed.
pub(crate) async fn run(
    inside: Option<&str>,
    program: &'static str,
    args: &[&str],
    input: &str,
) -> Result<Vec<u8>, NetworkError> {
    let failed = |source| NetworkError::Program { program, source };
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // The administrator's programs: not every service manager looks for them.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command.kill_on_drop(true);
    let mut child = spawn(inside, &mut command)?.map_err(failed)?;
    let work = async move {
        if let Some(mut stdin) = child.stdin.take() {
            // A program that ends early says why itself.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = timeout(DEADLINE, work).await.map_err(|_| NetworkError::Late(program))?;
    let output = output.map_err(failed)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().chars().take(SAID_MAX).collect();
    Err(NetworkError::Failed { program, said })
}

/// A process is born in the namespace of the thread that starts it.
fn spawn(inside: Option<&str>, command: &mut Command) -> Result<std::io::Result<Child>, NetworkError> {
    let Some(name) = inside else {
        return Ok(command.spawn());
    };
    let runtime = Handle::current();
    namespace::within(name, || {
        let _entered = runtime.enter();
        command.spawn()
    })
}
