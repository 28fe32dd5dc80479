//! What becomes of requests, by their API: how many, how large, and where their time goes.
//!
//! A request is counted when it is over, that is when its answer is in the socket. The time before that has parts:
//!
//! ```text
//! read ──queue──▶ handled ──local and remote──▶ answered ──send──▶ sent
//! ```
//!
//! Local is the time in which a thread worked on it, remote that in which it waited for others: for data, for members of a
//! group, for a coordinator. There is no queue of answers: whoever has made one sends it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use vltava_metrics::{Counter, Histogram};
use vltava_protocol::ApiKey;

use super::flushes::micros;

/// Of all APIs. What was never asked for takes no memory, and has no series.
#[derive(Debug)]
pub(crate) struct RequestMetrics {
    /// By the number of the API.
    apis: [OnceLock<Box<ApiMetrics>>; APIS],
}

/// More than the number of any API.
const APIS: usize = 128;

/// Of the requests of one API. Times are in microseconds.
#[derive(Debug, Default)]
pub(crate) struct ApiMetrics {
    /// How many there were of each version.
    versions: [Counter; VERSIONS],
    pub(super) bytes: Histogram,
    pub(super) total: Histogram,
    pub(super) queue: Histogram,
    pub(super) local: Histogram,
    pub(super) remote: Histogram,
    pub(super) send: Histogram,
    pub(super) throttle: Histogram,
}

/// More than any API has versions.
const VERSIONS: usize = 32;

/// What one request took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) bytes: usize,
    pub(crate) queue: Duration,
    /// How much of `handled` it waited for others.
    pub(crate) remote: Duration,
    /// From the beginning of its handling until there was an answer.
    pub(crate) handled: Duration,
    pub(crate) send: Duration,
    pub(crate) throttle: Duration,
}

impl Default for RequestMetrics {
    fn default() -> Self {
        Self { apis: [const { OnceLock::new() }; APIS] }
    }
}

impl RequestMetrics {
    /// Of an API, from now on.
    pub(crate) fn of(&self, api: ApiKey) -> Option<&ApiMetrics> {
        let place = self.apis.get(usize::from(api.code().unsigned_abs()))?;
        Some(&**place.get_or_init(Box::default))
    }

    /// Of those APIs that were asked for.
    pub(super) fn known(&self) -> impl Iterator<Item = (ApiKey, &ApiMetrics)> {
        let metrics = |api: &ApiKey| self.apis.get(usize::from(api.code().unsigned_abs()))?.get();
        ApiKey::ALL.iter().filter_map(move |api| Some((*api, &**metrics(api)?)))
    }
}

impl ApiMetrics {
    /// Counts a request that is over.
    pub(crate) fn record(&self, version: i16, spent: &Spent) {
        if let Some(count) = usize::try_from(version).ok().and_then(|version| self.versions.get(version)) {
            count.increment();
        }
        self.bytes.record(spent.bytes as u64);
        self.total.record(micros(spent.queue + spent.handled + spent.send));
        self.queue.record(micros(spent.queue));
        self.local.record(micros(spent.handled.saturating_sub(spent.remote)));
        self.remote.record(micros(spent.remote));
        self.send.record(micros(spent.send));
        self.throttle.record(micros(spent.throttle));
    }

    /// How many there were of each version that was asked for.
    pub(super) fn versions(&self) -> impl Iterator<Item = (usize, u64)> {
        self.versions.iter().map(Counter::count).enumerate().filter(|(_, count)| *count > 0)
    }
}

/// Does some work, and gives the time in which it waited for others with what came of it. Work that does not wait, as most
/// does not, reads no clock.
pub(crate) async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let mut work = pin!(work);
    let (mut remote, mut waits_since) = (Duration::ZERO, None);
    poll_fn(|context| {
        if let Some(since) = waits_since.take() {
            remote += Instant::now().duration_since(since);
        }
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            waits_since = Some(Instant::now());
        }
        polled.map(|done| (done, remote))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_waiting_for_others_is_remote() {
        let begun = Instant::now();
        let ((), remote) = timed(tokio::time::sleep(Duration::from_millis(20))).await;
        assert!(remote >= Duration::from_millis(19) && remote <= begun.elapsed(), "{remote:?}");
        let ((), none) = timed(async {}).await;
        assert_eq!(none, Duration::ZERO);
    }

    #[test]
    fn a_request_is_counted_with_its_parts() {
        let requests = RequestMetrics::default();
        assert_eq!(requests.known().count(), 0);
        assert!(ApiKey::ALL.iter().all(|api| usize::from(api.code().unsigned_abs()) < APIS));
        let ms = Duration::from_millis;
        let spent = Spent { bytes: 100, queue: ms(1), remote: ms(5), handled: ms(7), send: ms(3), throttle: ms(0) };
        for version in [13, 13, 12] {
            requests.of(ApiKey::Produce).unwrap().record(version, &spent);
        }
        let (api, produce) = requests.known().next().unwrap();
        assert_eq!((api, requests.known().count()), (ApiKey::Produce, 1));
        assert_eq!(produce.versions().collect::<Vec<_>>(), [(12, 1), (13, 2)]);
        let sums = [&produce.total, &produce.queue, &produce.local, &produce.remote, &produce.send, &produce.throttle];
        assert_eq!(sums.map(|part| part.read(0).sum), [33_000, 3_000, 6_000, 15_000, 9_000, 0]);
        assert_eq!((produce.bytes.read(0).sum, produce.bytes.read(0).all.count()), (300, 3));
        requests.of(ApiKey::Fetch).unwrap().record(i16::MAX, &spent);
        assert_eq!(requests.known().count(), 2, "a version that there is not is counted nowhere else");
    }
}
