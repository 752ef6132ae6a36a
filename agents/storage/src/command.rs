//! Step `command`: a program from the node's own list, without a shell.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use symphony_agent::StepError;
use symphony_core::plan;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

/// Kept of what a program says; the rest is read and thrown away.
const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// The programs that plans may run on this node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Programs(BTreeMap<String, PathBuf>);

impl Programs {
    pub(crate) const fn new(programs: BTreeMap<String, PathBuf>) -> Self {
        Self(programs)
    }

    /// Runs one, with nothing in its environment but a path and a plain locale. Killed by pid at its deadline, or when
    /// this is dropped.
    pub(crate) async fn run(&self, wanted: &plan::Command) -> Result<(), StepError> {
        if !wanted.is_acceptable() {
            return Err(StepError::Other("the command is over its limits".to_owned()));
        }
        let Some(path) = self.0.get(&wanted.program) else {
            return Err(StepError::Missing(format!(
                "this node's list has no program {:?}",
                wanted.program
            )));
        };
        let mut command = Command::new(path);
        command.args(&wanted.arguments).current_dir("/").env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(StepError::io(format!("start {}", wanted.program)))?;
        symphony_crash::point("storage.command.after_start");
        let limit = Duration::from_millis(u64::from(wanted.timeout_ms));
        let Ok(ended) = tokio::time::timeout(limit, converse(&mut child, &wanted.stdin)).await else {
            // Also reaps it.
            let _ = child.kill().await;
            return Err(StepError::Deadline(format!(
                "{} was killed after {limit:?}",
                wanted.program
            )));
        };
        let (status, said) = ended.map_err(StepError::io(format!("wait for {}", wanted.program)))?;
        if status.success() {
            return Ok(());
        }
        let complaint: String = said
            .lines()
            .next()
            .unwrap_or("")
            .chars()
            .filter(|c| !c.is_control())
            .take(400)
            .collect();
        Err(StepError::Other(format!(
            "{} ended with {status}: {complaint}",
            wanted.program
        )))
    }
}

async fn converse(child: &mut Child, input: &str) -> io::Result<(std::process::ExitStatus, String)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let tell = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read its input has ended or does not want it; its exit code says which.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let (status, (), said, complaint) = tokio::join!(child.wait(), tell, gather(stdout), gather(stderr));
    let (said, complaint) = (said?, complaint?);
    Ok((status?, if complaint.trim().is_empty() { said } else { complaint }))
}

async fn gather(source: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let Some(mut source) = source else {
        return Ok(String::new());
    };
    let mut kept = Vec::new();
    (&mut source)
        .take(OUTPUT_BYTES_MAX as u64)
        .read_to_end(&mut kept)
        .await?;
    tokio::io::copy(&mut source, &mut tokio::io::sink()).await?;
    Ok(String::from_utf8_lossy(&kept).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(script: &str, input: &str, timeout_ms: u32) -> Result<(), StepError> {
        let programs = Programs::new(BTreeMap::from([("tool".to_owned(), PathBuf::from("/bin/sh"))]));
        let arguments = vec!["-c".to_owned(), script.to_owned()];
        let command = plan::Command {
            program: "tool".into(),
            arguments,
            stdin: input.into(),
            timeout_ms,
        };
        programs.run(&command).await
    }

    #[tokio::test]
    async fn input_and_exit_code_cross() {
        run("read word; test \"$word\" = hello", "hello\n", 60_000)
            .await
            .unwrap();
        let error = run("echo so; echo no >&2; exit 3", "", 60_000)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("exit status: 3") && error.contains("no"), "{error}");
    }

    #[tokio::test]
    async fn nothing_is_inherited_and_much_output_is_no_harm() {
        run("test -z \"$HOME$CARGO\" && test \"$PWD\" = /", "", 60_000)
            .await
            .unwrap();
        run("head -c 5000000 /dev/zero", &"x".repeat(60_000), 60_000)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn deadlines_and_unknown_programs() {
        assert!(matches!(
            run("exec sleep 1000", "", 50).await,
            Err(StepError::Deadline(_))
        ));
        let unknown = plan::Command {
            program: "sh".into(),
            arguments: vec![],
            stdin: String::new(),
            timeout_ms: 1,
        };
        assert!(matches!(
            Programs::default().run(&unknown).await,
            Err(StepError::Missing(_))
        ));
        let path = plan::Command {
            program: "/bin/sh".into(),
            ..unknown
        };
        assert!(matches!(Programs::default().run(&path).await, Err(StepError::Other(_))));
    }
}
