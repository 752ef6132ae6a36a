//! The rest of a body that nobody wanted.
//!
//! A client of HTTP/1 that is still sending when the answer comes may find its connection reset, and lose the answer with
//! it. So what is left of a refused body is read and thrown away for a while: enough for one that is a little too large,
//! never for one that has no end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{Version, header};
use bytes::Bytes;
use futures_util::StreamExt as _;
use hyper::body::{Frame, SizeHint};
use tokio::runtime::Handle;

/// Bytes that are thrown away at most.
const BYTES_MAX: usize = 16 << 20;
/// For how long.
const TIME_MAX: Duration = Duration::from_secs(2);

/// A body whose rest is thrown away when it is dropped before its end.
struct Lingering {
    body: Body,
    ended: bool,
}

/// Lets a request's body linger, where that is of use: HTTP/2 has a way to say "no more", and a client that asked first
/// (`Expect`) has not begun to send.
pub(crate) fn linger(request: Request) -> Request {
    let asked_first = request.headers().contains_key(header::EXPECT);
    if request.version() == Version::HTTP_2 || asked_first || request.body().is_end_stream() {
        return request;
    }
    request.map(|body| Body::new(Lingering { body, ended: false }))
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.ended = true;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if !self.ended
            && !self.body.is_end_stream()
            && let Ok(runtime) = Handle::try_current()
        {
            let body = std::mem::take(&mut self.body);
            runtime.spawn(tokio::time::timeout(TIME_MAX, throw_away(body)));
        }
    }
}

async fn throw_away(body: Body) {
    let mut pieces = body.into_data_stream();
    let mut thrown = 0;
    while let Some(Ok(piece)) = pieces.next().await {
        thrown += piece.len();
        if thrown > BYTES_MAX {
            return;
        }
    }
}
