//! The agents' sessions, over one HTTP/2 request each.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, Response};
use symphony_api::Code;
use symphony_core::counter::Epoch;
use symphony_protocol::{FRAME_BYTES_MAX, Heartbeat, Hello, PROTOCOL_VERSION, SESSION_PATH, ToAgent, ToManager};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::harness::{AGENT_TOKEN, Harness};

struct SimulatedAgent {
    up: mpsc::Sender<Result<Bytes, std::io::Error>>,
    down: Response,
    buffer: Vec<u8>,
}

impl SimulatedAgent {
    async fn connect(harness: &Harness, first: Vec<u8>) -> Self {
        let (up, pieces) = mpsc::channel(16);
        up.send(Ok(first.into())).await.unwrap();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(symphony_pki::trusting_nobody())
            .http2_prior_knowledge()
            .build()
            .unwrap();
        let request = http
            .post(format!("{}{SESSION_PATH}", harness.base))
            .bearer_auth(AGENT_TOKEN);
        let down = request
            .body(reqwest::Body::wrap_stream(ReceiverStream::new(pieces)))
            .send()
            .await
            .unwrap();
        Self {
            up,
            down,
            buffer: Vec::new(),
        }
    }

    async fn send(&self, frame: &ToManager) {
        self.up.send(Ok(line(frame).into())).await.unwrap();
    }

    /// The next frame that is no heartbeat; none at the end.
    async fn next(&mut self) -> Option<ToAgent> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                match serde_json::from_slice(&line).unwrap() {
                    ToAgent::Heartbeat => continue,
                    frame => return Some(frame),
                }
            }
            let piece = tokio::time::timeout(Duration::from_secs(30), self.down.chunk())
                .await
                .expect("something comes");
            self.buffer.extend_from_slice(&piece.ok().flatten()?);
        }
    }
}

fn line(frame: &ToManager) -> Vec<u8> {
    let mut line = serde_json::to_vec(frame).unwrap();
    line.push(b'\n');
    line
}

fn hello(protocol: u32) -> Vec<u8> {
    line(&ToManager::Hello(Hello {
        protocol,
        node: "n1".parse().unwrap(),
        version: "0.1.0".into(),
        roles: Vec::new(),
        pools: Vec::new(),
        compute: None,
        labels: Default::default(),
        data_url: "http://127.0.0.1:1".into(),
        underlay: None,
        fence_programs: Vec::new(),
        epoch_seen: Epoch(0),
        revision_seen: 0,
        admission: None,
    }))
}

#[tokio::test]
async fn frames_go_both_ways() {
    let harness = Harness::start().await;
    let mut agent = SimulatedAgent::connect(&harness, hello(PROTOCOL_VERSION)).await;
    assert!(matches!(agent.next().await, Some(ToAgent::Welcome(welcome)) if welcome.epoch == Epoch(3)));
    for calls in 0..100 {
        agent
            .send(&ToManager::Heartbeat(Heartbeat { calls, memory_bytes: 0 }))
            .await;
    }
    while harness.loops.heard.lock().unwrap().len() < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let heard = harness.loops.heard.lock().unwrap().clone();
    let in_order = heard
        .iter()
        .enumerate()
        .all(|(n, frame)| matches!(frame, ToManager::Heartbeat(beat) if beat.calls as usize == n));
    assert!(in_order);
    // The loops end it: another session took its place.
    harness.loops.to_agent.lock().unwrap().take();
    assert_eq!(agent.next().await, None);
    harness.stop().await;
}

#[tokio::test]
async fn an_agent_that_is_refused_is_told_why() {
    let harness = Harness::start().await;
    let mut agent = SimulatedAgent::connect(&harness, hello(99)).await;
    assert_eq!(agent.next().await, Some(ToAgent::Refused("another protocol".into())));
    assert_eq!(agent.next().await, None);
    for first in [
        "{}\n",
        "\"heartbeat\"\n",
        "{\"heartbeat\":{\"calls\":0,\"memory_bytes\":0}}\n",
        "",
    ] {
        let request = harness
            .bare(Method::POST, SESSION_PATH)
            .bearer_auth(AGENT_TOKEN)
            .body(first);
        harness.refused(request).await.is(Code::MalformedBody);
    }
    harness.stop().await;
}

#[tokio::test]
async fn what_is_no_frame_ends_the_session() {
    let harness = Harness::start().await;
    for wrong in [b"{\"hello\":1}\n".to_vec(), vec![b'x'; FRAME_BYTES_MAX + 1]] {
        let mut agent = SimulatedAgent::connect(&harness, hello(PROTOCOL_VERSION)).await;
        assert!(matches!(agent.next().await, Some(ToAgent::Welcome(_))));
        agent.up.send(Ok(wrong.into())).await.unwrap();
        assert!(matches!(agent.next().await, Some(ToAgent::Refused(_))));
        assert_eq!(agent.next().await, None);
    }
    harness.stop().await;
}

#[tokio::test]
async fn a_lost_agent_and_a_stopping_manager_end_it() {
    let harness = Harness::start().await;
    let agent = SimulatedAgent::connect(&harness, hello(PROTOCOL_VERSION)).await;
    let to_agent = harness.loops.to_agent.lock().unwrap().clone().unwrap();
    drop(agent);
    tokio::time::timeout(Duration::from_secs(30), to_agent.closed())
        .await
        .expect("the session is dropped");
    let mut agent = SimulatedAgent::connect(&harness, hello(PROTOCOL_VERSION)).await;
    assert!(matches!(agent.next().await, Some(ToAgent::Welcome(_))));
    harness.shutdown.cancel();
    assert_eq!(agent.next().await, None);
    harness.stop().await;
}
