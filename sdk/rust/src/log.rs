//! Lines for the operator: the only thing that a plugin may ask of its host.
//!
//! The host keeps at most 32 lines a call and 1,024 bytes a line. Natively (in tests) lines go to stderr.

pub use crate::bindings::scheduler::symphony::plugin::log::Level;

/// Writes one line.
pub fn write(level: Level, message: &str) {
    #[cfg(target_family = "wasm")]
    crate::bindings::scheduler::symphony::plugin::log::write(level, message);
    #[cfg(not(target_family = "wasm"))]
    {
        // A closed stderr is no reason to fail: losing a line of log is what the host may do, too.
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{level:?}: {message}\n"));
    }
}

/// Something is wrong and an operator should look.
pub fn error(message: &str) {
    write(Level::Error, message);
}

/// Something is odd; the plugin went on.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// What an operator may want to know.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// What the plugin's author wants to know.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Sends the message of a panic to the log before the trap; once per instance. Without it a trap says nothing but where.
#[doc(hidden)]
#[cfg(target_family = "wasm")]
pub fn report_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| error(&panic.to_string()))));
}
