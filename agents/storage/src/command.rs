//! Step `command`: a program from the node's own list, without a shell.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use symphony_agent::{StepError, program};
use symphony_core::plan;

/// The programs that plans may run on this node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Programs(BTreeMap<String, PathBuf>);

impl Programs {
    pub(crate) const fn new(programs: BTreeMap<String, PathBuf>) -> Self {
        Self(programs)
    }

    /// Runs one; see [`program::run`].
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
        let limit = Duration::from_millis(u64::from(wanted.timeout_ms));
        let ended = program::run(path, &wanted.arguments, &wanted.stdin, limit).await?;
        if ended.status.success() {
            return Ok(());
        }
        let (program, status, complaint) = (&wanted.program, ended.status, ended.complaint());
        Err(StepError::Other(format!("{program} ended with {status}: {complaint}")))
    }
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
