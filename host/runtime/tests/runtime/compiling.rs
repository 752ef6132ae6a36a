//! The compiling child and the cache of what it made.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use symphony_runtime::{Compiler, Limits};

use super::{built, child, open};

fn sham(command: &str, args: &[&str], deadline: Duration) -> Compiler {
    Compiler::Child {
        command: command.into(),
        args: args.iter().map(Into::into).collect(),
        deadline,
    }
}

#[tokio::test]
async fn compiled_once_then_read_from_the_cache_unless_it_was_touched() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = built("file");
    open(dir.path(), child(), Limits::default())
        .prepare(bytes.clone())
        .await
        .unwrap();
    // With a compiler that always fails, only the cache is left.
    let without = || {
        open(
            dir.path(),
            sham("/bin/false", &[], Duration::from_secs(9)),
            Limits::default(),
        )
    };
    without().prepare(bytes.clone()).await.unwrap();
    let compiled = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let path = compiled
        .into_iter()
        .find(|path| path.extension().is_some_and(|suffix| suffix == "cwasm"))
        .unwrap();
    let mut code = std::fs::read(&path).unwrap();
    let middle = code.len() / 2;
    code[middle] ^= 1;
    std::fs::write(&path, code).unwrap();
    assert_eq!(
        without().prepare(bytes.clone()).await.unwrap_err().reason(),
        "compile-limit"
    );
    open(dir.path(), child(), Limits::default())
        .prepare(bytes.clone())
        .await
        .unwrap();
    without().prepare(bytes).await.unwrap();
}

#[tokio::test]
async fn a_compiler_that_fails_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for (compiler, reason) in [
        (
            sham("/bin/sleep", &["3600"], Duration::from_millis(50)),
            "compile-deadline",
        ),
        (sham("/bin/true", &[], Duration::from_secs(60)), "compile-unusable"),
        (
            sham("/bin/sh", &["-c", "kill -KILL $$"], Duration::from_secs(60)),
            "compile-limit",
        ),
        (
            sham("/bin/sh", &["-c", "echo no >&2; exit 3"], Duration::from_secs(60)),
            "compile-refused",
        ),
        (sham("/nowhere", &[], Duration::from_secs(60)), "compile-child"),
    ] {
        let error = open(dir.path(), compiler, Limits::default())
            .prepare(built("file"))
            .await
            .unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
    }
    // And none of that was kept.
    open(dir.path(), child(), Limits::default())
        .prepare(built("file"))
        .await
        .unwrap();
}

/// What the child gave up before it reads the first byte.
#[test]
fn the_child_is_confined() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_symphony-compile-plugin"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", child.id())).unwrap();
    // Restricting itself is the last thing it does before it waits for its input.
    while !read("status").contains("NoNewPrivs:\t1") {
        std::thread::yield_now();
    }
    let limits = read("limits");
    for limit in [
        "Max cpu time              120",
        "Max address space         2147483648",
        "Max file size             0 ",
        "Max core file size        0 ",
    ] {
        assert!(limits.contains(limit), "{limit} in {limits}");
    }
    child.stdin.take().unwrap().write_all(b"\0asm, not really").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(3),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!output.stderr.is_empty());
}
