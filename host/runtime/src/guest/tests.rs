//! What a store refuses, by the name of the fault: tiny components that misbehave while they are instantiated.

use symphony_core::plan::image::Images;
use symphony_core::plan::machine::Machines;
use symphony_core::plan::network::Networks;
use symphony_core::plan::volume::Volumes;
use wasmtime::component::{Component, Linker};

use super::*;
use crate::compile::Compiler;
use crate::engine::{Purpose, engine};
use crate::runtime::{Compiled, Options, Runtime};
use crate::{DriverPlugin, Hosted, SchedulerPlugin};

fn shared() -> Arc<Shared> {
    let manifest = crate::inspect::inspect(&fixture::component("scheduler", fixture::SECTION)).unwrap();
    Arc::new(Shared::new(manifest, Arc::default()))
}

/// The fault of a component whose core modules are these and are instantiated in this way.
fn fault(parts: &str) -> PluginFault {
    let (engine, shared) = (engine(Purpose::Production).unwrap(), shared());
    let component = Component::new(&engine, wat::parse_str(format!("(component {parts})")).unwrap()).unwrap();
    let pre = Linker::new(&engine).instantiate_pre(&component).unwrap();
    let mut sandbox = Sandbox::new(&engine, &shared);
    sandbox
        .call("instantiate", 10_000_000, |store| pre.instantiate(store))
        .expect_err("it should not come up")
}

fn module(body: &str) -> String {
    format!("(core module $m {body}) (core instance (instantiate $m))")
}

#[test]
fn each_misdeed_has_its_own_name() {
    for (body, reason) in [
        ("(func $f (loop br 0)) (start $f)", "out-of-fuel"),
        ("(func $f call $f) (start $f)", "stack-overflow"),
        ("(func $f unreachable) (start $f)", "trap"),
        (
            "(func $f (drop (i32.div_u (i32.const 1) (i32.const 0)))) (start $f)",
            "trap",
        ),
        ("(memory 4097)", "memory"),
        (
            "(memory 1) (func $f (drop (memory.grow (i32.const 9999)))) (start $f)",
            "memory",
        ),
        ("(table 20001 funcref)", "memory"),
        ("(memory 1) (data (i32.const 65536) \"x\")", "trap"),
    ] {
        let fault = fault(&module(body));
        assert_eq!((fault.reason(), fault.call), (reason, "instantiate"), "{body}: {fault}");
    }
    // A bulk copy pays for each of its bytes.
    let copy =
        "(memory 100) (func $f (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 6553600)) br 0)) (start $f)";
    assert_eq!(fault(&module(copy)).reason(), "out-of-fuel");
}

#[test]
fn parts_of_an_instance_are_counted() {
    for (what, body, count) in [
        ("instances", "", 65),
        ("memories", "(memory 1)", 3),
        ("tables", "(table 1 funcref)", 17),
    ] {
        let instances = "(core instance (instantiate $m))".repeat(count);
        let fault = fault(&format!("(core module $m {body}) {instances}"));
        assert_eq!(fault.reason(), "memory", "{what}: {fault}");
    }
}

#[test]
fn a_fault_names_the_function() {
    let fault = fault(&module(
        "(func $deep unreachable) (func $outer call $deep) (start $outer)",
    ))
    .to_string();
    assert!(
        fault.contains("`unreachable` instruction executed in deep < outer"),
        "{fault}"
    );
}

async fn prepare(world: &str) -> Compiled {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        cache_dir: dir.path().into(),
        compiler: Compiler::InProcess,
        limits: Limits::default(),
    };
    let runtime = Runtime::open(options).unwrap();
    runtime
        .prepare(fixture::component(world, fixture::SECTION).into())
        .await
        .unwrap()
}

/// Components with every export there is and a trap behind each: they link, and their first call is the one to fail.
#[tokio::test]
async fn each_world_links_and_its_first_call_is_judged() {
    for (world, explains) in [("scheduler", false), ("explaining-scheduler", true)] {
        let compiled = prepare(world).await;
        assert_eq!(compiled.manifest().explains, explains);
        let fault = SchedulerPlugin::start(&compiled, "{}").await.unwrap_err();
        assert_eq!((fault.reason(), fault.call), ("trap", "describe"), "{fault}");
        assert_eq!(compiled.stats().faults, [("trap", 1)].into());
    }
    first_call_is_judged::<Volumes>("volume").await;
    first_call_is_judged::<Images>("image").await;
    first_call_is_judged::<Machines>("machine").await;
    first_call_is_judged::<Networks>("network").await;
}

async fn first_call_is_judged<K: Hosted>(world: &str) {
    let fault = DriverPlugin::<K>::start(&prepare(world).await, "{}").await.unwrap_err();
    assert_eq!((fault.reason(), fault.call), ("trap", "configure"), "{fault}");
}
