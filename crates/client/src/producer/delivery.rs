//! What becomes of a batch, shared by all who wait for one of its records.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::record::RecordMetadata;
use crate::error::ClientError;

/// What is called with a record's fate.
pub(crate) type Callback = Box<dyn FnOnce(Result<RecordMetadata, ClientError>) + Send>;

/// What the broker said of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// Offset of the first record; `None` if it is not known.
    pub(crate) base_offset: Option<i64>,
    /// The time of append, where it replaces the records' own.
    pub(crate) log_append_time: Option<i64>,
}

pub(crate) type Outcome = Result<Written, ClientError>;

/// The fate of one batch. Records wait for it by their index; it costs them a reference.
#[derive(Debug)]
pub(crate) struct BatchCompletion {
    topic: Arc<str>,
    partition: i32,
    /// When it was opened, see [`Pending`](super::pending::Pending); `None` if it is held back.
    epoch: Option<u64>,
    /// If it is held back: the epoch of its last record.
    held_epoch: AtomicU64,
    /// Set once, under the lock of `state`; read without it.
    end: OnceLock<End>,
    /// Some record was sent without anybody to tell.
    unobserved: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Those who wait for a record.
    wakers: Vec<Waiting>,
    /// Those who wait until nothing of the batch is open any more.
    settled: Vec<Waiting>,
    is_settled: bool,
    callbacks: Vec<(u32, i64, Callback)>,
}

#[derive(Debug, Clone)]
enum End {
    Known(Outcome),
    /// The batch was too large for the broker: its records went into these, each from its first index on.
    Split(Arc<[(u32, Arc<BatchCompletion>)]>),
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("waiting", &self.wakers.len()).finish_non_exhaustive()
    }
}

impl BatchCompletion {
    pub(crate) fn new(topic: Arc<str>, partition: i32, epoch: Option<u64>) -> Self {
        let (end, unobserved) = (OnceLock::new(), AtomicBool::new(false));
        Self { topic, partition, epoch, held_epoch: AtomicU64::new(0), end, unobserved, state: Mutex::default() }
    }

    /// The epoch of the last record, if the batch is held back.
    pub(crate) fn held_epoch(&self) -> u64 {
        self.held_epoch.load(Ordering::Acquire)
    }

    /// A record of this epoch came.
    #[inline]
    pub(crate) fn set_held_epoch(&self, epoch: u64) {
        self.held_epoch.store(epoch, Ordering::Release);
    }

    /// Whether everybody knows of it.
    pub(crate) fn is_settled(&self) -> bool {
        self.state.lock().is_settled
    }

    /// The epoch in which it was opened; `None` if it is held back.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    /// Whether some record's sender will not look.
    pub(crate) fn is_unobserved(&self) -> bool {
        self.unobserved.load(Ordering::Acquire)
    }

    /// Some record's sender will not look.
    #[inline]
    pub(crate) fn set_unobserved(&self) {
        if !self.unobserved.load(Ordering::Relaxed) {
            self.unobserved.store(true, Ordering::Release);
        }
    }

    /// Calls back for the record with this index.
    pub(crate) fn add_callback(&self, index: u32, timestamp: i64, callback: Callback) {
        self.state.lock().callbacks.push((index, timestamp, callback));
    }

    /// Topic and partition.
    pub(crate) fn place(&self) -> (&Arc<str>, i32) {
        (&self.topic, self.partition)
    }

    /// Tells everybody who waits for a record, callbacks first. Only the first time counts.
    pub(crate) fn tell(&self, outcome: &Outcome) {
        let mut state = self.state.lock();
        if self.end.set(End::Known(outcome.clone())).is_err() {
            return;
        }
        let wakers = std::mem::take(&mut state.wakers);
        let callbacks = std::mem::take(&mut state.callbacks);
        drop(state);
        for (index, timestamp, callback) in callbacks {
            let metadata = self.metadata(outcome, index, timestamp);
            // A callback's mistake must not stop the producer.
            if std::panic::catch_unwind(AssertUnwindSafe(|| callback(metadata))).is_err() {
                tracing::error!(topic = %self.topic, partition = self.partition, "a callback of a record panicked");
            }
        }
        wakers.into_iter().for_each(|one| one.waker.wake());
    }

    /// Lets those go who wait until nothing of the batch is open any more: everybody is told.
    pub(crate) fn settle(&self) {
        let mut state = self.state.lock();
        state.is_settled = true;
        let settled = std::mem::take(&mut state.settled);
        drop(state);
        settled.into_iter().for_each(|one| one.waker.wake());
    }

    /// Says that the records went into other batches: each takes over from its index on.
    pub(crate) fn split(&self, parts: Vec<(u32, Arc<Self>)>) {
        let parts: Arc<[(u32, Arc<Self>)]> = parts.into();
        let mut state = self.state.lock();
        if self.end.set(End::Split(Arc::clone(&parts))).is_err() {
            return;
        }
        let wakers = std::mem::take(&mut state.wakers);
        let callbacks = std::mem::take(&mut state.callbacks);
        let unobserved = self.unobserved.load(Ordering::Acquire);
        drop(state);
        for (_, part) in parts.iter().filter(|_| unobserved) {
            part.set_unobserved();
        }
        for (index, timestamp, callback) in callbacks {
            if let Some((part, index)) = part_of(&parts, index) {
                part.add_callback(index, timestamp, callback);
            }
        }
        wakers.into_iter().for_each(|one| one.waker.wake());
        self.settle();
    }

    /// Waits until every record of the batch has its fate, also those that went into other batches, and everybody knows.
    pub(crate) async fn settled(self: &Arc<Self>) {
        let mut open = vec![Arc::clone(self)];
        while let Some(batch) = open.pop() {
            let mut slot = None;
            let end = std::future::poll_fn(|context| {
                let mut state = batch.state.lock();
                if state.is_settled {
                    return Poll::Ready(batch.end.get().cloned());
                }
                slot = Some(register(&mut state.settled, slot, context.waker()));
                Poll::Pending
            });
            if let Some(End::Split(parts)) = end.await {
                open.extend(parts.iter().map(|(_, part)| Arc::clone(part)));
            }
        }
    }

    fn metadata(&self, outcome: &Outcome, index: u32, timestamp: i64) -> Result<RecordMetadata, ClientError> {
        let written = outcome.as_ref().map_err(Clone::clone)?;
        Ok(RecordMetadata {
            topic: Arc::clone(&self.topic),
            partition: self.partition,
            offset: written.base_offset.map(|base| base + i64::from(index)),
            timestamp: written.log_append_time.unwrap_or(timestamp),
        })
    }
}

/// The part that has the record with this index, and the index there.
fn part_of(parts: &[(u32, Arc<BatchCompletion>)], index: u32) -> Option<(&Arc<BatchCompletion>, u32)> {
    let (start, part) = parts.iter().rev().find(|(start, _)| *start <= index)?;
    Some((part, index - start))
}

/// The future of a record's metadata: ready when the broker has acknowledged the record, or it has failed for good.
///
/// Dropping it changes nothing for the record. Cancel-safe.
#[derive(Debug)]
pub struct Delivery {
    completion: Arc<BatchCompletion>,
    timestamp: i64,
    index: u32,
    slot: Option<u32>,
}

impl Delivery {
    pub(crate) fn new(completion: Arc<BatchCompletion>, index: u32, timestamp: i64) -> Self {
        Self { completion, timestamp, index, slot: None }
    }

    /// Whether the record's fate is known, so that waiting for it returns at once.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.completion.end.get().is_some()
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, ClientError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            match this.completion.end.get() {
                Some(End::Known(outcome)) => {
                    return Poll::Ready(this.completion.metadata(outcome, this.index, this.timestamp));
                }
                Some(End::Split(parts)) => {
                    let Some((part, index)) = part_of(parts, this.index) else {
                        return Poll::Ready(Err(ClientError::Closed));
                    };
                    let part = Arc::clone(part);
                    this.completion = part;
                    this.index = index;
                    this.slot = None;
                }
                None => {
                    let mut state = this.completion.state.lock();
                    // It may have been settled since; afterwards nobody is woken.
                    if this.completion.end.get().is_none() {
                        this.slot = Some(register(&mut state.wakers, this.slot, context.waker()));
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

/// Somebody to wake.
struct Waiting {
    waker: Waker,
    /// Whether several wait by it: then it is not one's own to change.
    is_shared: bool,
}

/// Remembers whom to wake, in the place of the last time if there is one.
fn register(waiting: &mut Vec<Waiting>, slot: Option<u32>, waker: &Waker) -> u32 {
    if let Some((slot, known)) = slot.and_then(|slot| Some((slot, waiting.get_mut(slot as usize)?))) {
        if known.waker.will_wake(waker) {
            return slot;
        }
        if !known.is_shared {
            known.waker = waker.clone();
            return slot;
        }
    }
    // Many records of one batch are mostly awaited by one task.
    if let Some(last) = waiting.last_mut().filter(|last| last.waker.will_wake(waker)) {
        last.is_shared = true;
        return waiting.len() as u32 - 1;
    }
    waiting.push(Waiting { waker: waker.clone(), is_shared: false });
    waiting.len() as u32 - 1
}
