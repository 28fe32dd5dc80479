//! Runs a coordinator: requests in, records into the log, answers out when they are committed, deadlines kept.
//!
//! A coordinator has a topic, and for each partition of it a [`Shard`], which serves the keys that hash to it. The
//! partition's [`context`] is behind a lock, under which an operation runs and its records are appended, so records are
//! in the log in the order in which the shard made them. When answers go, and what becomes of a shard whose records
//! were not appended, stands there. A task for each partition waits for what comes by itself: a deadline, a high
//! watermark, the end of a leader epoch.

#[cfg(test)]
pub(super) mod by_hand;
mod context;
mod leader;
mod load;
mod parked;

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use vltava_log::VerificationGuard;
use vltava_protocol::java::string_hash;
use vltava_protocol::record::{Compression, ProducerState};
use vltava_protocol::{ErrorCode, Uuid};

use self::context::{CoordinatorContext, Outcome, Pending, ShardStanding};
use self::load::Load;
use super::log::CoordinatorLog;
use super::record::RecordBytes;
use super::shard::{Now, ReplyToken, Shard};
use crate::clock;
use crate::partition::EndTransaction;

/// What the runtime of a coordinator is set by.
#[derive(Clone, Debug)]
pub(crate) struct RuntimeConfig {
    /// How batches are compressed.
    pub(crate) compression: Compression,
    /// The most that a batch of records takes that may be split.
    pub(crate) max_batch_bytes: usize,
    /// How much of a partition is read at once when it is loaded.
    pub(crate) load_buffer_bytes: usize,
    /// How long an answer waits for its records to be committed.
    pub(crate) write_timeout_ms: i64,
}

/// A coordinator of a broker.
pub(crate) struct Coordinator<S: Shard> {
    shared: Arc<Shared<S>>,
    runtime: Handle,
    served: RwLock<Served<S>>,
}

/// What all partitions of a coordinator use.
struct Shared<S: Shard> {
    config: RuntimeConfig,
    shard_config: Arc<S::Config>,
    log: Arc<dyn CoordinatorLog>,
    perform: Box<Perform<S::Effect>>,
}

/// What does the effects of a coordinator, given the leader epoch of the partition they are of. It is called where the log
/// is appended to, and must not wait for anything.
pub(crate) type Perform<E> = dyn Fn(i32, E) + Send + Sync;

/// The topic that is served; none as long as it is not there.
struct Served<S: Shard> {
    topic_id: Option<Uuid>,
    /// By partition.
    slots: Vec<Arc<Slot<S>>>,
}

/// How the partitions of a coordinator stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) active: usize,
    pub(crate) loading: usize,
    /// They cannot be served, or not now.
    pub(crate) failed: usize,
}

struct Slot<S: Shard> {
    context: Mutex<CoordinatorContext<S>>,
    /// Told when the context has something to do, or something earlier than before.
    changed: Arc<Notify>,
}

impl<S: Shard> Debug for Coordinator<S> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinator")
            .field("topic", &S::TOPIC)
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl<S: Shard> Coordinator<S> {
    /// Makes a coordinator without partitions: it answers `NOT_COORDINATOR` until [`Coordinator::follow`] brings it a
    /// topic. To be called within the runtime that it is to run in.
    pub(crate) fn new(
        config: RuntimeConfig,
        shard_config: Arc<S::Config>,
        log: Arc<dyn CoordinatorLog>,
        perform: Box<Perform<S::Effect>>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared { config, shard_config, log, perform }),
            runtime: Handle::current(),
            served: RwLock::new(Served { topic_id: None, slots: Vec::new() }),
        }
    }

    /// Serves the topic as it is now, by its id and number of partitions: begins with it, ends with it, and begins anew
    /// if it is another one of the name. Partitions that a topic is given later are not served before a restart, as
    /// keys would move.
    ///
    /// Empty partitions are there at once, the others are loaded aside.
    pub(crate) fn follow(&self, topic: Option<(Uuid, usize)>) {
        let mut served = self.served.write();
        let topic_id = topic.map(|(id, _)| id);
        if served.topic_id == topic_id {
            return;
        }
        served.topic_id = topic_id;
        for slot in std::mem::take(&mut served.slots) {
            slot.close();
        }
        let Some((_, num_partitions)) = topic else { return };
        served.slots = (0..).take(num_partitions).map(|partition| Slot::new(&self.shared, partition)).collect();
        let mut behind = Vec::new();
        for slot in &served.slots {
            let begun = slot.context.lock().begin_load();
            match begun {
                Ok(Some(load)) if load.is_empty() => slot.load(&load),
                Ok(Some(load)) => behind.push((slot.clone(), load)),
                Ok(None) => {}
                // The next request tries again.
                Err(error) => tracing::error!(topic = S::TOPIC, ?error, "a partition of a coordinator is not led"),
            }
            self.runtime.spawn(attend(slot.clone()));
        }
        drop(served);
        if !behind.is_empty() {
            self.runtime.spawn_blocking(move || behind.iter().for_each(|(slot, load)| slot.load(load)));
        }
    }

    /// Runs an operation on the shard of a key; returns what it gives when all that it has seen or done is committed.
    ///
    /// Cancel-safe: if the caller goes away, what was begun is done.
    ///
    /// # Errors
    ///
    /// `NOT_COORDINATOR` and `COORDINATOR_LOAD_IN_PROGRESS` before anything is done; those of a failed append, and
    /// `COORDINATOR_NOT_AVAILABLE` or `NOT_COORDINATOR` if the records were not committed in time or leadership ended:
    /// they may be committed all the same.
    pub(crate) async fn with_shard<T>(
        &self,
        key: &str,
        operation: impl FnOnce(&mut S, Now) -> T,
    ) -> Result<T, ErrorCode> {
        let slot = self.slot_of(key)?;
        let (value, pending) = self.run(&slot, |context, now| context.run(now, operation))?;
        committed(pending).await?;
        Ok(value)
    }

    /// Appends records of a producer's transaction to the partition of a key, and folds them into its shard's state. What
    /// `operation` gives is told when they are committed, to the log: they wait for the end of the transaction.
    ///
    /// Cancel-safe, as [`Coordinator::with_shard`].
    ///
    /// # Errors
    ///
    /// As [`Coordinator::with_shard`], and what a log refuses a producer by: then nothing is done.
    pub(crate) async fn with_shard_transactional<T>(
        &self,
        key: &str,
        producer: ProducerState,
        guard: VerificationGuard,
        operation: impl FnOnce(&S, Now) -> (T, Vec<(RecordBytes, S::Record)>),
    ) -> Result<T, ErrorCode> {
        let slot = self.slot_of(key)?;
        let (value, pending) =
            self.run(&slot, |context, now| context.run_transactional(now, producer, guard, operation))?;
        committed(pending).await?;
        Ok(value)
    }

    /// Appends the marker that ends a producer's transaction to a partition, and folds the end into its shard's state.
    ///
    /// Cancel-safe, as [`Coordinator::with_shard`].
    ///
    /// # Errors
    ///
    /// As [`Coordinator::with_shard_transactional`].
    pub(crate) async fn end_transaction(&self, partition: i32, marker: &EndTransaction) -> Result<(), ErrorCode> {
        let at = usize::try_from(partition).ok();
        let slot = at.and_then(|at| self.served.read().slots.get(at).cloned()).ok_or(ErrorCode::NotCoordinator)?;
        let ((), pending) = self.run(&slot, |context, now| context.end_transaction(now, marker))?;
        committed(pending).await
    }

    /// The partition that a key belongs to; none as long as the topic is not there.
    pub(crate) fn partition_of(&self, key: &str) -> Option<i32> {
        partition_for(key, self.served.read().slots.len()).and_then(|partition| i32::try_from(partition).ok())
    }

    /// Runs an operation on the shard of a key that answers by the token it is given, now or later.
    ///
    /// Cancel-safe, as [`Coordinator::with_shard`].
    ///
    /// # Errors
    ///
    /// As [`Coordinator::with_shard`]; also if the shard is unloaded while the request waits.
    pub(crate) async fn ask(
        &self,
        key: &str,
        operation: impl FnOnce(&mut S, Now, ReplyToken),
    ) -> Result<S::Reply, ErrorCode> {
        let slot = self.slot_of(key)?;
        let pending = self.run(&slot, |context, now| context.ask(now, operation))?;
        answered(pending).await
    }

    /// Runs an operation on every shard, as [`Coordinator::with_shard`] does. A partition that this broker does not lead
    /// has nothing to say.
    ///
    /// # Errors
    ///
    /// `COORDINATOR_LOAD_IN_PROGRESS` if a shard is still being loaded, or another reason why one cannot answer.
    pub(crate) async fn with_all_shards<T>(
        &self,
        operation: impl FnMut(&mut S, Now) -> T,
    ) -> Result<Vec<T>, ErrorCode> {
        let mut values = Vec::new();
        for result in self.run_on_all(operation) {
            let told = match result {
                Ok((value, pending)) => committed(pending).await.map(|()| value),
                Err(error) => Err(error),
            };
            match told {
                Ok(value) => values.push(value),
                Err(ErrorCode::NotCoordinator) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(values)
    }

    /// Runs an operation on every shard, and does not wait for what it writes to be committed.
    ///
    /// # Errors
    ///
    /// Why one of the shards could not.
    pub(crate) fn tell_all_shards(&self, operation: impl FnMut(&mut S, Now)) -> Result<(), ErrorCode> {
        self.run_on_all(operation).into_iter().try_for_each(|result| result.map(|_| ()))
    }

    fn run_on_all<T>(&self, mut operation: impl FnMut(&mut S, Now) -> T) -> Vec<Outcome<T>> {
        let slots = self.served.read().slots.clone();
        slots.iter().map(|slot| self.run(slot, |context, now| context.run(now, &mut operation))).collect()
    }

    /// Looks at every shard that is served, as it is: nothing is loaded for it, and nothing waited for.
    pub(crate) fn look(&self, mut look: impl FnMut(&S)) -> Standing {
        let slots = self.served.read().slots.clone();
        let mut standing = Standing::default();
        for slot in slots {
            let context = slot.context.lock();
            let count = match context.standing() {
                ShardStanding::Active(shard) => {
                    look(shard);
                    &mut standing.active
                }
                ShardStanding::Loading => &mut standing.loading,
                ShardStanding::Failed => &mut standing.failed,
            };
            *count += 1;
        }
        standing
    }

    fn slot_of(&self, key: &str) -> Result<Arc<Slot<S>>, ErrorCode> {
        let slots = &self.served.read().slots;
        let partition = partition_for(key, slots.len());
        partition.and_then(|partition| slots.get(partition)).cloned().ok_or(ErrorCode::NotCoordinator)
    }

    /// Works with a slot's context, if it is loaded; else has it loaded.
    fn run<T>(
        &self,
        slot: &Arc<Slot<S>>,
        work: impl FnOnce(&mut CoordinatorContext<S>, Now) -> Result<T, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        let mut context = slot.context.lock();
        if let Some(load) = context.begin_load()? {
            drop(context);
            let slot = slot.clone();
            self.runtime.spawn_blocking(move || slot.load(&load));
            return Err(ErrorCode::CoordinatorLoadInProgress);
        }
        let deadline = context.next_deadline();
        let result = work(&mut context, now());
        let next = context.next_deadline();
        drop(context);
        if next.is_some_and(|next| deadline.is_none_or(|deadline| next < deadline)) {
            slot.changed.notify_one();
        }
        result
    }
}

impl<S: Shard> Drop for Coordinator<S> {
    fn drop(&mut self) {
        for slot in &self.served.get_mut().slots {
            slot.close();
        }
    }
}

impl<S: Shard> Slot<S> {
    fn new(shared: &Arc<Shared<S>>, partition: i32) -> Arc<Self> {
        let changed = Arc::new(Notify::new());
        let context = Mutex::new(CoordinatorContext::new(shared.clone(), partition, changed.clone()));
        Arc::new(Self { context, changed })
    }

    fn load(&self, load: &Load<S>) {
        let loaded = load.replay(fastrand::u64(..));
        self.context.lock().finish_load(load, loaded, now());
        self.changed.notify_one();
    }

    fn close(&self) {
        self.context.lock().close();
        self.changed.notify_one();
    }
}

/// Does what comes by itself in a partition, until the partition is closed.
async fn attend<S: Shard>(slot: Arc<Slot<S>>) {
    loop {
        let (load, delay) = {
            let mut context = slot.context.lock();
            if context.is_closed() {
                return;
            }
            let now = now();
            context.advance(now);
            let load = context.begin_due_load(now);
            let next = context.next_deadline().into_iter().chain(context.next_load(now)).min();
            (load, next.map(|deadline| deadline.saturating_sub(now.elapsed_ms).max(0)))
        };
        if let Some(load) = load {
            let slot = slot.clone();
            // A load that panics has said so, and the partition is tried again by whoever asks.
            let _ = tokio::task::spawn_blocking(move || slot.load(&load)).await;
            continue;
        }
        match delay {
            Some(delay_ms) => {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(delay_ms.unsigned_abs())) => {}
                    () = slot.changed.notified() => {}
                }
            }
            None => slot.changed.notified().await,
        }
    }
}

/// Waits for an answer. Nobody is left to give it when the coordinator is gone.
async fn answered<R>(pending: Pending<R>) -> Result<R, ErrorCode> {
    pending.await.unwrap_or(Err(ErrorCode::NotCoordinator))
}

async fn committed(pending: Option<Pending<()>>) -> Result<(), ErrorCode> {
    match pending {
        Some(pending) => answered(pending).await,
        None => Ok(()),
    }
}

/// Returns the partition of a coordinator's topic that a key belongs to, of `num_partitions`; none if there are none.
pub(crate) fn partition_for(key: &str, num_partitions: usize) -> Option<usize> {
    // Java's String.hashCode, of which Kafka takes the absolute value, with 0 for the one that has none.
    let hash = string_hash(key).checked_abs().map_or(0, i32::unsigned_abs);
    (hash as usize).checked_rem(num_partitions)
}

fn now() -> Now {
    let now = clock::now();
    Now { elapsed_ms: now.uptime_ms, timestamp_ms: now.wall_ms }
}

#[cfg(test)]
mod tests;
