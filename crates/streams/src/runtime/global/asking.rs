//! Asking brokers that may not be there yet.

use std::time::{Duration, Instant};

use vltava_client::ClientError;

use super::client_failed;
use crate::{
    error::Result,
    runtime::{kafka_streams::Shared, wait::wait_while_open},
};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// When something that lasts is told: at once, and then more and more seldom.
#[derive(Debug)]
pub(super) struct Notices {
    next: Option<Instant>,
    pause: Duration,
}

impl Default for Notices {
    fn default() -> Self {
        Notices { next: None, pause: Duration::from_secs(60) }
    }
}

impl Notices {
    const SELDOM: Duration = Duration::from_secs(3600);

    /// Whether it is to be told now.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if self.next.is_some_and(|next| now < next) {
            return false;
        }
        self.next = Some(now + self.pause);
        self.pause = (self.pause * 2).min(Self::SELDOM);
        true
    }
}

/// Asks until there is an answer, as Kafka Streams does for its global stores: what may pass is tried again until
/// `task.timeout.ms` after it failed first, and said.
///
/// # Errors
/// What will not pass, what has not passed in time, and what the request to close has cut short.
pub(super) fn ask<T>(
    shared: &Shared,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T, ClientError>,
) -> Result<T> {
    let patience = shared.config.fields().task_timeout;
    let asking = async {
        let (mut first, mut notices, mut pause) = (None, Notices::default(), FIRST_PAUSE);
        loop {
            let error = match attempt().await {
                Err(error) if error.is_retriable() => error,
                done => return done,
            };
            let now = Instant::now();
            if now.duration_since(*first.get_or_insert(now)) >= patience {
                return Err(error);
            }
            if notices.is_due(now) {
                let ms = patience.as_millis();
                tracing::warn!("global stores: {what}: {error}; waiting up to `task.timeout.ms` {ms} for it to pass");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    };
    wait_while_open(asking).map_err(|error| client_failed(what, &error))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Notices;

    #[test]
    fn what_lasts_is_told_at_once_and_then_seldom() {
        let (start, mut notices) = (Instant::now(), Notices::default());
        let told = (0..=86_400_u64).filter(|second| notices.is_due(start + Duration::from_secs(*second)));
        let told: Vec<_> = told.take(9).collect();
        assert_eq!(told, [0, 60, 180, 420, 900, 1_860, 3_780, 7_380, 10_980]);
    }
}
