//! `/api/events`: what changes, as server-sent events.
//!
//! `sample` has the overview's fields and the rates of the topics that anything came to; `trouble` says why there is no
//! sample. One follows the other every two seconds as long as the page is open.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Problem;
use super::overview::summary;
use crate::clock::now_ms;
use crate::console::Shared;

/// Between two events.
const INTERVAL: Duration = Duration::from_secs(2);

/// Events until nobody listens any more; `place` is given back then.
pub(crate) fn events(shared: Arc<Shared>, place: OwnedSemaphorePermit) -> mpsc::Receiver<String> {
    let (to, from) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = to.closed() => break,
            }
            let text = tokio::select! {
                event = event(&shared) => event,
                () = to.closed() => break,
            };
            if to.send(text).await.is_err() {
                break;
            }
        }
        drop(place);
    });
    from
}

async fn event(shared: &Shared) -> String {
    let (name, data) = match shared.sampler.view().await {
        Ok(view) => {
            let mut found = summary(&view);
            if let Value::Object(fields) = &mut found {
                fields.insert("rates".to_owned(), json!(view.rates()));
            }
            ("sample", found)
        }
        Err(error) => ("trouble", json!({"at": now_ms(), "problem": Problem::from(error).inner()})),
    };
    // JSON of serde_json has no line in it.
    format!("event: {name}\ndata: {data}\n\n")
}
