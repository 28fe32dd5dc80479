//! `queued.max.requests` and `queued.max.request.bytes`: how many requests may be read and not handled, and how much memory
//! they may take.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

/// What the requests of all connections share.
#[derive(Debug, Clone)]
pub(crate) struct RequestBudget {
    /// Places of those that wait for the broker.
    pub(crate) places: Arc<Semaphore>,
    pub(crate) memory: Arc<RequestMemory>,
}

impl RequestBudget {
    /// As `queued.max.requests` and `queued.max.request.bytes` say.
    pub(crate) fn new(requests: usize, bytes: i64) -> Self {
        let places = Arc::new(Semaphore::new(requests.min(Semaphore::MAX_PERMITS)));
        Self { places, memory: Arc::new(RequestMemory::new(bytes)) }
    }
}

/// The memory for requests, shared by all connections.
///
/// A request is charged with all it announces before more of it is read than its head, as in Kafka, so that whatever
/// was begun can be read to its end. It is begun as long as anything is left, so that a request larger than the whole
/// can be served: the limit is passed by one request at most.
#[derive(Debug)]
pub(crate) struct RequestMemory {
    /// What may be charged, none without a limit.
    limit: Option<i64>,
    left: Mutex<i64>,
    released: Notify,
}

/// A request's part of the memory, given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    memory: Arc<RequestMemory>,
    bytes: i64,
}

impl RequestMemory {
    /// As `queued.max.request.bytes` says; below 0 there is no limit.
    pub(crate) fn new(limit: i64) -> Self {
        let limit = (limit > 0).then_some(limit);
        Self { limit, left: Mutex::new(limit.unwrap_or(0)), released: Notify::new() }
    }

    /// The memory for a request of this size, at once if there is any, and nothing to hold where there is no limit.
    /// Cancel-safe.
    pub(crate) async fn charge(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        self.limit?;
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            // Before the look at what is left, so that nothing given back in between is missed.
            released.as_mut().enable();
            if self.take(bytes) {
                return Some(Charge { memory: Arc::clone(self), bytes });
            }
            released.await;
        }
    }

    fn take(&self, bytes: i64) -> bool {
        let mut left = self.left.lock();
        let any = *left > 0;
        if any {
            *left -= bytes;
        }
        any
    }

    #[cfg(test)]
    fn left(&self) -> i64 {
        *self.left.lock()
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        *self.memory.left.lock() += self.bytes;
        self.memory.released.notify_waiters();
    }
}

/// A request's bytes with their charge: given back when the last slice of them is gone.
struct Charged {
    bytes: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Binds the charge to the bytes it is for.
pub(crate) fn charged(bytes: Bytes, charge: Option<Charge>) -> Bytes {
    match charge {
        Some(charge) => Bytes::from_owner(Charged { bytes, _charge: charge }),
        None => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_begun_as_long_as_anything_is_left() {
        let memory = Arc::new(RequestMemory::new(100));
        let first = memory.charge(60).await;
        let second = memory.charge(1000).await;
        assert_eq!(memory.left(), -960);
        let mut third = Box::pin(memory.charge(1));
        assert!(futures_poll(&mut third).await.is_none());
        drop(first);
        assert!(futures_poll(&mut third).await.is_none());
        drop(second);
        assert!(third.await.is_some());
        assert_eq!(memory.left(), 100);
    }

    /// Polls once.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| {
            let polled = std::pin::Pin::new(&mut *future).poll(context);
            std::task::Poll::Ready(match polled {
                std::task::Poll::Ready(value) => Some(value),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }

    #[tokio::test]
    async fn the_last_slice_gives_the_memory_back() {
        let memory = Arc::new(RequestMemory::new(100));
        let bytes = charged(Bytes::from_static(b"abc"), memory.charge(3).await);
        let slice = bytes.slice(1..);
        drop(bytes);
        assert_eq!(memory.left(), 97);
        drop(slice);
        assert_eq!(memory.left(), 100);
    }

    #[tokio::test]
    async fn without_a_limit_nothing_is_charged() {
        let memory = Arc::new(RequestMemory::new(-1));
        assert!(memory.charge(usize::MAX).await.is_none());
    }
}
