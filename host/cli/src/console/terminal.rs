//! This side of a console: the terminal, or the pipes in its place. Two threads of their own read and write, for both
//! can stand still for ever, and must not hold the process back then.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use bytes::Bytes;
use rustix::termios::{self, OptionalActions, Termios};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::keys::DetachKey;

/// Pieces that wait for the other side.
const QUEUE: usize = 16;
const READ_BYTES: usize = 4 << 10;

/// A terminal that gives every key as it comes; as it was before once this is dropped, at a panic as well.
#[derive(Debug)]
pub(super) struct Raw(Termios);

impl Raw {
    /// Makes the terminal on stdin raw; nothing when there is none.
    pub(super) fn enter() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = termios::tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // There is nobody to tell when even that fails.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
        let _ = writeln!(io::stderr());
    }
}

/// What is typed, or comes from a pipe. Ends with stdin, and with the key, which cancels `detached` too.
pub(super) fn typed(key: DetachKey, detached: CancellationToken) -> io::Result<mpsc::Receiver<Bytes>> {
    let (queue, typed) = mpsc::channel(QUEUE);
    let read = move || {
        let mut piece = vec![0; READ_BYTES];
        loop {
            let length = match io::stdin().read(&mut piece) {
                Ok(0) => return,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let typed = key.scan(&piece[..length]);
            if !typed.bytes.is_empty() && queue.blocking_send(Bytes::copy_from_slice(typed.bytes)).is_err() {
                return;
            }
            if typed.detached {
                detached.cancel();
                return;
            }
        }
    };
    std::thread::Builder::new().name("stdin".to_owned()).spawn(read)?;
    Ok(typed)
}

/// A thread that writes to stdout.
pub(super) struct Printer {
    queue: mpsc::Sender<Bytes>,
    done: oneshot::Receiver<io::Result<()>>,
}

impl Printer {
    pub(super) fn start() -> io::Result<Self> {
        let (queue, mut pieces) = mpsc::channel::<Bytes>(QUEUE);
        let (tell, done) = oneshot::channel();
        let write = move || {
            let mut out = io::stdout().lock();
            let mut result = Ok(());
            while result.is_ok()
                && let Some(piece) = pieces.blocking_recv()
            {
                result = out.write_all(&piece).and_then(|()| out.flush());
            }
            // Nobody asks any more when the process ends by a signal.
            let _ = tell.send(result);
        };
        std::thread::Builder::new().name("stdout".to_owned()).spawn(write)?;
        Ok(Self { queue, done })
    }

    /// Has a piece written; false when stdout takes no more.
    pub(super) async fn print(&self, piece: Bytes) -> bool {
        self.queue.send(piece).await.is_ok()
    }

    /// Waits until all is written.
    pub(super) async fn finish(self) -> io::Result<()> {
        drop(self.queue);
        self.done.await.unwrap_or(Ok(()))
    }
}
