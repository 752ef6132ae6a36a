//! The connection to libvirt. One thread owns it, for libvirt blocks; others send it what to do by a bounded queue, and wait
//! no longer than a deadline. It connects again when libvirtd went away.
//!
//! The crate `virt` offers no way to register for the events of domains without unsafe code: who waits for a machine asks
//! again and again.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use virt::connect::Connect;
use virt::error::{Error as VirtError, clear_error_callback};

/// Most commands that wait.
const QUEUE: usize = 64;
/// How long a command may take, its waiting included: the first start of a machine makes libvirt try QEMU, which can take
/// a minute.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long libvirtd may take to come up again.
const RECONNECT: Duration = Duration::from_secs(20);
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// libvirt did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer by the deadline; it may still happen.
    #[error("libvirt did not answer in time")]
    Late,
    /// Too much waits already.
    #[error("too many commands wait for libvirt")]
    Busy,
    /// libvirtd is not there.
    #[error("libvirt can't be reached")]
    Unreachable(#[source] VirtError),
    /// It went away while it worked; what was asked for may have happened.
    #[error("the connection to libvirt was lost")]
    Lost(#[source] VirtError),
    /// It refused.
    #[error("libvirt refused")]
    Refused(#[source] VirtError),
}

type Command = Box<dyn FnOnce(&mut Link) + Send>;

/// A handle on the thread; the thread ends with the last one.
#[derive(Clone)]
pub(crate) struct Hypervisor {
    commands: mpsc::Sender<Command>,
}

impl Hypervisor {
    /// Starts the thread; it connects when it is first asked for something.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(crate) fn start(uri: String) -> std::io::Result<Self> {
        let (commands, mut queue) = mpsc::channel::<Command>(QUEUE);
        std::thread::Builder::new().name("libvirt".to_owned()).spawn(move || {
            clear_error_callback();
            let mut link = Link { uri, connect: None };
            while let Some(command) = queue.blocking_recv() {
                command(&mut link);
            }
        })?;
        Ok(Self { commands })
    }

    /// Has libvirt try the QEMU for this type of domain, which takes it a second or more: the first who needs what it finds
    /// would wait for it. What comes of it is of no interest here.
    pub(crate) fn warm(&self, kind: &'static str) {
        let command: Command = Box::new(move |link| {
            let _ = link.run(|connect| {
                let arch = Some(std::env::consts::ARCH);
                connect.get_domain_capabilities(None, arch, None, Some(kind), 0)
            });
        });
        // When much waits already, that warms it.
        let _ = self.commands.try_send(command);
    }

    /// Does something on the connection, which may be done twice: once more when libvirtd went away meanwhile.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        action: impl Fn(&Connect) -> Result<T, VirtError> + Send + 'static,
    ) -> Result<T, Error> {
        self.send(move |link| match link.run(&action) {
            Err(Error::Lost(_)) => link.run(&action),
            other => other,
        })
        .await
    }

    /// Does something on the connection, once.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        action: impl FnOnce(&Connect) -> Result<T, VirtError> + Send + 'static,
    ) -> Result<T, Error> {
        self.send(move |link| {
            link.ping();
            link.run(action)
        })
        .await
    }

    async fn send<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut Link) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let until = Instant::now() + DEADLINE;
        let command: Command = Box::new(move |link| {
            // Who asked is gone: what they wanted is no longer wanted.
            if reply.is_closed() || Instant::now() > until {
                return;
            }
            // They may be gone by now; then nobody needs the answer.
            let _ = reply.send(run(link));
        });
        self.commands.try_send(command).map_err(|_| Error::Busy)?;
        match tokio::time::timeout(DEADLINE, answer).await {
            Ok(Ok(answer)) => answer,
            _ => Err(Error::Late),
        }
    }
}

/// The thread's own: the connection, when there is one.
struct Link {
    uri: String,
    connect: Option<Connect>,
}

impl Link {
    /// Drops a connection that is dead, so that the next command does not find out by failing.
    fn ping(&mut self) {
        if self
            .connect
            .as_ref()
            .is_some_and(|connect| connect.get_lib_version().is_err())
        {
            self.connect = None;
        }
    }

    fn run<T>(&mut self, action: impl FnOnce(&Connect) -> Result<T, VirtError>) -> Result<T, Error> {
        let connect = match self.connect.take() {
            Some(connect) => connect,
            None => self.open()?,
        };
        match action(&connect) {
            Ok(value) => {
                self.connect = Some(connect);
                Ok(value)
            }
            // Asked by a call to the daemon: `is_alive` alone knows only what it was told.
            Err(error) if connect.get_lib_version().is_err() => Err(Error::Lost(error)),
            Err(error) => {
                self.connect = Some(connect);
                Err(Error::Refused(error))
            }
        }
    }

    fn open(&self) -> Result<Connect, Error> {
        let until = Instant::now() + RECONNECT;
        loop {
            match Connect::open(Some(&self.uri)) {
                Ok(connect) => return Ok(connect),
                Err(error) if Instant::now() > until => return Err(Error::Unreachable(error)),
                Err(_) => std::thread::sleep(RECONNECT_PAUSE),
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(mut connect) = self.connect.take() {
            let _ = connect.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_is_bounded() {
        let hypervisor = Hypervisor::start("test:///default".to_owned()).unwrap();
        let (begin, begun) = oneshot::channel();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let first = hypervisor.clone();
        let first = tokio::spawn(async move {
            let hold = move |_: &Connect| {
                let _ = begin.send(());
                let _ = held.recv();
                Ok(())
            };
            first.change(hold).await
        });
        begun.await.unwrap();
        let waiting: Vec<_> = (0..QUEUE)
            .map(|_| {
                let hypervisor = hypervisor.clone();
                tokio::spawn(async move { hypervisor.read(|_| Ok(())).await })
            })
            .collect();
        while hypervisor.commands.capacity() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(hypervisor.read(|_| Ok(())).await, Err(Error::Busy)));
        release.send(()).unwrap();
        first.await.unwrap().unwrap();
        for one in waiting {
            one.await.unwrap().unwrap();
        }
    }
}
