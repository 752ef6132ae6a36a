//! Waiting for what was asked for. Level-triggered: a watch only wakes it up, what counts is what is read then.

use std::time::Duration;

use symphony_api::Client;
use symphony_api::client::{Watch, WatchQuery};
use symphony_api::v1::{Condition, Kind, Object, Truth};
use tokio::time::{Instant, sleep, timeout_at};

use crate::failure::Failure;
use crate::progress::Progress;

/// How often to look when no watch wakes us.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How often to look beside a watch.
const LOOK_BESIDE_WATCH: Duration = Duration::from_secs(2);

/// How it stands.
pub(crate) enum Look<T> {
    /// It is as wanted.
    Done(T),
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
    let mut watch = Wake::Unopened;
    loop {
        let text = match timeout_at(deadline, look()).await {
            Ok(looked) => match looked? {
                Look::Done(done) => return Ok(done),
                Look::Going(text) => text,
            },
            Err(_) => return Err(too_late(goal, progress, subject)),
        };
        progress.say(&text);
        if timeout_at(deadline, watch.next(client, goal)).await.is_err() {
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
enum Wake {
    Unopened,
    Watch(Box<Watch>),
    Timer,
}

impl Wake {
    /// Returns when it is worth to look again.
    async fn next(&mut self, client: &Client, goal: &Goal<'_>) {
        if matches!(self, Self::Unopened) {
            let query = WatchQuery {
                kinds: vec![goal.kind],
                from: Some(goal.revision),
            };
            *self = client
                .watch(&query)
                .await
                .map_or(Self::Timer, |watch| Self::Watch(Box::new(watch)));
        }
        let Self::Watch(watch) = self else {
            return sleep(LOOK_AGAIN).await;
        };
        // Both may be dropped at any time: a lost wake-up is made up for by the next look.
        let lost = tokio::select! {
            lost = changed(watch, &goal.id) => lost,
            () = sleep(LOOK_BESIDE_WATCH) => false,
        };
        if lost {
            *self = Self::Timer;
        }
    }
}

/// Waits for a change of the object. True when the watch is lost.
async fn changed(watch: &mut Watch, id: &str) -> bool {
    loop {
        match watch.next().await {
            Err(_) => return true,
            Ok(event)
                if event
                    .object
                    .as_ref()
                    .and_then(id_of)
                    .is_some_and(|changed| changed == id) =>
            {
                return false;
            }
            Ok(_) => {}
        }
    }
}

fn id_of(object: &Object) -> Option<String> {
    match object {
        Object::Volume(volume) => Some(volume.meta.id.to_string()),
        Object::Image(image) => Some(image.meta.id.to_string()),
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
mod tests {
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn the_newest_condition_that_does_not_hold_says_most() {
        let condition = |status, message: &str, second| Condition {
            kind: "k".into(),
            status,
            reason: "r".into(),
            message: message.into(),
            since: Timestamp::from_second(second).unwrap(),
        };
        assert_eq!(state("Ready", &[]), "Ready");
        let conditions = [
            condition(Truth::False, "old", 1),
            condition(Truth::Unknown, "45 % written", 2),
            condition(Truth::True, "fine", 3),
        ];
        assert_eq!(state("Creating", &conditions), "Creating: 45 % written");
    }

    #[tokio::test]
    async fn a_wait_has_an_end_and_says_how_far_it_came() {
        let endpoint = symphony_api::Endpoint::Http("http://127.0.0.1:9".into());
        let client = Client::new(&endpoint, None, "p").unwrap();
        let goal = Goal {
            kind: Kind::Volume,
            id: "x".into(),
            revision: 1,
            state: "ready",
            limit: Duration::from_millis(5),
        };
        let mut progress = Progress::waiting("volume data", true);
        let going = async || Ok::<_, Failure>(Look::<()>::Going("Pending: no room".into()));
        let failure = until(&client, &goal, &mut progress, "volume data", going)
            .await
            .unwrap_err();
        assert_eq!(failure.message, "volume data is not ready after 5ms: Pending: no room");
        assert!(failure.hint.unwrap().contains("--timeout"));
    }
}
