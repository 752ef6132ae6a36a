//! Carries bytes between a client and a node, once both have switched to another protocol.

use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// How long the two may take to switch.
const SWITCH_MAX: Duration = Duration::from_secs(15);
/// How long a node may be silent, and either side take nothing: the node asks every 15 s whether the client is there.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// In each direction.
const BUFFER_BYTES: usize = 16 << 10;

/// Carries until one of them ends, or says nothing for too long.
pub(super) async fn carry(client: OnUpgrade, node: reqwest::Response) {
    let both = async { tokio::join!(client, node.upgrade()) };
    let (client, node) = match tokio::time::timeout(SWITCH_MAX, both).await {
        Ok((Ok(client), Ok(node))) => (client, node),
        Ok((Err(error), _)) => return tracing::debug!(%error, "a client did not switch protocols"),
        Ok((_, Err(error))) => return tracing::debug!(%error, "a node did not switch protocols"),
        Err(_) => return tracing::debug!("a protocol was not switched in time"),
    };
    let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
    let (from_node, to_node) = tokio::io::split(node);
    // The end of one direction is the end of both: before it, each side has said goodbye inside of its protocol.
    tokio::select! {
        () = one_way(from_node, to_client, Some(SILENCE_MAX)) => {}
        () = one_way(from_client, to_node, None) => {}
    }
}

async fn one_way(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, silence: Option<Duration>) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer);
        let read = match silence {
            Some(silence) => tokio::time::timeout(silence, read).await,
            None => Ok(read.await),
        };
        let Ok(Ok(length @ 1..)) = read else { break };
        let write = async {
            to.write_all(&buffer[..length]).await?;
            to.flush().await
        };
        if !matches!(tokio::time::timeout(SILENCE_MAX, write).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = tokio::time::timeout(SWITCH_MAX, to.shutdown()).await;
}
