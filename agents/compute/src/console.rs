//! A machine's serial console: the one client of its socket. What the guest says goes to a bounded log and to whoever
//! watches; what watchers type goes to the guest. Never starts or stops a machine.

mod log;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symphony_agent::NoticeSink;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use self::log::Log;

/// Pieces of output that a slow watcher may be behind before it loses some.
const WATCHER_BEHIND: usize = 256;
/// Pieces of input that wait for the guest.
const INPUT_QUEUE: usize = 64;
/// Largest piece of input, in bytes.
pub const INPUT_BYTES_MAX: usize = 4096;
const READ_BYTES: usize = 4096;
/// Viewers of one machine at once, at its console and its screen together.
pub const VIEWERS_MAX: usize = 16;

/// Input did not go to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// The machine is off.
    #[error("the machine has no console now")]
    Off,
    /// The guest does not read what it got.
    #[error("the guest does not take more input now")]
    Full,
    /// More than [`INPUT_BYTES_MAX`] at once.
    #[error("too much input at once")]
    TooLong,
}

/// What a watcher gets: what was said so far (the log's end, at most 256 KiB), and what is said
/// from then on, without a gap between them.
#[derive(Debug)]
pub struct View {
    /// What was said so far.
    pub history: Vec<u8>,
    /// What is said from then on. A watcher that is too slow is told how much it lost.
    pub output: broadcast::Receiver<Arc<[u8]>>,
    /// Cancelled when the machine that was running has ended, after its last word; from the beginning when none was.
    pub ended: CancellationToken,
}

/// The connection to a machine that runs.
#[derive(Debug)]
struct Line {
    input: mpsc::Sender<Vec<u8>>,
    ended: CancellationToken,
}

/// One machine's console. It stays while the machine goes off and on.
#[derive(Debug)]
pub struct Console {
    socket: PathBuf,
    output: broadcast::Sender<Arc<[u8]>>,
    /// Held while something is logged and told, so that a view has no gap.
    log: Mutex<Log>,
    /// To the guest; of the last run when it is off.
    line: Mutex<Option<Line>>,
    /// Held while it is being connected: the socket takes one client, and a second one would wait in vain.
    connecting: tokio::sync::Mutex<()>,
    viewers: Arc<Semaphore>,
    /// Told when the machine ends, and by which name.
    notice: Option<(NoticeSink, String)>,
}

impl Console {
    /// A console that is not connected yet.
    pub(crate) fn new(folder: &Path, socket: PathBuf, notice: Option<(NoticeSink, String)>) -> Arc<Self> {
        let (output, _) = broadcast::channel(WATCHER_BEHIND);
        let log = Mutex::new(Log::new(folder));
        Arc::new(Self {
            socket,
            output,
            log,
            line: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            viewers: Arc::new(Semaphore::new(VIEWERS_MAX)),
            notice,
        })
    }

    /// What was said so far, and a way to hear the rest.
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn view(&self) -> io::Result<View> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let history = log.read()?;
        let line = self.line();
        let ended = line.as_ref().map(|line| line.ended.clone()).unwrap_or_else(|| {
            let never = CancellationToken::new();
            never.cancel();
            never
        });
        Ok(View {
            history,
            output: self.output.subscribe(),
            ended,
        })
    }

    /// A place among the viewers, held as long as the permit; nothing when there are [`VIEWERS_MAX`].
    pub(crate) fn seat(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.viewers).try_acquire_owned().ok()
    }

    /// Sends the guest something, as if it was typed.
    ///
    /// # Errors
    /// When the machine is off, or the guest reads too slowly.
    pub fn input(&self, bytes: Vec<u8>) -> Result<(), InputError> {
        if bytes.len() > INPUT_BYTES_MAX {
            return Err(InputError::TooLong);
        }
        let line = self.line();
        let sent = line.as_ref().ok_or(InputError::Off)?.input.try_send(bytes);
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => InputError::Full,
            mpsc::error::TrySendError::Closed(_) => InputError::Off,
        })
    }

    /// Waits until the guest takes more: at most [`INPUT_BYTES_MAX`]. Dropping the future gives the place back.
    pub(crate) async fn room(&self) -> Result<mpsc::OwnedPermit<Vec<u8>>, InputError> {
        let input = self.line().as_ref().map(|line| line.input.clone());
        let room = input.ok_or(InputError::Off)?.reserve_owned().await;
        room.map_err(|_| InputError::Off)
    }

    /// Whether it is connected to a running machine.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.line().as_ref().is_some_and(|line| !line.input.is_closed())
    }

    fn line(&self) -> MutexGuard<'_, Option<Line>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects to the machine's socket, unless it is connected; from then on it runs by itself until the machine ends.
    pub(crate) async fn connect(self: &Arc<Self>) -> io::Result<()> {
        let _connecting = self.connecting.lock().await;
        if self.is_connected() {
            return Ok(());
        }
        let stream = UnixStream::connect(&self.socket).await?;
        let (input, queue) = mpsc::channel(INPUT_QUEUE);
        let ended = CancellationToken::new();
        *self.line() = Some(Line {
            input,
            ended: ended.clone(),
        });
        tokio::spawn(Arc::clone(self).carry(stream, queue, ended));
        Ok(())
    }

    /// Carries both directions until the machine's end closes. The queue ends with it: the console is off then.
    async fn carry(self: Arc<Self>, stream: UnixStream, mut queue: mpsc::Receiver<Vec<u8>>, ended: CancellationToken) {
        let (mut from, mut to) = stream.into_split();
        let output = async {
            let mut piece = vec![0; READ_BYTES];
            while let Ok(length @ 1..) = from.read(&mut piece).await {
                self.said(&piece[..length]);
            }
        };
        let input = async {
            while let Some(bytes) = queue.recv().await {
                if to.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            // The output says when it is over.
            std::future::pending::<()>().await;
        };
        tokio::select! { () = output => {}, () = input => {} }
        // Whoever is told finds it off.
        drop(queue);
        ended.cancel();
        if let Some((sink, object)) = &self.notice {
            sink.notice(object.clone());
        }
    }

    fn said(&self, piece: &[u8]) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not stop the guest: it is told to those who watch all the same.
        if let Err(error) = log.append(piece) {
            tracing::warn!(%error, socket = %self.socket.display(), "the console's log was not written");
        }
        // Nobody may be watching.
        let _ = self.output.send(piece.into());
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn input_has_limits_and_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("serial.sock");
        let (sink, mut notices) = symphony_agent::notices();
        let console = Console::new(folder.path(), socket.clone(), Some((sink, "machine/m".to_owned())));
        assert_eq!(console.input(vec![0]), Err(InputError::Off));
        assert_eq!(console.input(vec![0; INPUT_BYTES_MAX + 1]), Err(InputError::TooLong));
        assert!(console.connect().await.is_err());
        let listener = UnixListener::bind(&socket).unwrap();
        console.connect().await.unwrap();
        console.connect().await.unwrap();
        let (guest, _) = listener.accept().await.unwrap();
        // The guest reads nothing: what waits for it is bounded, and so is what the kernel holds.
        let mut refused = Ok(());
        for _ in 0..10_000 {
            refused = console.input(vec![0; INPUT_BYTES_MAX]);
            if refused.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(refused, Err(InputError::Full));
        let view = console.view().unwrap();
        assert!(!view.ended.is_cancelled());
        drop((guest, listener));
        view.ended.cancelled().await;
        assert!(!console.is_connected());
        assert_eq!(notices.next().await.unwrap().object, "machine/m");
        assert_eq!(console.input(vec![0]), Err(InputError::Off));
    }

    #[tokio::test]
    async fn a_view_has_no_gap_and_a_slow_one_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let console = Console::new(folder.path(), folder.path().join("serial.sock"), None);
        assert!(console.view().unwrap().ended.is_cancelled());
        console.said(b"before");
        let mut view = console.view().unwrap();
        console.said(b"after");
        assert_eq!(view.history, b"before");
        assert_eq!(&*view.output.recv().await.unwrap(), b"after");
        for _ in 0..=WATCHER_BEHIND {
            console.said(b"x");
        }
        let lost = view.output.recv().await;
        assert!(matches!(lost, Err(broadcast::error::RecvError::Lagged(1))), "{lost:?}");
    }
}
