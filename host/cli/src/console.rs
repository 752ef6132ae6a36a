//! A machine's console in this terminal: attach, type, detach; and the log of what it has said.
//!
//! ```text
//!   stdin ─► thread: detach key? ─► queue ─► ConsoleInput ─►  manager ─► node ─► guest
//!   stdout ◄─ thread ◄─ queue ◄──────────── ConsoleOutput ◄──
//! ```

mod keys;
mod terminal;

use std::io::{self, Write as _};
use std::time::Duration;

use symphony_api::client::{Console, ConsoleEnd, ConsoleInput, ConsoleOutput, Said};
use symphony_api::v1::{MachinePhase, Power};
use symphony_api::{Client, ClientError, Code};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use keys::{DetachKey, DetachKeyError};

use crate::failure::Failure;
use crate::output::Output;
use crate::refusal::failure;
use terminal::{Printer, Raw, typed};

/// How often a machine that is not up yet is asked again.
const AGAIN: Duration = Duration::from_millis(250);
/// How long what was typed before the detach key may take to be sent.
const LAST_INPUT: Duration = Duration::from_secs(2);

/// How it came to an end.
enum End {
    Detached,
    Said(ConsoleEnd),
    Lost(ClientError),
    /// Stdout takes no more.
    Deaf,
    Signal,
}

/// Attaches this terminal, or stdin and stdout in its place, to a machine's console, until the machine is off or the key
/// is pressed. A machine that is not up yet is waited for, up to `patience` (zero: not at all).
///
/// # Errors
/// When it can't be attached to, or the connection is lost.
pub(crate) async fn attach(
    client: &Client,
    output: Output,
    machine: &str,
    key: DetachKey,
    patience: Duration,
) -> Result<(), Failure> {
    let console = connect(client, output, machine, patience).await;
    let console = console.map_err(|error| refused("attach to the console of", machine, error))?;
    output.remark(&format!("attached to the console of {machine}; {}", key.advice()));
    match hold(console, key).await? {
        End::Detached => {
            output.remark(&format!("detached from the console of {machine}; the machine goes on"));
            Ok(())
        }
        End::Said(ConsoleEnd::Off) => {
            let then = if stays_off(client, machine).await {
                String::new()
            } else {
                // A reboot, or its restart policy; nobody knows yet.
                format!(" now; when it boots again, `symphony machine console {machine}` attaches again")
            };
            output.remark(&format!("machine {machine} is off{then}"));
            Ok(())
        }
        End::Said(ConsoleEnd::Lagged(why)) => Err(Failure::new(format!("the console of {machine} was lost: {why}"))
            .hint(format!(
                "attach again; `symphony machine console {machine} --log` prints what was kept"
            ))),
        End::Said(ConsoleEnd::GoingAway(why) | ConsoleEnd::Other(why)) => {
            Err(Failure::new(format!("the console of {machine} was lost: {why}"))
                .hint("attach again; the machine goes on"))
        }
        End::Lost(error) => {
            Err(failure(&format!("stay at the console of {machine}"), error).hint("attach again; the machine goes on"))
        }
        End::Deaf => Err(Failure::new("could not write the output")),
        End::Signal => Err(Failure::new("ended by a signal; the machine goes on")),
    }
}

/// Prints what is kept of what a machine has said, byte by byte as it came.
///
/// # Errors
/// When it can't be had or written.
pub(crate) async fn log(client: &Client, machine: &str) -> Result<(), Failure> {
    let kept = client.console_log(machine).await;
    let kept = kept.map_err(|error| refused("read the console's log of", machine, error))?;
    let mut out = io::stdout().lock();
    out.write_all(&kept)?;
    out.flush()?;
    Ok(())
}

fn refused(what: &str, machine: &str, error: ClientError) -> Failure {
    let off = error.code() == Some(Code::WrongPower);
    let failure = failure(&format!("{what} machine {machine}"), error);
    if off && failure.hint.is_none() {
        failure.hint(format!(
            "`symphony machine show {machine}` says what it is doing, `symphony machine start {machine}` starts it"
        ))
    } else {
        failure
    }
}

async fn connect(client: &Client, output: Output, machine: &str, patience: Duration) -> Result<Console, ClientError> {
    let until = Instant::now() + patience;
    let mut told = false;
    loop {
        match client.console(machine).await {
            Err(error)
                if matches!(error.code(), Some(Code::WrongPower | Code::NotReady))
                    && Instant::now() + AGAIN < until
                    && !stays_off(client, machine).await =>
            {
                if !told {
                    output.remark(&format!("machine {machine} is not up yet; waiting for its console"));
                    told = true;
                }
                tokio::time::sleep(AGAIN).await;
            }
            other => return other,
        }
    }
}

/// Whether a machine is off and nothing is about to start it: there is nothing to wait for.
async fn stays_off(client: &Client, machine: &str) -> bool {
    client.machine(machine).await.is_ok_and(|seen| {
        let newest = seen.status.observed_generation == seen.meta.generation;
        let over = matches!(seen.status.phase, MachinePhase::Stopped | MachinePhase::Failed);
        seen.spec.power == Power::Off || newest && over
    })
}

/// The terminal is its old self again when this returns.
async fn hold(console: Console, key: DetachKey) -> Result<End, Failure> {
    let Console { output, input } = console;
    let mut signals = Signals::new()?;
    let detached = CancellationToken::new();
    let raw = Raw::enter().map_err(|error| Failure::caused("could not use the terminal", &error))?;
    let typed = typed(key, detached.clone())?;
    let printer = Printer::start()?;
    let sending = tokio::spawn(send(input, typed));
    let end = tokio::select! {
        end = show(output, &printer) => end,
        () = detached.cancelled() => End::Detached,
        () = signals.next() => End::Signal,
    };
    if matches!(end, End::Detached)
        && let Ok(Ok(input)) = tokio::time::timeout(LAST_INPUT, sending).await
    {
        input.close().await;
    }
    let end = tokio::select! {
        finished = printer.finish() => { finished?; end }
        () = signals.next() => End::Signal,
    };
    drop(raw);
    Ok(end)
}

/// Sends what is typed, to its end; the connection stays.
async fn send(mut input: ConsoleInput, mut typed: mpsc::Receiver<bytes::Bytes>) -> ConsoleInput {
    while let Some(piece) = typed.recv().await {
        // The other direction says that the connection is lost.
        if input.send(&piece).await.is_err() {
            break;
        }
    }
    input
}

async fn show(mut output: ConsoleOutput, printer: &Printer) -> End {
    loop {
        match output.next().await {
            Ok(Said::Bytes(piece)) => {
                if !printer.print(piece).await {
                    return End::Deaf;
                }
            }
            Ok(Said::Ended(end)) => return End::Said(end),
            Err(error) => return End::Lost(error),
        }
    }
}

/// The signals that end a process, caught so that the terminal is put back first.
struct Signals([Signal; 4]);

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
            signal(SignalKind::quit())?,
        ]))
    }

    async fn next(&mut self) {
        let [terminate, interrupt, hangup, quit] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
            _ = quit.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use symphony_api::{Endpoint, Problem};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_tungstenite::accept_async;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::CloseFrame;

    use super::*;
    use crate::output::Format;
    use futures_util::SinkExt as _;

    const QUIET: Output = Output {
        format: Format::Table,
        quiet: true,
    };

    async fn manager() -> (TcpListener, Client) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let client = Client::new(&Endpoint::Http(address), Some("token"), "default").unwrap();
        (listener, client)
    }

    /// Answers that the machine is not up yet.
    async fn refuse(mut stream: TcpStream) {
        let problem = Problem::new(Code::WrongPower, "it is starting");
        let body = serde_json::to_string(&problem).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let length = body.len();
        let answer = format!("HTTP/1.1 409 Conflict\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }

    /// Says something, then ends with a code.
    async fn serve(stream: TcpStream, code: u16) {
        let mut socket = accept_async(stream).await.unwrap();
        socket.send(Message::Binary("console test\r\n".into())).await.unwrap();
        let reason = "why".into();
        let code = code.into();
        socket
            .send(Message::Close(Some(CloseFrame { code, reason })))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_machine_that_is_not_up_yet_is_waited_for_and_its_end_is_an_end() {
        let (listener, client) = manager().await;
        let serving = tokio::spawn(async move {
            refuse(listener.accept().await.unwrap().0).await;
            // Whether it stays off: who can't say so is waited for.
            refuse(listener.accept().await.unwrap().0).await;
            serve(listener.accept().await.unwrap().0, 1000).await;
        });
        let patience = Duration::from_secs(60);
        attach(&client, QUIET, "web1", DetachKey::default(), patience)
            .await
            .unwrap();
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn who_was_too_slow_is_told_what_to_do() {
        let (listener, client) = manager().await;
        let serving = tokio::spawn(async move { serve(listener.accept().await.unwrap().0, 1008).await });
        let failed = attach(&client, QUIET, "web1", DetachKey::default(), Duration::ZERO).await;
        let failure = failed.unwrap_err();
        assert_eq!(failure.message, "the console of web1 was lost: why");
        assert!(failure.hint.unwrap().contains("--log"));
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn without_patience_a_machine_that_is_off_is_refused_at_once() {
        let (listener, client) = manager().await;
        let serving = tokio::spawn(async move { refuse(listener.accept().await.unwrap().0).await });
        let failed = attach(&client, QUIET, "web1", DetachKey::default(), Duration::ZERO).await;
        let failure = failed.unwrap_err();
        assert_eq!(failure.exit, crate::Exit::Conflict);
        assert!(failure.hint.unwrap().contains("symphony machine start web1"));
        serving.await.unwrap();
    }
}
