//! Where an image's bytes come from, and how many of them went by.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures_util::TryStreamExt as _;
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::StreamReader;

use crate::failure::Failure;

/// Bytes to send: a reader, and how many it has when that is known.
pub(crate) struct Source {
    reader: Pin<Box<dyn AsyncRead + Send>>,
    /// How many there are.
    pub(crate) total_bytes: Option<u64>,
    sent: Arc<AtomicU64>,
}

impl Source {
    fn new(reader: impl AsyncRead + Send + 'static, total_bytes: Option<u64>) -> Self {
        Self {
            reader: Box::pin(reader),
            total_bytes,
            sent: Arc::default(),
        }
    }

    /// A file, or stdin for `-`.
    pub(crate) async fn file(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            let stdin = std::io::stdin().as_fd().try_clone_to_owned();
            let stdin = stdin.map_err(|error| Failure::caused("could not read stdin", &error))?;
            return Ok(Self::new(File::from_std(stdin.into()), None));
        }
        let failed = |error: std::io::Error| Failure::caused(format!("could not read {}", path.display()), &error);
        let file = File::open(path).await.map_err(failed)?;
        let metadata = file.metadata().await.map_err(failed)?;
        if metadata.is_dir() {
            return Err(Failure::new(format!(
                "{} is a folder, not a disk image",
                path.display()
            )));
        }
        // A device or a pipe says nothing of its length.
        Ok(Self::new(file, metadata.is_file().then_some(metadata.len())))
    }

    /// What an http or https address gives.
    pub(crate) async fn url(url: &str) -> Result<Self, Failure> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(
                Failure::usage(format!("{url:?} is neither an http:// nor an https:// address")).hint(format!(
                    "fetch it with a tool that speaks it: curl -fsSL {url} | symphony image create NAME --file -"
                )),
            );
        }
        let failed = |error: reqwest::Error| Failure::caused(format!("could not fetch {url}"), &error);
        symphony_pki::allow_the_web();
        let answer = reqwest::get(url)
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(failed)?;
        let total = answer.content_length();
        Ok(Self::new(
            StreamReader::new(answer.bytes_stream().map_err(std::io::Error::other)),
            total,
        ))
    }

    /// Counts the bytes that were read so far.
    pub(crate) fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.sent)
    }
}

impl AsyncRead for Source {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = self.reader.as_mut().poll_read(cx, buffer);
        self.sent
            .fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn counts_what_went_by() {
        let mut source = Source::new(&b"twelve bytes"[..], Some(12));
        let counter = source.counter();
        let mut text = String::new();
        source.read_to_string(&mut text).await.unwrap();
        assert_eq!((text.as_str(), counter.load(Ordering::Relaxed)), ("twelve bytes", 12));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_said() {
        assert!(
            Source::file(Path::new("/"))
                .await
                .err()
                .unwrap()
                .message
                .contains("is a folder")
        );
        assert!(
            Source::file(Path::new("/nope/x"))
                .await
                .err()
                .unwrap()
                .message
                .contains("/nope/x")
        );
        let other = Source::url("ftp://example.org/disk").await.err().unwrap();
        assert_eq!(other.exit, crate::Exit::Usage);
        assert!(other.hint.unwrap().contains("curl"));
    }
}
