//! The components that come with symphony, embedded at build time.

/// The bytes of each; what they are is written in them.
pub(crate) const COMPONENTS: [&[u8]; 4] = [
    include_bytes!(concat!(env!("SYMPHONY_PLUGINS"), "/spread.wasm")),
    include_bytes!(concat!(env!("SYMPHONY_PLUGINS"), "/binpack.wasm")),
    include_bytes!(concat!(env!("SYMPHONY_PLUGINS"), "/file.wasm")),
    include_bytes!(concat!(env!("SYMPHONY_PLUGINS"), "/blob.wasm")),
];
