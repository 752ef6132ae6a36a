//! The compiling child as a program of its own, for tests: the binary `symphony` is its own child.

fn main() -> std::process::ExitCode {
    symphony_runtime::compile::child_main()
}
