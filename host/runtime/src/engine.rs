//! The one engine configuration: what the compiling child uses is what the manager runs.
//!
//! Machine code fits only an engine of the same configuration, so there is no second place that sets any of this.

use wasmtime::{Config, Engine, OptLevel, Strategy, WasmBacktraceDetails, WasmFeatures};

/// Wasm stack of a guest, in bytes. Threads that call guests have several times this.
pub const WASM_STACK_BYTES: usize = 512 << 10;

/// For what an engine is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Deciding.
    Production,
    /// Checking that decisions do not hang on the bits of a NaN: canonicalised, four times slower.
    Conformance,
}

/// Features that guests may not use: they widen the surface, or give different answers on different processors.
const REFUSED: WasmFeatures = WasmFeatures::THREADS
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::MEMORY64)
    .union(WasmFeatures::FUNCTION_REFERENCES)
    .union(WasmFeatures::GC)
    .union(WasmFeatures::EXCEPTIONS)
    .union(WasmFeatures::STACK_SWITCHING)
    .union(WasmFeatures::WIDE_ARITHMETIC)
    .union(WasmFeatures::CUSTOM_PAGE_SIZES)
    .union(WasmFeatures::CM_ASYNC)
    .union(WasmFeatures::CM_ERROR_CONTEXT)
    .union(WasmFeatures::CM_GC);

/// The configuration.
#[must_use]
pub fn config(purpose: Purpose) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(purpose == Purpose::Conformance)
        .wasm_component_model(true)
        // Halves the cost of a call; nothing in our worlds is asynchronous.
        .concurrency_support(false)
        .consume_fuel(true)
        .epoch_interruption(false)
        .max_wasm_stack(WASM_STACK_BYTES)
        .generate_address_map(true)
        // The default asks an environment variable, and the child has none: their code would not fit.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_features(REFUSED, false);
    config
}

/// An engine with that configuration. On-demand allocation: a fresh instance costs about 20 µs, and no memory is ever
/// handed from one guest to another.
///
/// # Errors
/// When this processor or build can't run it.
pub fn engine(purpose: Purpose) -> wasmtime::Result<Engine> {
    Engine::new(&config(purpose))
}

/// A number that two engines share when code of one runs on the other. For file names; wasmtime checks again on load.
#[must_use]
pub fn compatibility(engine: &Engine) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_counted_and_wide_features_are_refused() {
        let engine = engine(Purpose::Production).unwrap();
        assert!(!engine.is_pulley());
        let mut store = wasmtime::Store::new(&engine, ());
        store.set_fuel(1).expect("fuel is counted");
        let compile = |module: &str| {
            let component = format!("(component (core module {module}))");
            engine.precompile_component(&wat::parse_str(component).unwrap())
        };
        assert!(compile("(memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)))").is_ok());
        for refused in [
            "(memory 1 1 shared)",
            "(memory 1) (memory 1)",
            "(memory i64 1)",
            "(type (struct))",
            "(tag)",
            "(func (param v128) (result v128) (i32x4.relaxed_trunc_f32x4_s (local.get 0)))",
            "(func (param (ref func)))",
        ] {
            assert!(compile(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn code_moves_between_equal_engines_only() {
        let production = compatibility(&engine(Purpose::Production).unwrap());
        assert_eq!(production, compatibility(&engine(Purpose::Production).unwrap()));
        assert_ne!(production, compatibility(&engine(Purpose::Conformance).unwrap()));
    }
}
