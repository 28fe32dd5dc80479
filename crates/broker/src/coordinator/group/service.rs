//! Drives the shards: requests in, records into the log, answers out, deadlines kept.
//!
//! A shard is behind a lock, and an operation with its append happens under it, so records are in the log in the
//! order in which the shard made them, and an answer leaves after them. Where an append fails, everybody who waits is
//! answered by the error, and the shard is loaded again: it was ahead of its log.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{JoinGroupRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse};

use super::config::GroupCoordinatorConfig;
use super::load;
use super::shard::{Caller, GroupCoordinatorShard, Output};
use crate::coordinator::shard::{Now, ReplyToken};
use crate::coordinator::write::{self, BatchWriter};

/// The log under the coordinator: the partitions of `__consumer_offsets`.
pub(crate) trait OffsetsLog: Send + Sync + 'static {
    /// Appends a batch; it is in the log, as safe as the topic makes it, when this returns.
    fn append(&self, partition: i32, batch: &Bytes, now_ms: i64) -> Result<(), ErrorCode>;

    /// Reads whole batches from `offset` on; at least one, if there is one.
    fn read(&self, partition: i32, offset: i64, max_bytes: usize) -> Result<Bytes, ErrorCode>;

    /// Returns the offsets of the first record and after the last one.
    fn bounds(&self, partition: i32) -> Result<(i64, i64), ErrorCode>;
}

/// The group coordinator of a broker.
pub(crate) struct GroupCoordinator {
    config: Arc<GroupCoordinatorConfig>,
    log: Arc<dyn OffsetsLog>,
    runtime: Handle,
    started: Instant,
    /// By partition of the offsets topic; none as long as the topic is not there.
    slots: RwLock<Vec<Arc<Slot>>>,
}

/// A partition's place for its shard.
struct Slot {
    partition: i32,
    state: Mutex<SlotState>,
    /// Told when the shard has an earlier deadline than it had, and at the end.
    changed: Notify,
    is_gone: AtomicBool,
}

enum SlotState {
    Loading,
    Active(Box<Active>),
    /// The log could not be read or written; the next request has it loaded again.
    Unloaded,
    /// The log has records that cannot be understood: to serve without them would be to lose them.
    Corrupt,
}

/// A loaded shard, with those who wait for it.
pub(super) struct Active {
    pub(super) shard: GroupCoordinatorShard,
    writer: BatchWriter,
    joins: HashMap<ReplyToken, oneshot::Sender<JoinGroupResponse>>,
    syncs: HashMap<ReplyToken, oneshot::Sender<SyncGroupResponse>>,
    next_token: u64,
}

impl std::fmt::Debug for GroupCoordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupCoordinator").field("config", &self.config).finish_non_exhaustive()
    }
}

impl GroupCoordinator {
    /// Makes a coordinator without partitions: it answers `NOT_COORDINATOR` until [`GroupCoordinator::start`]. To be
    /// called within the runtime that it is to run in.
    pub(crate) fn new(config: GroupCoordinatorConfig, log: Arc<dyn OffsetsLog>) -> Self {
        Self {
            config: Arc::new(config),
            log,
            runtime: Handle::current(),
            started: Instant::now(),
            slots: RwLock::default(),
        }
    }

    /// Begins to serve the partitions of the offsets topic. Empty ones are there at once, the others are loaded aside.
    /// Nothing happens if they are served already.
    pub(crate) fn start(self: &Arc<Self>, num_partitions: i32) {
        let mut slots = self.slots.write();
        if !slots.is_empty() {
            return;
        }
        let make = |partition| {
            let state = Mutex::new(SlotState::Loading);
            Arc::new(Slot { partition, state, changed: Notify::new(), is_gone: AtomicBool::new(false) })
        };
        *slots = (0..num_partitions).map(make).collect();
        let mut behind = Vec::new();
        for slot in slots.iter() {
            match self.log.bounds(slot.partition) {
                Ok((start, end)) if start == end => self.load(slot),
                _ => behind.push(slot.clone()),
            }
            self.runtime.spawn(keep_deadlines(Arc::downgrade(self), slot.clone()));
        }
        drop(slots);
        if !behind.is_empty() {
            let coordinator = self.clone();
            self.runtime.spawn_blocking(move || behind.iter().for_each(|slot| coordinator.load(slot)));
        }
    }

    /// Stops to serve: the offsets topic is gone. Whoever waits is told to look for the coordinator again.
    pub(crate) fn stop(&self) {
        for slot in std::mem::take(&mut *self.slots.write()) {
            let state = std::mem::replace(&mut *slot.state.lock(), SlotState::Corrupt);
            if let SlotState::Active(mut active) = state {
                active.refuse_all(ErrorCode::NotCoordinator);
            }
            slot.is_gone.store(true, Ordering::Release);
            slot.changed.notify_one();
        }
    }

    /// Returns the partition of the offsets topic that a group belongs to, of `num_partitions`.
    pub(crate) fn partition_for(group_id: &str, num_partitions: usize) -> usize {
        // Java's String.hashCode, of which Kafka takes the absolute value.
        let hash =
            group_id.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
        let hash = usize::try_from(hash.checked_abs().unwrap_or(0)).unwrap_or(0);
        hash.checked_rem(num_partitions).unwrap_or(0)
    }

    /// Joins a group; waits until the group has its next generation.
    ///
    /// Cancel-safe: if the caller goes away its member stays, until its session ends.
    pub(crate) async fn join_group(&self, caller: &Caller, request: JoinGroupRequest) -> JoinGroupResponse {
        let (sender, receiver) = oneshot::channel();
        let member_id = request.member_id.clone();
        let refuse = |error: ErrorCode| JoinGroupResponse {
            error_code: error.code(),
            member_id: member_id.clone(),
            ..JoinGroupResponse::default()
        };
        let parked = self.run(&request.group_id.clone(), |active, now| {
            let token = active.token();
            active.joins.insert(token, sender);
            active.shard.join_group(now, caller, request, token);
        });
        match parked {
            Ok(()) => receiver.await.unwrap_or_else(|_| refuse(ErrorCode::NotCoordinator)),
            Err(error) => refuse(error),
        }
    }

    /// Asks for the assignment of a member; waits until the leader has given it.
    ///
    /// Cancel-safe, as [`GroupCoordinator::join_group`].
    pub(crate) async fn sync_group(&self, request: SyncGroupRequest) -> SyncGroupResponse {
        let (sender, receiver) = oneshot::channel();
        let refuse = |error: ErrorCode| SyncGroupResponse { error_code: error.code(), ..SyncGroupResponse::default() };
        let parked = self.run(&request.group_id.clone(), |active, now| {
            let token = active.token();
            active.syncs.insert(token, sender);
            active.shard.sync_group(now, request, token);
        });
        match parked {
            Ok(()) => receiver.await.unwrap_or_else(|_| refuse(ErrorCode::NotCoordinator)),
            Err(error) => refuse(error),
        }
    }

    /// Runs an operation on the shard of a group, and returns what it gives when its records are in the log.
    ///
    /// # Errors
    ///
    /// `NOT_COORDINATOR` and `COORDINATOR_LOAD_IN_PROGRESS` before anything is done, and those of a failed append.
    pub(crate) fn with_shard<T>(
        &self,
        group_id: &str,
        operation: impl FnOnce(&mut GroupCoordinatorShard, Now) -> T,
    ) -> Result<T, ErrorCode> {
        self.run(group_id, |active, now| operation(&mut active.shard, now))
    }

    /// Runs an operation on every shard that can answer.
    ///
    /// # Errors
    ///
    /// `COORDINATOR_LOAD_IN_PROGRESS` if a shard is still being loaded, or another reason why one cannot answer.
    pub(crate) fn with_all_shards<T>(
        &self,
        mut operation: impl FnMut(&mut GroupCoordinatorShard, Now) -> T,
    ) -> Result<Vec<T>, ErrorCode> {
        let slots = self.slots.read().clone();
        let results: Vec<_> =
            slots.iter().map(|slot| self.run_in(slot, |active, now| operation(&mut active.shard, now))).collect();
        results.into_iter().collect()
    }

    fn run<T>(&self, group_id: &str, operation: impl FnOnce(&mut Active, Now) -> T) -> Result<T, ErrorCode> {
        let slot = {
            let slots = self.slots.read();
            let partition = Self::partition_for(group_id, slots.len());
            slots.get(partition).cloned().ok_or(ErrorCode::NotCoordinator)?
        };
        self.run_in(&slot, operation)
    }

    fn run_in<T>(&self, slot: &Arc<Slot>, operation: impl FnOnce(&mut Active, Now) -> T) -> Result<T, ErrorCode> {
        let mut state = slot.state.lock();
        let active = match &mut *state {
            SlotState::Active(active) => active,
            SlotState::Loading => return Err(ErrorCode::CoordinatorLoadInProgress),
            SlotState::Corrupt => return Err(ErrorCode::NotCoordinator),
            SlotState::Unloaded => {
                *state = SlotState::Loading;
                drop(state);
                self.load(slot);
                return Err(ErrorCode::CoordinatorLoadInProgress);
            }
        };
        let deadline = active.shard.next_deadline();
        let now = self.now();
        let value = operation(active, now);
        let output = active.shard.take_output();
        if let Err(error) = self.release(slot.partition, active, output, now) {
            tracing::error!(partition = slot.partition, ?error, "the coordinator's records could not be appended");
            active.refuse_all(error);
            *state = SlotState::Unloaded;
            return Err(error);
        }
        let next = active.shard.next_deadline();
        drop(state);
        if next.is_some_and(|next| deadline.is_none_or(|deadline| next < deadline)) {
            slot.changed.notify_one();
        }
        Ok(value)
    }

    /// Appends an operation's records, then lets its answers go.
    fn release(&self, partition: i32, active: &mut Active, output: Output, now: Now) -> Result<(), ErrorCode> {
        let max_bytes = if output.divisible { self.config.max_batch_bytes } else { usize::MAX };
        for batch in active.writer.batches(&output.records, max_bytes, now.timestamp_ms) {
            let appended = batch.and_then(|batch| self.log.append(partition, &batch, now.timestamp_ms));
            appended.map_err(write::response_error)?;
        }
        for (token, response) in output.joins {
            if let Some(sender) = active.joins.remove(&token) {
                // Nobody is there any more if the client's connection was closed.
                let _ = sender.send(response);
            }
        }
        for (token, response) in output.syncs {
            if let Some(sender) = active.syncs.remove(&token) {
                let _ = sender.send(response);
            }
        }
        Ok(())
    }

    /// Makes a slot's shard from its log.
    fn load(&self, slot: &Slot) {
        let begun = Instant::now();
        let shard = GroupCoordinatorShard::new(self.config.clone(), fastrand::u64(..));
        let loaded = match load::replay(shard, &*self.log, slot.partition) {
            Ok(mut shard) => {
                let now = self.now();
                shard.loaded(now);
                let output = shard.take_output();
                let mut active = Box::new(Active::new(shard, &self.config));
                match self.release(slot.partition, &mut active, output, now) {
                    Ok(()) => SlotState::Active(active),
                    Err(_) => SlotState::Unloaded,
                }
            }
            Err(load::LoadError::Log(error)) => {
                tracing::error!(partition = slot.partition, ?error, "a partition of the coordinator cannot be read");
                SlotState::Unloaded
            }
            Err(error) => {
                tracing::error!(partition = slot.partition, %error, "a partition of the coordinator cannot be loaded");
                SlotState::Corrupt
            }
        };
        tracing::debug!(partition = slot.partition, elapsed = ?begun.elapsed(), "loaded a partition of the coordinator");
        *slot.state.lock() = loaded;
        slot.changed.notify_one();
    }

    fn now(&self) -> Now {
        let elapsed = self.started.elapsed().as_millis();
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Now {
            elapsed_ms: i64::try_from(elapsed).unwrap_or(i64::MAX),
            timestamp_ms: i64::try_from(timestamp).unwrap_or(i64::MAX),
        }
    }
}

impl Drop for GroupCoordinator {
    fn drop(&mut self) {
        for slot in self.slots.get_mut().iter() {
            slot.changed.notify_one();
        }
    }
}

impl Active {
    fn new(shard: GroupCoordinatorShard, config: &GroupCoordinatorConfig) -> Self {
        Self {
            shard,
            writer: BatchWriter::new(config.offsets_topic_compression),
            joins: HashMap::new(),
            syncs: HashMap::new(),
            next_token: 0,
        }
    }

    fn token(&mut self) -> ReplyToken {
        self.next_token += 1;
        ReplyToken(self.next_token)
    }

    /// Answers everybody who waits by an error.
    fn refuse_all(&mut self, error: ErrorCode) {
        for (_, sender) in self.joins.drain() {
            let _ = sender.send(JoinGroupResponse { error_code: error.code(), ..JoinGroupResponse::default() });
        }
        for (_, sender) in self.syncs.drain() {
            let _ = sender.send(SyncGroupResponse { error_code: error.code(), ..SyncGroupResponse::default() });
        }
    }
}

/// Wakes a shard at its deadlines, until the coordinator is gone.
async fn keep_deadlines(coordinator: Weak<GroupCoordinator>, slot: Arc<Slot>) {
    loop {
        if slot.is_gone.load(Ordering::Acquire) {
            return;
        }
        let deadline = {
            let Some(coordinator) = coordinator.upgrade() else { return };
            let now = coordinator.now();
            let deadline = match &*slot.state.lock() {
                SlotState::Active(active) => active.shard.next_deadline(),
                SlotState::Loading | SlotState::Unloaded | SlotState::Corrupt => None,
            };
            if deadline.is_some_and(|deadline| deadline <= now.elapsed_ms) {
                // An error has been logged, and the slot has no deadlines then.
                let _ = coordinator.run_in(&slot, |active, now| active.shard.expire(now));
                continue;
            }
            deadline.map(|deadline| {
                coordinator.started + Duration::from_millis(u64::try_from(deadline).unwrap_or_default())
            })
        };
        match deadline {
            Some(deadline) => {
                let sleep = tokio::time::sleep_until(deadline.into());
                tokio::select! {
                    () = sleep => {}
                    () = slot.changed.notified() => {}
                }
            }
            None => slot.changed.notified().await,
        }
    }
}

#[cfg(test)]
mod tests;
