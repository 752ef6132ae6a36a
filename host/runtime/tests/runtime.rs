//! The sandbox with real components: the first-party plugins do what they should, the hostile guests get the fault that
//! is theirs, and after each of them a good plugin still works.
//!
//! Needs `cargo xtask plugins --guests`.

#![allow(clippy::unwrap_used, reason = "the helpers of tests panic as tests do")]

#[path = "runtime/compiling.rs"]
mod compiling;
#[path = "runtime/drivers.rs"]
mod drivers;
#[path = "runtime/hostile.rs"]
mod hostile;
#[path = "runtime/schedulers.rs"]
mod schedulers;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use symphony_runtime::compile::DEADLINE;
use symphony_runtime::{Compiled, Compiler, Limits, Options, PrepareError, Runtime};

/// A component that `cargo xtask plugins --guests` built.
fn built(path: &str) -> Arc<[u8]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/plugins")
        .join(path)
        .with_extension("wasm");
    match std::fs::read(&path) {
        Ok(bytes) => bytes.into(),
        Err(error) => panic!("{}: {error}; run `cargo xtask plugins --guests` first", path.display()),
    }
}

/// The compiling child that this crate has for its tests.
fn child() -> Compiler {
    Compiler::Child {
        command: env!("CARGO_BIN_EXE_symphony-compile-plugin").into(),
        args: Vec::new(),
        deadline: DEADLINE,
    }
}

fn open(cache_dir: impl Into<PathBuf>, compiler: Compiler, limits: Limits) -> Runtime {
    Runtime::open(Options {
        cache_dir: cache_dir.into(),
        compiler,
        limits,
    })
    .unwrap()
}

/// One runtime for all tests; compiled code is kept from run to run.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        open(
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-plugins"),
            child(),
            Limits::default(),
        )
    })
}

async fn prepare(path: &str) -> Result<Compiled, PrepareError> {
    runtime().prepare(built(path)).await
}
