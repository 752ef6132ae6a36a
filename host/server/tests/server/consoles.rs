//! Consoles and screens through the manager, with a data port of this test's that echoes.

use reqwest::Method;
use symphony_api::client::{ConsoleEnd, Said};
use symphony_api::{ClientError, Code};
use symphony_core::condition::Conditions;
use symphony_core::counter::Generation;
use symphony_core::id::MachineId;
use symphony_core::machine::{
    FirstBoot, Machine, MachinePhase, MachinePlacement, MachineSize, MachineSpec, MachineStatus, RestartPolicy, Wishes,
};
use symphony_core::meta::Meta;
use symphony_core::plan::machine::{CpuMode, Power};
use symphony_core::volume::Decider;
use symphony_core::{Timestamp, keys, record};
use symphony_server::Limits;
use symphony_store::StoreExt as _;
use uuid::Uuid;

use crate::harness::Harness;

const MACHINES: &str = "/v1/projects/default/machines";

/// Puts a machine on record, as the loops do.
async fn machine(harness: &Harness, name: &str, phase: MachinePhase, node: Option<&str>) -> Machine {
    let now = Timestamp::from_second(1).unwrap();
    let size = MachineSize::new(1, 64 << 20).unwrap();
    let placement = node.map(|node| MachinePlacement {
        node: node.parse().unwrap(),
        claimed: size,
        decided_by: Decider {
            name: "simulated".into(),
            version: "1".into(),
            digest: None,
            instead_of: None,
        },
        score: 1.0,
        decided_at: now,
    });
    let machine = Machine {
        meta: Meta::new(
            MachineId::new(Uuid::now_v7()),
            "default".parse().unwrap(),
            name.parse().unwrap(),
            "".parse().unwrap(),
            now,
        ),
        spec: MachineSpec {
            size,
            cpu_mode: CpuMode::Automatic,
            hugepages: false,
            power: Power::On,
            boots: 1,
            restart: RestartPolicy::Always,
            volumes: Vec::new(),
            ports: Vec::new(),
            first_boot: FirstBoot::default(),
            wishes: Wishes::default(),
        },
        placement,
        status: MachineStatus {
            tenure: symphony_core::counter::Tenure(1),
            moving: false,
            phase,
            observed_generation: Generation(1),
            conditions: Conditions::default(),
            ..MachineStatus::pending()
        },
    };
    let key = keys::machine(&machine.meta.project, &machine.meta.name);
    harness
        .store
        .put(key.clone(), record::encode(&machine).unwrap())
        .await
        .unwrap();
    harness
        .store
        .put(keys::machine_id(machine.meta.id), key.into_bytes())
        .await
        .unwrap();
    machine
}

async fn bytes(console: &mut symphony_api::client::Console) -> Vec<u8> {
    match console.output.next().await.unwrap() {
        Said::Bytes(bytes) => bytes.to_vec(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_console_is_carried_both_ways_to_its_end() {
    let harness = Harness::start().await;
    let machine = machine(&harness, "web1", MachinePhase::Running, Some("n1")).await;
    let client = harness.client();
    for name in ["web1".to_owned(), machine.meta.id.to_string()] {
        let mut console = client.console(&name).await.unwrap();
        // The data port says whom it was asked for.
        assert_eq!(
            bytes(&mut console).await,
            format!("console of {}", machine.meta.id).into_bytes()
        );
        console.input.send(b"hello").await.unwrap();
        assert_eq!(bytes(&mut console).await, b"hello");
        let long = vec![b'x'; 100_000];
        console.input.send(&long).await.unwrap();
        let mut echoed = Vec::new();
        while echoed.len() < long.len() {
            echoed.extend(bytes(&mut console).await);
        }
        assert_eq!(echoed, long);
        console.input.send(b"exit").await.unwrap();
        assert_eq!(console.output.next().await.unwrap(), Said::Ended(ConsoleEnd::Off));
    }
    assert_eq!(client.console_log("web1").await.unwrap(), b"kept\r\n\xff");
    harness.stop().await;
}

#[tokio::test]
async fn a_goodbye_of_the_client_reaches_the_node() {
    let harness = Harness::start().await;
    machine(&harness, "web1", MachinePhase::Running, Some("n1")).await;
    let mut console = harness.client().console("web1").await.unwrap();
    bytes(&mut console).await;
    console.input.close().await;
    drop(console.output);
    let mut gone = harness.data.gone.subscribe();
    gone.wait_for(|gone| *gone == 1).await.unwrap();
    // One that only breaks off does too.
    let console = harness.client().console("web1").await.unwrap();
    drop(console);
    gone.wait_for(|gone| *gone == 2).await.unwrap();
    harness.stop().await;
}

#[tokio::test]
async fn what_is_not_running_has_no_console() {
    let harness = Harness::start().await;
    let client = harness.client();
    let code = async |name: &str| match client.console(name).await {
        Ok(_) => panic!("{name} has a console"),
        Err(ClientError::Problem(problem)) => (problem.code, problem.detail.clone()),
        Err(other) => panic!("{other:?}"),
    };
    for missing in ["web1", "..", "01890a5d-ac96-774b-bcce-b302099a8057"] {
        assert_eq!(code(missing).await.0, Code::NotFound, "{missing}");
    }
    machine(&harness, "new", MachinePhase::Pending, None).await;
    let (refused, why) = code("new").await;
    assert_eq!(
        (refused, &why[..]),
        (
            Code::WrongPower,
            "machine new has no console now: it is waiting for a node"
        )
    );
    machine(&harness, "off", MachinePhase::Stopped, Some("n1")).await;
    let (refused, why) = code("off").await;
    assert_eq!(
        (refused, &why[..]),
        (Code::WrongPower, "machine off has no console now: it is off")
    );
    // What it said is kept all the same; of one that is nowhere there is nothing.
    assert_eq!(client.console_log("off").await.unwrap(), b"kept\r\n\xff");
    assert_eq!(
        client.console_log("new").await.unwrap_err().code(),
        Some(Code::WrongPower)
    );
    assert_eq!(
        client.console_log("none").await.unwrap_err().code(),
        Some(Code::NotFound)
    );
    // On record it runs; its node knows better, or can't be asked.
    machine(&harness, "web1", MachinePhase::Running, Some("n1")).await;
    for (refusal, expected) in [
        ((409, "off"), Code::WrongPower),
        ((404, "not-found"), Code::WrongPower),
        ((429, "busy"), Code::TooManyRequests),
        ((500, "internal"), Code::Internal),
    ] {
        *harness.data.refusal.lock().unwrap() = Some(refusal);
        assert_eq!(code("web1").await.0, expected);
        assert_eq!(client.console_log("web1").await.unwrap_err().code(), Some(expected));
    }
    machine(&harness, "far", MachinePhase::Running, Some("n2")).await;
    let (refused, why) = code("far").await;
    assert!(refused == Code::NotReady && why.contains("node n2"), "{why}");
    *harness.loops.image_service.lock().unwrap() = Some(("n2".parse().unwrap(), "http://127.0.0.1:1".into()));
    assert_eq!(code("far").await.0, Code::NotReady);
    harness.stop().await;
}

#[tokio::test]
async fn only_a_websocket_is_one() {
    let harness = Harness::start().await;
    machine(&harness, "web1", MachinePhase::Running, Some("n1")).await;
    for what in ["console", "screen"] {
        let plain = harness.ask(Method::GET, &format!("{MACHINES}/web1/{what}"));
        harness.refused(plain).await.at(Code::InvalidArgument, "Upgrade");
        let old = harness.ask(Method::GET, &format!("{MACHINES}/web1/{what}"));
        let old = old
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "WebSocket");
        let old = old.header("sec-websocket-version", "8");
        harness
            .refused(old)
            .await
            .at(Code::InvalidArgument, "Sec-WebSocket-Version");
        let keyless = harness.ask(Method::GET, &format!("{MACHINES}/web1/{what}"));
        let keyless = keyless.header("connection", "Upgrade").header("upgrade", "websocket");
        let keyless = keyless.header("sec-websocket-version", "13");
        harness
            .refused(keyless)
            .await
            .at(Code::InvalidArgument, "Sec-WebSocket-Key");
    }
    let screen = harness
        .ask(Method::GET, &format!("{MACHINES}/web1/screen"))
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", "binary")
        .send()
        .await
        .unwrap();
    assert_eq!(screen.status(), 101);
    assert_eq!(screen.headers()["sec-websocket-protocol"], "binary");
    // The one of RFC 6455.
    assert_eq!(screen.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    harness.stop().await;
}

#[tokio::test]
async fn consoles_are_counted_and_end_with_the_manager() {
    let limits = Limits {
        consoles: 2,
        ..Limits::default()
    };
    let harness = Harness::with(limits).await;
    machine(&harness, "web1", MachinePhase::Running, Some("n1")).await;
    let client = harness.client();
    let mut first = client.console("web1").await.unwrap();
    let second = client.console("web1").await.unwrap();
    let third = client.console("web1").await.map(drop).unwrap_err();
    assert_eq!(third.code(), Some(Code::TooManyRequests));
    // A refusal takes no place, and a place that is free can be had.
    drop(second);
    let again = async {
        loop {
            match client.console("web1").await {
                Ok(console) => return console,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let _fourth = again.await;
    bytes(&mut first).await;
    harness.stop().await;
    let lost = first.output.next().await;
    assert!(matches!(lost, Err(ClientError::ConsoleLost(_))), "{lost:?}");
}
