//! `symphony events`: what happened.

use clap::Args;
use symphony_api::client::{ListQuery, WatchQuery};
use symphony_api::v1::{Action, Event, Kind, Object};
use symphony_api::{Client, PAGE_MAX};

use crate::failure::Failure;
use crate::output::Output;
use crate::refusal::failure;
use crate::rows::{moment, severity};
use crate::table::plain;

/// What `events` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  symphony events\n  symphony events --follow\n  symphony events --follow -o json | jq -r .message"
)]
pub struct EventsArgs {
    /// Go on with what happens from now on, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// How many of the newest events to start with
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=2_000))]
    limit: u32,
}

/// Lists events, oldest first, and goes on with those to come.
pub(crate) async fn run(client: &Client, output: Output, args: &EventsArgs) -> Result<(), Failure> {
    let (events, revision) = newest(client, args.limit).await?;
    if !args.follow {
        return output.list(&events);
    }
    for event in &events {
        show(output, event)?;
    }
    let query = WatchQuery {
        kinds: vec![Kind::Event],
        from: Some(revision),
    };
    let lost = |error| failure("follow the events", error);
    let mut watch = client.watch(&query).await.map_err(lost)?;
    loop {
        let told = watch.next().await.map_err(lost)?;
        if let (Action::Put, Some(Object::Event(event))) = (told.action, told.object) {
            show(output, &event)?;
        }
    }
}

/// The newest events, oldest first, and the revision up to which they tell everything.
async fn newest(client: &Client, limit: u32) -> Result<(Vec<Event>, u64), Failure> {
    let mut query = ListQuery {
        limit: Some(limit.clamp(1, PAGE_MAX)),
        ..ListQuery::default()
    };
    let (mut events, mut revision) = (Vec::new(), None);
    loop {
        let page = client
            .events(&query)
            .await
            .map_err(|error| failure("list the events", error))?;
        // That of the first page: what came while the others were read is told by the watch.
        revision.get_or_insert(page.revision);
        events.extend(page.items);
        if page.next_page_token.is_none() || events.len() >= limit as usize {
            break;
        }
        query.page_token = page.next_page_token;
    }
    events.truncate(limit as usize);
    events.reverse();
    Ok((events, revision.unwrap_or_default()))
}

fn show(output: Output, event: &Event) -> Result<(), Failure> {
    output.item(event, &line(event), &event.id.to_string())
}

fn line(event: &Event) -> String {
    let subject = format!("{}/{}", event.subject.kind, event.subject.name);
    let text = format!(
        "{}  {:7}  {:16}  {subject:24}  {}",
        moment(event.at),
        severity(event.severity),
        event.reason,
        event.message
    );
    plain(&text) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_is_one_line() {
        let event: Event = serde_json::from_value(serde_json::json!({
            "kind": "event", "id": "0192f0c1-2345-7abc-8def-0123456789ab", "at": "2026-11-23T11:55:00.123Z", "severity": "Normal",
            "reason": "placed", "subject": {"kind": "volume", "name": "data"}, "message": "on node-1\nby spread", "revision": 3,
        }))
        .unwrap();
        assert_eq!(
            line(&event),
            "2026-11-23T11:55:00Z  Normal   placed            volume/data               on node-1?by spread\n"
        );
    }
}
