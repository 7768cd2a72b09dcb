// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `/v1/events`: what happens, as server-sent events (HTML, 9.2).

use super::extract::Query;
use super::problem::Problem;
use super::{Api, Scope};
use crate::virtual_pc::error::{Error, Result as ModelResult};
use crate::virtual_pc::event::{Event, Follower};
use crate::virtual_pc::hresult;
use crate::virtual_pc::paths::same_name;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{self, KeepAlive, Sse};
use futures_util::stream::{self, Stream, StreamExt};
use inotify::EventStream;
use serde::Deserialize;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use utoipa::IntoParams;

/// A comment goes out after so long without an event: it shows that the server is there, and who has gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only those of this machine.
    machine: Option<String>,
}

/// Follows what happens to machines, drives and tasks. With `Last-Event-ID` the stream begins after that event, as far as it is still kept
/// (0: with the oldest), else with the next one.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(Which, ("Last-Event-ID" = Option<u64>, Header, description = "The number of the last event that was seen")),
    responses((status = 200, description = "Events; the data of each is this object", content_type = "text/event-stream", body = Event), Problem))]
pub(super) async fn follow_events(
    State(api): State<Api>,
    headers: HeaderMap,
    Query(which): Query<Which>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Problem> {
    let full = |_| {
        Error::new(
            hresult::VM_E_OUT_OF_RESOURCE,
            "too many clients follow the events already",
        )
        .with_remedy("close a stream of events")
    };
    let place = api.0.streams.clone().try_acquire_owned().map_err(full)?;
    let after = last_event(&headers)?;
    let shared = api.clone();
    let (changes, follower, machine) = api
        .call(move |app| {
            let machine = match &shared.0.scope {
                Scope::Machine(machine) => Some(machine.name()?),
                Scope::User => which.machine,
            };
            let journal = app.journal();
            Ok((journal.watch()?, journal.follower(after), machine))
        })
        .await?;
    let failed = |error: std::io::Error| Error::new(hresult::VM_E_OUT_OF_RESOURCE, error.to_string());
    let watched = Watched {
        changes: changes.into_event_stream([0; 4096]).map_err(failed)?,
        follower,
        machine,
        ending: api.0.ending.clone(),
        _place: place,
    };
    let events = stream::unfold(watched, |mut watched| async {
        let event = watched.next().await?;
        let data = serde_json::to_string(&event).ok()?;
        let event = sse::Event::default().id(event.id.to_string()).data(data);
        Some((Ok(event), watched))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn last_event(headers: &HeaderMap) -> ModelResult<Option<u64>> {
    let Some(last) = headers.get("Last-Event-ID") else {
        return Ok(None);
    };
    let number = last.to_str().ok().and_then(|last| last.trim().parse().ok());
    let wrong = || Error::new(hresult::E_INVALIDARG, "Last-Event-ID is no event's number");
    number.map(Some).ok_or_else(wrong)
}

/// A journal that is followed.
struct Watched {
    changes: EventStream<[u8; 4096]>,
    follower: Follower,
    machine: Option<String>,
    ending: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Watched {
    /// The next event; none when the server ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if *self.ending.borrow() {
                return None;
            }
            while let Some(event) = self.follower.next_event() {
                let about = |machine: &String| {
                    event
                        .machine
                        .as_ref()
                        .is_some_and(|name| same_name(name, machine))
                };
                if self.machine.as_ref().is_none_or(about) {
                    return Some(event);
                }
            }
            tokio::select! {
                changed = self.changes.next() => drop(changed?.ok()?),
                ended = self.ending.changed() => ended.ok()?,
            }
        }
    }
}
