//! Consoles and screens on the data port, with a socket of this test's in the place of QEMU's.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use symphony_agent::Notices;
use symphony_agent::data::{DataPort, Revoked};
use symphony_compute::{HISTORY_BYTES_MAX, INPUT_BYTES_MAX, Machines, VIEWERS_MAX, routes};
use symphony_core::plan::machine::Hypervisor;
use symphony_pki::{Authority, Credentials, Expect, Identity, LIFE, MemberKey, Tls};
use symphony_protocol::data::{DataError, MACHINES_PATH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::sync::CancellationToken;

use super::lab::{HANGS, MACHINE, OTHER, machines};

/// A data port that serves the machines of a folder.
pub(super) struct Port {
    url: String,
    /// The manager that asks it.
    manager: Tls,
    end: CancellationToken,
}

/// A viewer, from the data port's other side.
#[derive(Debug)]
pub(super) struct Viewer(WebSocketStream<TlsStream<TcpStream>>);

fn member(authority: &Authority, identity: &Identity) -> Tls {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let key = MemberKey::make().unwrap();
    let issued = authority
        .issue(&key.csr_pem().unwrap(), identity, &[], now, LIFE)
        .unwrap();
    Tls::new(&Credentials::new(&key.to_pem(), &issued.cert_pem, &authority.roots_pem()).unwrap()).unwrap()
}

impl Port {
    pub(super) async fn serve(machines: Arc<Machines>) -> Self {
        let authority = Authority::make(uuid::Uuid::from_u128(7), 0).unwrap();
        let cluster = authority.cluster();
        let own = member(&authority, &Identity::node(cluster, "n1"));
        let manager = member(&authority, &Identity::manager(cluster, "m1"));
        let port = DataPort::bind("127.0.0.1:0", &["127.0.0.1:1"]).await.unwrap();
        let (url, end) = (port.url().to_owned(), CancellationToken::new());
        let ended = end.clone();
        tokio::spawn(async move { port.serve(routes(machines), &own, Revoked::default(), ended).await });
        Self { url, manager, end }
    }

    /// As a manager connects: consoles are upgraded connections.
    fn tls(&self) -> rustls::ClientConfig {
        let mut config = self.manager.client_config(Expect::Node("n1".to_owned()));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }

    /// The status, and the error's code when it is one.
    async fn get(&self, machine: &str, what: &str) -> (u16, String, Vec<u8>) {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls())
            .no_proxy()
            .build()
            .unwrap();
        let url = format!("{}{MACHINES_PATH}{machine}/{what}", self.url);
        let answer = client.get(url).send().await.unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.unwrap().to_vec();
        let code = serde_json::from_slice::<DataError>(&bytes).map_or_else(|_| String::new(), |error| error.code);
        (status, code, bytes)
    }

    pub(super) async fn log(&self, machine: &str) -> Vec<u8> {
        let (status, _, bytes) = self.get(machine, "console/log").await;
        assert_eq!(status, 200);
        bytes
    }

    /// Opens a WebSocket, or gives the status and code of the refusal.
    async fn open(&self, machine: &str, what: &str, protocol: Option<&str>) -> Result<Viewer, (u16, String)> {
        let address = self.url.strip_prefix("https://").unwrap();
        let mut request = format!("ws://{address}{MACHINES_PATH}{machine}/{what}")
            .into_client_request()
            .unwrap();
        let headers = request.headers_mut();
        if let Some(protocol) = protocol {
            headers.insert("sec-websocket-protocol", protocol.parse().unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
        let stream = TlsConnector::from(Arc::new(self.tls()))
            .connect(name, stream)
            .await
            .unwrap();
        match client_async(request, stream).await {
            Ok((socket, answer)) => {
                let given = answer.headers().get("sec-websocket-protocol");
                assert_eq!(given.map(|given| given.to_str().unwrap()), protocol);
                Ok(Viewer(socket))
            }
            Err(Error::Http(answer)) => {
                let body = answer.body().clone().unwrap_or_default();
                let code =
                    serde_json::from_slice::<DataError>(&body).map_or_else(|_| String::new(), |error| error.code);
                Err((answer.status().as_u16(), code))
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    /// Waits until a machine that died is refused: its sockets go one after another.
    pub(super) async fn is_off(&self, machine: &str) {
        let off = async {
            while self.open(machine, "console", None).await.err() != Some((409, "off".to_owned())) {
                tokio::task::yield_now().await;
            }
        };
        timeout(HANGS, off).await.unwrap();
    }

    pub(super) async fn refusal(&self, machine: &str, what: &str) -> (u16, String) {
        self.open(machine, what, None).await.expect_err("a refusal")
    }

    pub(super) async fn screen(&self, machine: &str) -> Viewer {
        self.open(machine, "screen", Some("binary")).await.expect("a screen")
    }

    pub(super) async fn console(&self, machine: &str) -> Viewer {
        self.open(machine, "console", None)
            .await
            .map_err(|why| panic!("{why:?}"))
            .unwrap()
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Viewer {
    pub(super) async fn say(&mut self, bytes: &[u8]) {
        self.0.send(Message::Binary(bytes.to_vec().into())).await.unwrap();
    }

    async fn next(&mut self) -> Message {
        timeout(HANGS, self.0.next()).await.unwrap().unwrap().unwrap()
    }

    /// Adds what is said, until these words are in it.
    pub(super) async fn hear(&mut self, said: &mut Vec<u8>, words: &str) {
        while !String::from_utf8_lossy(said).contains(words) {
            match self.next().await {
                Message::Binary(bytes) => said.extend_from_slice(&bytes),
                Message::Ping(_) => {}
                other => panic!("{other:?} before {words:?}: {}", String::from_utf8_lossy(said)),
            }
        }
    }

    /// What it is closed with, and what was said before.
    pub(super) async fn end(&mut self) -> (CloseCode, String, Vec<u8>) {
        let mut said = Vec::new();
        loop {
            match self.next().await {
                Message::Binary(bytes) => said.extend_from_slice(&bytes),
                Message::Close(Some(frame)) => return (frame.code, frame.reason.to_string(), said),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The guest's end of the console; the machine is known because it has a folder.
struct Guest {
    serial: UnixListener,
    screen: UnixListener,
}

impl Guest {
    fn new(top: &Path) -> Self {
        let folder = top.join("machines").join(MACHINE);
        std::fs::create_dir_all(&folder).unwrap();
        Self {
            serial: UnixListener::bind(folder.join("serial.sock")).unwrap(),
            screen: UnixListener::bind(folder.join("vnc.sock")).unwrap(),
        }
    }

    async fn connected(listener: &UnixListener) -> UnixStream {
        timeout(HANGS, listener.accept()).await.unwrap().unwrap().0
    }
}

async fn port(top: &Path) -> (Port, Notices) {
    let (sink, notices) = symphony_agent::notices();
    let machines = machines(top, "test:///default", Hypervisor::Test).telling(sink);
    (Port::serve(Arc::new(machines)).await, notices)
}

#[tokio::test]
async fn viewers_hear_the_same_and_are_told_the_end() {
    let top = tempfile::tempdir().unwrap();
    let guest = Guest::new(top.path());
    let (port, mut notices) = port(top.path()).await;
    let mut first = port.console(MACHINE).await;
    let mut serial = Guest::connected(&guest.serial).await;
    serial.write_all(b"before ").await.unwrap();
    let (mut one, mut two) = (Vec::new(), Vec::new());
    first.hear(&mut one, "before ").await;
    // The second one comes late, and misses nothing.
    let mut second = port.console(MACHINE).await;
    serial.write_all(b"after").await.unwrap();
    first.hear(&mut one, "after").await;
    second.hear(&mut two, "after").await;
    assert_eq!((&one[..], &two[..]), (&b"before after"[..], &b"before after"[..]));
    // Both type; a message longer than the console takes at once arrives whole.
    let long = vec![b'x'; 3 * INPUT_BYTES_MAX];
    first.say(&long).await;
    let mut typed = vec![0; long.len()];
    serial.read_exact(&mut typed).await.unwrap();
    assert_eq!(typed, long);
    second.say(b"y").await;
    assert_eq!(serial.read_u8().await.unwrap(), b'y');
    // Its last word comes before its end.
    serial.write_all(b" the end").await.unwrap();
    drop(serial);
    for viewer in [&mut first, &mut second] {
        let (code, reason, said) = viewer.end().await;
        assert_eq!(
            (code, &reason[..], &said[..]),
            (CloseCode::Normal, "the machine is off", &b" the end"[..])
        );
    }
    let notice = timeout(HANGS, notices.next()).await.unwrap().unwrap();
    assert_eq!(notice.object, format!("machine/{MACHINE}"));
    assert_eq!(port.log(MACHINE).await, b"before after the end");
}

#[tokio::test]
async fn what_can_not_be_watched_is_refused() {
    let top = tempfile::tempdir().unwrap();
    let guest = Guest::new(top.path());
    let (port, _notices) = port(top.path()).await;
    for missing in [OTHER, "..", "x"] {
        for what in ["console", "screen"] {
            let refused = port.open(missing, what, None).await.err();
            assert!(refused.is_some_and(|(status, _)| status == 404), "{missing} {what}");
        }
        assert_eq!(port.get(missing, "console/log").await.0, 404, "{missing}");
    }
    // Not a WebSocket.
    for what in ["console", "screen"] {
        let (status, code, _) = port.get(MACHINE, what).await;
        assert_eq!((status / 100, &code[..]), (4, "bad-request"), "{what}");
    }
    let mut viewers = Vec::new();
    for _ in 0..VIEWERS_MAX {
        viewers.push(port.console(MACHINE).await);
    }
    for what in ["console", "screen"] {
        assert_eq!(
            port.open(MACHINE, what, None).await.err(),
            Some((429, "busy".to_owned()))
        );
    }
    // A place that is given back can be had.
    let gone = viewers.pop().unwrap();
    drop(gone);
    let again = async {
        while port.open(MACHINE, "console", None).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(HANGS, again).await.unwrap();
    drop((viewers, guest));
    let off = async {
        while port.open(MACHINE, "console", None).await.err() != Some((409, "off".to_owned())) {
            tokio::task::yield_now().await;
        }
    };
    timeout(HANGS, off).await.unwrap();
    assert_eq!(
        port.open(MACHINE, "screen", None).await.err(),
        Some((409, "off".to_owned()))
    );
    assert_eq!(port.log(MACHINE).await, b"");
}

#[tokio::test]
async fn a_slow_viewer_is_told_so_and_holds_up_nobody() {
    let top = tempfile::tempdir().unwrap();
    let guest = Guest::new(top.path());
    let (port, _notices) = port(top.path()).await;
    let mut slow = port.console(MACHINE).await;
    let mut fast = port.console(MACHINE).await;
    let mut serial = Guest::connected(&guest.serial).await;
    // More than all the sockets and queues between can hold.
    let line = [b'z'; 4096];
    let heard = Cell::new(0);
    let lines = 16 << 10;
    let talk = async {
        for count in 0..lines {
            // The fast one keeps up, however busy this node is.
            while count * line.len() > heard.get() + (128 << 10) {
                tokio::task::yield_now().await;
            }
            serial.write_all(&line).await.unwrap();
        }
        serial.write_all(b"!").await.unwrap();
    };
    let listen = async {
        loop {
            match fast.next().await {
                Message::Binary(bytes) => {
                    heard.set(heard.get() + bytes.len());
                    if bytes.last() == Some(&b'!') {
                        return;
                    }
                }
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    timeout(HANGS, async { tokio::join!(talk, listen) }).await.unwrap();
    assert_eq!(heard.get(), lines * line.len() + 1);
    let (code, reason, said) = slow.end().await;
    assert_eq!(code, CloseCode::Policy);
    assert!(reason.contains("too slow") && reason.contains("pieces"), "{reason}");
    assert!(said.len() < heard.get());
    // Who comes now gets the end of it, and no more than that.
    let mut late = port.console(MACHINE).await;
    let Message::Binary(history) = late.next().await else {
        panic!("no history")
    };
    assert_eq!((history.len(), history.last()), (HISTORY_BYTES_MAX, Some(&b'!')));
}

#[tokio::test]
async fn a_screen_is_carried_both_ways() {
    let top = tempfile::tempdir().unwrap();
    let guest = Guest::new(top.path());
    let (port, _notices) = port(top.path()).await;
    let mut viewer = port.open(MACHINE, "screen", Some("binary")).await.ok().unwrap();
    let mut vnc = Guest::connected(&guest.screen).await;
    vnc.write_all(b"RFB 003.008\n").await.unwrap();
    let mut said = Vec::new();
    viewer.hear(&mut said, "RFB 003.008\n").await;
    viewer.say(b"RFB 003.003\n").await;
    let mut heard = [0; 12];
    vnc.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"RFB 003.003\n");
    drop(vnc);
    assert_eq!(viewer.end().await.0, CloseCode::Normal);
    // A viewer that goes takes its connection with it.
    let other = port.open(MACHINE, "screen", None).await.ok().unwrap();
    let mut vnc = Guest::connected(&guest.screen).await;
    drop(other);
    assert_eq!(timeout(HANGS, vnc.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
}
