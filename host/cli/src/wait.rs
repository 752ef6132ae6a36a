//! Waiting for what was asked for. Level-triggered: a watch only wakes it up, what counts is what is read then.

use std::time::Duration;

use symphony_api::Client;
use symphony_api::client::{Watch, WatchQuery};
use symphony_api::v1::{Action, Condition, Kind, Object, Truth};
use tokio::time::{Instant, sleep, timeout_at};

use crate::failure::Failure;
use crate::progress::Progress;
use crate::story::Story;

/// How often to look when no watch wakes us.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How often to look beside a watch.
const LOOK_BESIDE_WATCH: Duration = Duration::from_secs(2);
/// How long the end of a story may take to come, once what it tells of is done.
const STORY_END: Duration = Duration::from_secs(1);

/// How it stands.
pub(crate) enum Look<T> {
    /// It is as wanted.
    Done(T),
    /// The same, seen at this revision: the story is told up to it first.
    DoneAt(T, u64),
    /// Not yet; what is going on.
    Going(String),
}

/// What is waited for.
pub(crate) struct Goal<'a> {
    /// Kind of the object.
    pub(crate) kind: Kind,
    /// Its id.
    pub(crate) id: String,
    /// A change after this revision wakes us.
    pub(crate) revision: u64,
    /// How the goal reads after "is not": `ready`, `gone`.
    pub(crate) state: &'a str,
    /// The longest wait.
    pub(crate) limit: Duration,
    /// The events to tell meanwhile.
    pub(crate) story: Option<Story>,
}

/// Looks again and again until it is done, fails, or takes too long.
pub(crate) async fn until<T>(
    client: &Client,
    goal: &Goal<'_>,
    progress: &mut Progress,
    subject: &str,
    mut look: impl AsyncFnMut() -> Result<Look<T>, Failure>,
) -> Result<T, Failure> {
    let deadline = Instant::now() + goal.limit;
    let mut wake = Wake::default();
    loop {
        let text = match timeout_at(deadline, look()).await {
            Ok(Ok(Look::Done(done))) => return Ok(done),
            Ok(Ok(Look::DoneAt(done, revision))) => {
                let end = deadline.min(Instant::now() + STORY_END);
                // What is told late is no failure: the object itself is as wanted.
                _ = timeout_at(end, wake.tell_until(client, goal, progress, revision)).await;
                return Ok(done);
            }
            Ok(Ok(Look::Going(text))) => text,
            Ok(Err(failure)) => return Err(failure),
            Err(_) => return Err(too_late(goal, progress, subject)),
        };
        progress.say(&text);
        if timeout_at(deadline, wake.next(client, goal, progress)).await.is_err() {
            return Err(too_late(goal, progress, subject));
        }
    }
}

fn too_late(goal: &Goal<'_>, progress: &Progress, subject: &str) -> Failure {
    let last = if progress.last().is_empty() {
        String::new()
    } else {
        format!(": {}", progress.last())
    };
    Failure::new(format!("{subject} is not {} after {:?}{last}", goal.state, goal.limit))
        .hint("it goes on by itself; wait longer with --timeout, or look later with `show`")
}

/// What wakes us.
#[derive(Default)]
struct Wake {
    source: Source,
    /// Whether the end of the object was told.
    gone: bool,
}

#[derive(Default)]
enum Source {
    #[default]
    Unopened,
    Watch(Box<Watch>),
    Timer,
}

impl Wake {
    async fn open(&mut self, client: &Client, goal: &Goal<'_>) {
        if matches!(self.source, Source::Unopened) {
            let (mut kinds, mut from) = (vec![goal.kind], goal.revision);
            if goal.story.is_some() {
                kinds.push(Kind::Event);
                // The events of the change that is waited for have its revision.
                from = from.saturating_sub(1);
            }
            let query = WatchQuery {
                kinds,
                from: Some(from),
            };
            self.source = client
                .watch(&query)
                .await
                .map_or(Source::Timer, |watch| Source::Watch(Box::new(watch)));
        }
    }

    /// Returns when it is worth to look again.
    async fn next(&mut self, client: &Client, goal: &Goal<'_>, progress: &mut Progress) {
        self.open(client, goal).await;
        if matches!(self.source, Source::Timer) {
            return sleep(LOOK_AGAIN).await;
        }
        // Both may be dropped at any time: a lost wake-up is made up for by the next look.
        tokio::select! {
            () = async { while !self.hear(goal, progress).await {} } => {}
            () = sleep(LOOK_BESIDE_WATCH) => {}
        }
    }

    /// Tells the story up to a revision, or to the object's end.
    async fn tell_until(&mut self, client: &Client, goal: &Goal<'_>, progress: &mut Progress, revision: u64) {
        if goal.story.is_none() {
            return;
        }
        self.open(client, goal).await;
        while let Source::Watch(watch) = &self.source {
            if self.gone || watch.revision().is_some_and(|told| told >= revision) {
                return;
            }
            self.hear(goal, progress).await;
        }
    }

    /// One event of the watch: told, when it belongs to the story. True when it is worth to look again.
    async fn hear(&mut self, goal: &Goal<'_>, progress: &mut Progress) -> bool {
        let Source::Watch(watch) = &mut self.source else {
            return true;
        };
        let Ok(event) = watch.next().await else {
            self.source = Source::Timer;
            return true;
        };
        match &event.object {
            Some(Object::Event(event)) => {
                if let Some(line) = goal.story.as_ref().and_then(|story| story.line(event)) {
                    progress.tell(&line);
                }
                false
            }
            Some(object) if id_of(object).is_some_and(|id| id == goal.id) => {
                self.gone |= event.action == Action::Delete;
                true
            }
            _ => false,
        }
    }
}

fn id_of(object: &Object) -> Option<String> {
    match object {
        Object::Volume(volume) => Some(volume.meta.id.to_string()),
        Object::Image(image) => Some(image.meta.id.to_string()),
        Object::Machine(machine) => Some(machine.meta.id.to_string()),
        Object::Network(network) => Some(network.meta.id.to_string()),
        _ => None,
    }
}

/// What is going on, from a phase and its conditions: the newest that does not hold says most.
pub(crate) fn state(phase: &str, conditions: &[Condition]) -> String {
    let telling = conditions
        .iter()
        .filter(|condition| condition.status != Truth::True && !condition.message.is_empty());
    match telling.max_by_key(|condition| condition.since) {
        Some(condition) => format!("{phase}: {}", condition.message),
        None => phase.to_owned(),
    }
}

#[cfg(test)]
mod tests;
