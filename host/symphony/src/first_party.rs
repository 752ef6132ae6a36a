//! The components that come with symphony, embedded at build time.

/// The bytes of each; what they are is written in them. Of several for one slot the first is active at first.
pub(crate) const COMPONENTS: [&[u8]; 9] = [
    include_bytes!(concat!(env!("SYMPHONY_PLUGINS"), "/spread.wasm")),
    include_bytes!(concat!(env!("SYMPHONY_PLUGINS"), "/binpack.wasm")),
    include_bytes!(concat!(env!("SYMPHONY_PLUGINS"), "/file.wasm")),
    include_bytes!(concat!(env!("SYMPHONY_PLUGINS"), "/blob.wasm")),
    include_bytes!(concat!(env!("SYMPHONY_PLUGINS"), "/libvirt.wasm")),
    include_bytes!(concat!(env!("SYMPHONY_PLUGINS"), "/test.wasm")),
    include_bytes!(concat!(env!("SYMPHONY_PLUGINS"), "/bridge.wasm")),
    include_bytes!(concat!(env!("SYMPHONY_PLUGINS"), "/nbd.wasm")),
    include_bytes!(concat!(env!("SYMPHONY_PLUGINS"), "/power.wasm")),
];
