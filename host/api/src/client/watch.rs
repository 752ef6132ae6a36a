//! Watches: server-sent events, resumed by revision when the connection is lost.

use std::time::Duration;

use reqwest::{Method, Response};
use tokio::time::Instant;

use super::{Client, ClientError};
use crate::WATCH_HEARTBEAT_SECONDS;
use crate::v1::{Action, Kind, Object, WatchEvent};

/// The first pause before a lost watch is resumed; each one after it is twice as long.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Longest event, in bytes; a longer one ends the watch.
const EVENT_BYTES_MAX: usize = 4 << 20;
/// After this long without even a heartbeat the connection counts as lost.
const SILENCE_MAX: Duration = Duration::from_secs(4 * WATCH_HEARTBEAT_SECONDS);

/// What to watch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchQuery {
    /// These kinds; all of them when empty.
    pub kinds: Vec<Kind>,
    /// What came after this revision. Without one: first what is there now, then what comes.
    pub from: Option<u64>,
}

/// A watch under way.
pub struct Watch {
    client: Client,
    kinds: String,
    seen: Option<u64>,
    open: Option<Open>,
    /// Since when nothing was heard, and the next pause.
    lost: Option<(Instant, Duration)>,
}

struct Open {
    response: Response,
    parser: Parser,
}

impl Client {
    /// Watches objects of the client's project, and those that belong to none.
    ///
    /// # Errors
    /// When the revision is too old (`revision_compacted`: list again), or nothing was answered.
    pub async fn watch(&self, query: &WatchQuery) -> Result<Watch, ClientError> {
        let kinds = query
            .kinds
            .iter()
            .map(|kind| kind.plural())
            .collect::<Vec<_>>()
            .join(",");
        let mut watch = Watch {
            client: self.clone(),
            kinds,
            seen: query.from,
            open: None,
            lost: None,
        };
        watch.open = Some(self.patiently(|| watch.connect()).await?);
        Ok(watch)
    }
}

impl Watch {
    /// The revision up to which everything was told.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        self.seen
    }

    /// The next event. After a lost connection the watch goes on where it was, at another manager when there are several; when the state at the start was not told
    /// to its end, it is told again. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the revision is too old by now, or the manager stays away. The watch is at its end then.
    pub async fn next(&mut self) -> Result<WatchEvent, ClientError> {
        loop {
            if let Some(event) = self.open.as_mut().and_then(|open| open.parser.next_event()) {
                let event = read_event(&event)?;
                self.lost = None;
                self.seen = event.revision.or(self.seen);
                return Ok(event);
            }
            let Some(open) = &mut self.open else {
                self.resume().await?;
                continue;
            };
            match tokio::time::timeout(SILENCE_MAX, open.response.chunk()).await {
                Ok(Ok(Some(chunk))) => open.parser.feed(&chunk)?,
                Ok(Ok(None) | Err(_)) | Err(_) => {
                    self.open = None;
                    // It may be frozen: then it still takes connections.
                    self.client.managers.leave(self.client.managers.present().0);
                }
            }
        }
    }

    async fn resume(&mut self) -> Result<(), ClientError> {
        let (since, pause) = self.lost.unwrap_or((Instant::now(), PAUSE));
        self.lost = Some((since, (2 * pause).min(PAUSE_MAX)));
        let is_over = since.elapsed() + pause > self.client.patience.long;
        if is_over {
            return Err(ClientError::WatchLost);
        }
        tokio::time::sleep(pause).await;
        match self.connect().await {
            Ok(open) => self.open = Some(open),
            Err(error) if error.is_between_leaders() => {
                self.client.managers.leave(self.client.managers.present().0);
            }
            Err(error) if error.is_passing() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Open, ClientError> {
        let mut url = self.client.url(&["v1", "watch"])?;
        url.query_pairs_mut().append_pair("project", &self.client.project);
        if !self.kinds.is_empty() {
            url.query_pairs_mut().append_pair("kinds", &self.kinds);
        }
        if let Some(seen) = self.seen {
            url.query_pairs_mut().append_pair("from", &seen.to_string());
        }
        let request = self
            .client
            .request(Method::GET, url)
            .header("Accept", "text/event-stream");
        Ok(Open {
            response: self.client.send(request).await?,
            parser: Parser::default(),
        })
    }
}

fn read_event(event: &Fields) -> Result<WatchEvent, ClientError> {
    let action = match event.kind.as_str() {
        "put" => Action::Put,
        "delete" => Action::Delete,
        "bookmark" => Action::Bookmark,
        // The stream's own error, told inside of it: the answer had begun already.
        _ => {
            let problem = serde_json::from_str(&event.data).map_err(ClientError::Decode)?;
            return Err(ClientError::Problem(Box::new(problem)));
        }
    };
    let object = match action {
        Action::Bookmark => None,
        Action::Put | Action::Delete => Some(serde_json::from_str::<Object>(&event.data).map_err(ClientError::Decode)?),
    };
    Ok(WatchEvent {
        action,
        revision: event.id.as_deref().and_then(|id| id.parse().ok()),
        object,
    })
}

/// One event's fields.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fields {
    kind: String,
    id: Option<String>,
    data: String,
}

/// Reads the format of server-sent events from pieces of any size.
#[derive(Default)]
struct Parser {
    buffer: Vec<u8>,
    /// How much of the buffer was searched for an event's end.
    searched: usize,
}

impl Parser {
    fn feed(&mut self, chunk: &[u8]) -> Result<(), ClientError> {
        self.buffer.extend_from_slice(chunk);
        if self.buffer.len() > EVENT_BYTES_MAX {
            Err(ClientError::WatchLost)
        } else {
            Ok(())
        }
    }

    fn next_event(&mut self) -> Option<Fields> {
        loop {
            let start = self.searched.saturating_sub(1);
            let Some(end) = self.buffer[start..].windows(2).position(|pair| pair == b"\n\n") else {
                self.searched = self.buffer.len();
                return None;
            };
            let block: Vec<u8> = self.buffer.drain(..start + end + 2).collect();
            self.searched = 0;
            let fields = parse_block(&String::from_utf8_lossy(&block));
            // A block of comments alone is a heartbeat.
            if fields != Fields::default() {
                return Some(fields);
            }
        }
    }
}

fn parse_block(block: &str) -> Fields {
    let mut fields = Fields::default();
    for line in block.lines().filter(|line| !line.starts_with(':')) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut fields.kind),
            "id" => fields.id = Some(value.to_owned()),
            "data" if fields.data.is_empty() => value.clone_into(&mut fields.data),
            "data" => {
                fields.data.push('\n');
                fields.data.push_str(value);
            }
            _ => {}
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_from_pieces_of_any_size() {
        let text = b": hello\n\nevent: put\nid: 7\ndata: {\"a\":1}\n\n:\n\nevent: bookmark\nid: 9\ndata: {}\n\n";
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for chunk in text.chunks(size) {
                parser.feed(chunk).unwrap();
                while let Some(event) = parser.next_event() {
                    events.push(event);
                }
            }
            assert_eq!(events.len(), 2, "pieces of {size}");
            assert_eq!((events[0].kind.as_str(), events[0].id.as_deref()), ("put", Some("7")));
            assert_eq!(events[1].data, "{}");
        }
    }

    #[test]
    fn an_endless_event_ends_the_watch() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 1 << 20];
        let fed = (0..10).take_while(|_| parser.feed(&piece).is_ok()).count();
        assert!(fed <= EVENT_BYTES_MAX / piece.len());
    }
}
