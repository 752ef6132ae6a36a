//! All tokens, in memory: asked for each request, fed by a watch of the store.
//!
//! What this manager itself makes or revokes it writes down at once; what others do comes with the watch. A token that the
//! book does not know is looked for in the store once, so that one which another manager has just made is good here too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use symphony_core::Timestamp;
use symphony_core::token::{Token, TokenId};
use symphony_core::{keys, record};
use symphony_store::{Event, KeyValue, Range, Revision, Store, Watch, read_all};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::failure::chain;

/// Tokens that are read at once.
const PAGE: usize = 500;
/// The pause after the store failed.
const PAUSE: Duration = Duration::from_millis(500);
/// How many unknown tokens are looked for in the store at a time: whoever makes tokens up can't do more than that.
const LOOKS_MAX: usize = 4;
/// How long one such look may take.
const LOOK_TIME_MAX: Duration = Duration::from_secs(3);
/// The longest that a stream goes without looking whether its token is still good, by the clock.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Why the book can't say whether a token is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unread;

/// What is known of one id: a token, or that there is none, since a revision.
struct Entry {
    revision: Revision,
    token: Option<Arc<Token>>,
}

#[derive(Default)]
struct Pages {
    /// Whether all of it was read once.
    read: bool,
    entries: HashMap<TokenId, Entry>,
}

/// All tokens.
pub(crate) struct TokenBook {
    store: Arc<dyn Store>,
    pages: Mutex<Pages>,
    looks: Semaphore,
    /// Counts the changes.
    changed: watch::Sender<u64>,
}

impl TokenBook {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            pages: Mutex::default(),
            looks: Semaphore::new(LOOKS_MAX),
            changed: watch::Sender::new(0),
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the store until the manager stops. While the store is away, the book stands as it was read last.
    pub(crate) async fn follow(&self, shutdown: CancellationToken) {
        loop {
            let following = async {
                let from = self.read().await?;
                self.watch(from).await
            };
            let ended = tokio::select! {
                ended = following => ended,
                () = shutdown.cancelled() => return,
            };
            match ended {
                Ok(()) | Err(symphony_store::Error::Closed) => {}
                Err(error) => tracing::warn!(error = %chain(&error), "the tokens are read anew"),
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Reads all tokens once, if nobody did so yet: who starts to serve waits for that.
    pub(crate) async fn prepare(&self) {
        if let Err(error) = self.read().await {
            tracing::warn!(error = %chain(&error), "the tokens can't be read yet");
        }
    }

    async fn read(&self) -> symphony_store::Result<Revision> {
        let all = read_all(&*self.store, Range::prefix(keys::TOKENS), PAGE).await?;
        let found: HashMap<TokenId, Entry> = all.kvs.iter().filter_map(entry).collect();
        let mut pages = self.pages();
        // What was written down since then is newer than what was read.
        pages.entries.retain(|_, entry| entry.revision > all.revision);
        for (id, entry) in found {
            pages.entries.entry(id).or_insert(entry);
        }
        pages.read = true;
        drop(pages);
        self.tell();
        Ok(all.revision)
    }

    async fn watch(&self, from: Revision) -> symphony_store::Result<()> {
        let watch = Watch::prefix(keys::TOKENS, from.next());
        let mut changes = self.store.watch(watch).await?;
        while let Some(batch) = changes.next().await {
            let batch = batch?;
            for event in &batch.events {
                match event {
                    Event::Put { kv, .. } => {
                        if let Some((id, entry)) = entry(kv) {
                            self.note(id, entry);
                        }
                    }
                    Event::Delete { key, mod_revision, .. } => {
                        let id = key.strip_prefix(keys::TOKENS).and_then(|id| id.parse().ok());
                        if let Some(id) = id {
                            self.cross_out(id, *mod_revision);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn note(&self, id: TokenId, new: Entry) {
        let mut pages = self.pages();
        let newer = pages.entries.get(&id).is_none_or(|old| old.revision < new.revision);
        if newer {
            pages.entries.insert(id, new);
        }
        drop(pages);
        self.tell();
    }

    /// The watch has come to a token's end: nothing older can come any more.
    fn cross_out(&self, id: TokenId, revision: Revision) {
        let mut pages = self.pages();
        if pages.entries.get(&id).is_some_and(|old| old.revision <= revision) {
            pages.entries.remove(&id);
        }
        drop(pages);
        self.tell();
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// A token that this manager made.
    pub(crate) fn made(&self, token: Token, revision: Revision) {
        let id = token.id;
        let token = Some(Arc::new(token));
        self.note(id, Entry { revision, token });
    }

    /// A token that this manager revoked: it is no good from now on, also while the watch still tells of its beginning.
    pub(crate) fn revoked(&self, id: TokenId, revision: Revision) {
        self.note(id, Entry { revision, token: None });
    }

    /// A token by its id; none: there is no such token.
    pub(crate) async fn find(&self, id: TokenId) -> Result<Option<Arc<Token>>, Unread> {
        {
            let pages = self.pages();
            match pages.entries.get(&id) {
                Some(entry) => return Ok(entry.token.clone()),
                None if !pages.read => return Err(Unread),
                None => {}
            }
        }
        let look = async {
            let _seat = self.looks.acquire().await.ok()?;
            self.store.get(&keys::token(id).into(), None).await.ok()
        };
        // When the store does not say, what was read is what holds.
        let found = tokio::time::timeout(LOOK_TIME_MAX, look).await.ok().flatten().flatten();
        Ok(match found.as_ref().and_then(entry) {
            Some((id, entry)) => {
                self.note(id, entry);
                self.known(id)
            }
            None => None,
        })
    }

    fn known(&self, id: TokenId) -> Option<Arc<Token>> {
        self.pages().entries.get(&id).and_then(|entry| entry.token.clone())
    }

    /// Returns when a token is no good any more; never without a token. For streams, which outlive the look at the gate.
    pub(crate) async fn ended(&self, token: Option<TokenId>, now: impl Fn() -> Timestamp) {
        let Some(id) = token else {
            return std::future::pending().await;
        };
        let mut changes = self.changed.subscribe();
        loop {
            if self.known(id).is_none_or(|token| token.api(now()).is_err()) {
                return;
            }
            // Its time may be over without any change.
            let _ = tokio::time::timeout(LOOK_AGAIN, changes.changed()).await;
        }
    }
}

/// What a key says. A record that can't be read lets nobody in.
fn entry(kv: &KeyValue) -> Option<(TokenId, Entry)> {
    let id: TokenId = kv.key.strip_prefix(keys::TOKENS)?.parse().ok()?;
    let token = match record::decode::<Token>(&kv.value) {
        Ok(token) if token.id == id => Some(Arc::new(token)),
        Ok(_) => None,
        Err(error) => {
            tracing::error!(%id, error = %chain(&error), "a token can't be read, so it lets nobody in");
            None
        }
    };
    let revision = kv.mod_revision;
    Some((id, Entry { revision, token }))
}
