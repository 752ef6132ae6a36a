//! An image service that misbehaves as it is told, one connection after the other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::cluster;

/// What one connection gets. When the list is over: [`Reply::All`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply {
    /// What was asked for.
    All,
    /// As many bytes, then the end.
    Cut(usize),
    /// All of them, one changed.
    Flip(usize),
    /// The range is not looked at.
    Whole,
    /// Another part than was asked for.
    WrongPart,
    /// Bytes behind the end.
    Longer,
    /// Only a status.
    Status(u16),
}

pub(crate) struct Service {
    pub(crate) url: String,
    replies: Arc<Mutex<VecDeque<Reply>>>,
    ranges: Arc<Mutex<Vec<u64>>>,
}

impl Service {
    pub(crate) async fn start(bytes: Vec<u8>, replies: &[Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let acceptor = TlsAcceptor::from(cluster::tls(&cluster::node("images")).server_config());
        let replies: Arc<Mutex<VecDeque<_>>> = Arc::new(Mutex::new(replies.iter().copied().collect()));
        let ranges: Arc<Mutex<Vec<_>>> = Arc::default();
        tokio::spawn({
            let (bytes, replies, ranges) = (Arc::new(bytes), Arc::clone(&replies), Arc::clone(&ranges));
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (bytes, replies, ranges) = (Arc::clone(&bytes), Arc::clone(&replies), Arc::clone(&ranges));
                    let acceptor = acceptor.clone();
                    tokio::spawn(async move {
                        let stream = acceptor.accept(stream).await.unwrap();
                        let peer = symphony_pki::peer_identity(stream.get_ref().1);
                        assert_eq!(peer.unwrap().0, cluster::node(cluster::NODE), "a node shows who it is");
                        serve(stream, &bytes, &replies, &ranges).await;
                    });
                }
            }
        });
        Self { url, replies, ranges }
    }

    /// From which byte on each connection asked.
    pub(crate) fn ranges(&self) -> Vec<u64> {
        self.ranges.lock().unwrap().clone()
    }

    pub(crate) fn next(&self, replies: &[Reply]) {
        self.replies.lock().unwrap().extend(replies);
    }
}

async fn serve(stream: TlsStream<TcpStream>, bytes: &[u8], replies: &Mutex<VecDeque<Reply>>, ranges: &Mutex<Vec<u64>>) {
    let mut stream = BufReader::new(stream);
    let mut from = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim().to_ascii_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse::<usize>().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    ranges.lock().unwrap().push(from as u64);
    let reply = replies.lock().unwrap().pop_front().unwrap_or(Reply::All);
    let rest = bytes.get(from..).unwrap_or_default();
    let part = |start: usize, count: usize| {
        let (end, total) = (start + count.max(1) - 1, bytes.len());
        format!("206 Partial Content\r\nContent-Range: bytes {start}-{end}/{total}\r\nContent-Length: {count}")
    };
    let (head, body) = match reply {
        Reply::All => (part(from, rest.len()), rest.to_vec()),
        Reply::Cut(count) => (part(from, rest.len()), rest[..count.min(rest.len())].to_vec()),
        Reply::Flip(at) => {
            let mut body = rest.to_vec();
            body[at] ^= 1;
            (part(from, rest.len()), body)
        }
        Reply::Whole => (format!("200 OK\r\nContent-Length: {}", bytes.len()), bytes.to_vec()),
        Reply::WrongPart => (part(from + 1, rest.len() - 1), rest[1..].to_vec()),
        Reply::Longer => {
            let body = [rest, b"more"].concat();
            (part(from, body.len()), body)
        }
        Reply::Status(status) => (format!("{status} No\r\nContent-Length: 0"), Vec::new()),
    };
    let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&body).await;
    let _ = stream.shutdown().await;
}
