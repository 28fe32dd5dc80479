//! One partition of a coordinator: its shard, the log under it, and who waits for either.
//!
//! ```text
//!              lead                replayed
//!  Unloaded ─────────▶ Loading ──────────────▶ Active
//!     ▲                 │    │                   │
//!     └─────────────────┘    │ cannot be         │ an append failed, or the
//!     ▲ cannot be read       ▼ understood        │ leader epoch is over
//!     │                    Corrupt               │
//!     └──────────────────────────────────────────┘
//!
//!  any of them ──▶ Closed: the topic is gone
//! ```
//!
//! **An answer waits** for the offset up to which its shard had written when the answer was made, its own records and
//! those of others that it may have seen, so nothing that was told is lost. Where the high watermark is there already,
//! as at one replica, it goes at once. It is refused when it has waited for `write_timeout_ms`, and when the leader
//! epoch is over: the high watermark of another epoch says nothing about our records.
//!
//! **When an append fails** the shard is ahead of its log, and there is no way back in it: it is thrown away, and loaded
//! again by replay when somebody asks for it. The request whose records failed, and those that wait for something that
//! only the lost shard knew, are told; answers that wait for earlier records go on waiting, for those are in the log.
//! (Kafka takes its state back to a snapshot of before the batch, for which every structure keeps its past; we pay for
//! a failure when there is one.) An operation whose records cannot be written as bytes ends in the same way. The task of
//! the partition loads it again if nobody asks, for a shard has deadlines to keep.
//!
//! **What belongs to somebody's transaction**, records and the marker that ends it, is appended first and folded into the
//! state then: a log that refuses it, as it does with a producer that is fenced, costs nobody their shard.
//!
//! **Effects**, what a shard wants done outside of it, are given out when the records before them are committed. They
//! are forgotten with the shard, and one that is loaded asks for what its records say is not done.
//!
//! Nothing here reads a clock, spawns, or waits: a simulation runs it by seed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::{Notify, oneshot};
use vltava_log::VerificationGuard;
use vltava_protocol::record::ProducerState;
use vltava_protocol::{ErrorCode, invariant};

use super::Shared;
use super::leader::Tenure;
use super::load::{Load, LoadError};
use super::parked::{Answers, Parked, ReplySender};
use crate::coordinator::record::RecordBytes;
use crate::coordinator::shard::{Now, Output, ReplyToken, Shard};
use crate::coordinator::write::{self, BatchWriter};
use crate::partition::EndTransaction;
use crate::partition::LeaderListener;

/// Where a request finds its answer, or that what it has been answered is committed.
pub(super) type Pending<R> = oneshot::Receiver<Result<R, ErrorCode>>;

/// What an operation gave, with what that has to wait for if it is not committed yet.
pub(super) type Outcome<T> = Result<(T, Option<Pending<()>>), ErrorCode>;

/// A partition's place for its shard.
pub(super) struct CoordinatorContext<S: Shard> {
    shared: Arc<Shared<S>>,
    partition: i32,
    /// Told when there is something for [`CoordinatorContext::advance`] to do.
    changed: Arc<Notify>,
    state: State<S>,
    leader: Option<Leader>,
    /// Of the leader's epoch, all of them.
    parked: Parked<S::Reply>,
    /// What the shard wants done when the log is committed up to an offset; offsets grow.
    effects: VecDeque<(i64, S::Effect)>,
    /// When the partition is loaded again if nobody asks before, in ms of [`Now::elapsed_ms`].
    reload_at: Option<i64>,
}

/// How long a partition is left alone whose shard was lost, ms.
const RELOAD_PAUSE_MS: i64 = 500;

enum State<S: Shard> {
    Unloaded,
    Loading,
    Active(Box<Active<S>>),
    /// To serve without the records that cannot be understood would be to lose them.
    Corrupt,
    Closed,
}

/// How a shard stands.
pub(super) enum ShardStanding<'a, S> {
    Active(&'a S),
    Loading,
    Failed,
}

struct Leader {
    tenure: Arc<Tenure>,
    epoch: i32,
}

/// A loaded shard, with those who wait for it.
struct Active<S: Shard> {
    shard: S,
    writer: BatchWriter,
    /// The end of what the shard has written, or was loaded from.
    written: i64,
    waiting: HashMap<ReplyToken, ReplySender<S::Reply>>,
    next_token: u64,
}

impl<S: Shard> CoordinatorContext<S> {
    pub(super) fn new(shared: Arc<Shared<S>>, partition: i32, changed: Arc<Notify>) -> Self {
        Self {
            shared,
            partition,
            changed,
            state: State::Unloaded,
            leader: None,
            parked: Parked::new(),
            effects: VecDeque::new(),
            reload_at: None,
        }
    }

    /// Begins to load the partition, if that is to be done: the work is given out, to be done without a lock, and comes
    /// back by [`CoordinatorContext::finish_load`].
    ///
    /// # Errors
    ///
    /// Why the partition cannot be led; the next request tries again.
    pub(super) fn begin_load(&mut self) -> Result<Option<Load<S>>, ErrorCode> {
        self.heed_leader();
        if !matches!(self.state, State::Unloaded) {
            return Ok(None);
        }
        let tenure = Tenure::new(&self.changed);
        let led = match self.shared.log.lead(self.partition, tenure.clone()).map_err(write::response_error) {
            Ok(led) => led,
            Err(error) => {
                self.parked.refuse_all(error);
                return Err(error);
            }
        };
        tenure.committed(led.high_watermark);
        if self.leader.as_ref().is_some_and(|leader| leader.epoch != led.leader_epoch) {
            self.parked.refuse_all(ErrorCode::NotCoordinator);
        }
        self.leader = Some(Leader { tenure: tenure.clone(), epoch: led.leader_epoch });
        self.release();
        self.state = State::Loading;
        Ok(Some(Load { shared: self.shared.clone(), partition: self.partition, tenure, led }))
    }

    /// Begins to serve a shard that was loaded, unless the partition is not led any more, or not since then.
    pub(super) fn finish_load(&mut self, load: &Load<S>, loaded: Result<S, LoadError>, now: Now) {
        self.heed_leader();
        let is_current = self.leader.as_ref().is_some_and(|leader| Arc::ptr_eq(&leader.tenure, &load.tenure));
        if !matches!(self.state, State::Loading) || !is_current {
            return;
        }
        let (topic, partition) = (S::TOPIC, self.partition);
        self.state = match loaded {
            Ok(shard) => State::Active(Box::new(Active {
                shard,
                writer: BatchWriter::new(self.shared.config.compression),
                written: load.led.end_offset,
                waiting: HashMap::new(),
                next_token: 0,
            })),
            Err(LoadError::Log(error)) => {
                tracing::error!(topic, partition, ?error, "a partition of a coordinator cannot be read");
                self.changed.notify_one();
                State::Unloaded
            }
            Err(error) => {
                tracing::error!(topic, partition, %error, "a partition of a coordinator cannot be loaded");
                State::Corrupt
            }
        };
        if let State::Active(_) = self.state {
            // If that fails an error has been logged, and the next request has it loaded again.
            let _ = self.perform(now, false, |active, now| active.shard.loaded(now));
        }
    }

    /// Runs an operation; its value may be told when what is pending says so, or at once if nothing is.
    ///
    /// # Errors
    ///
    /// `NOT_COORDINATOR` and `COORDINATOR_LOAD_IN_PROGRESS` before anything is done, and those of a failed append.
    pub(super) fn run<T>(&mut self, now: Now, operation: impl FnOnce(&mut S, Now) -> T) -> Outcome<T> {
        self.perform(now, true, |active, now| operation(&mut active.shard, now))
    }

    /// Runs an operation that answers by the token it is given, now or by a later operation.
    ///
    /// # Errors
    ///
    /// As [`CoordinatorContext::run`]; what happens later is in the answer.
    pub(super) fn ask(
        &mut self,
        now: Now,
        operation: impl FnOnce(&mut S, Now, ReplyToken),
    ) -> Result<Pending<S::Reply>, ErrorCode> {
        let (sender, receiver) = oneshot::channel();
        self.perform(now, false, |active, now| {
            active.next_token += 1;
            let token = ReplyToken(active.next_token);
            active.waiting.insert(token, sender);
            operation(&mut active.shard, now, token);
        })?;
        Ok(receiver)
    }

    /// Appends records of a producer's transaction, as one batch, and folds them into the state: nothing is done where
    /// the log refuses them; `guard` allows them there. `operation` gives them in both forms, and changes nothing. Its value may be told as that of
    /// [`CoordinatorContext::run`].
    ///
    /// # Errors
    ///
    /// As [`CoordinatorContext::run`].
    pub(super) fn run_transactional<T>(
        &mut self,
        now: Now,
        producer: ProducerState,
        guard: VerificationGuard,
        operation: impl FnOnce(&S, Now) -> (T, Vec<(RecordBytes, S::Record)>),
    ) -> Outcome<T> {
        self.heed_leader();
        let (active, leader_epoch) = Self::active(&mut self.state, self.leader.as_ref())?;
        let (value, records) = operation(&active.shard, now);
        if !records.is_empty() {
            let (bytes, records): (Vec<_>, Vec<_>) = records.into_iter().unzip();
            let batch = active.writer.transactional_batch(&bytes, producer, now.timestamp_ms)?;
            let end = self.shared.log.append(self.partition, leader_epoch, &batch, guard, now.timestamp_ms);
            let end = end.map_err(|error| self.refused(error))?;
            // They lie one after the other up to the end.
            let base = records.iter().fold(end, |base, _| base.saturating_sub(1));
            let (active, _) = Self::active(&mut self.state, self.leader.as_ref())?;
            active.written = end;
            for (record, offset) in records.into_iter().zip(base..) {
                active.shard.replay(offset, producer.producer_id, record);
            }
        }
        self.settle(now, true, value, Vec::new())
    }

    /// Appends the marker that ends a producer's transaction, and folds the end into the state: nothing is done where the
    /// log refuses it. It may be told as a value of [`CoordinatorContext::run`].
    ///
    /// # Errors
    ///
    /// As [`CoordinatorContext::run`].
    pub(super) fn end_transaction(&mut self, now: Now, marker: &EndTransaction) -> Outcome<()> {
        self.heed_leader();
        let (_, leader_epoch) = Self::active(&mut self.state, self.leader.as_ref())?;
        let end = self.shared.log.end_transaction(self.partition, leader_epoch, marker, now.timestamp_ms);
        let end = end.map_err(|error| self.refused(error))?;
        let (active, _) = Self::active(&mut self.state, self.leader.as_ref())?;
        active.written = end;
        active.shard.replay_end_transaction(marker.producer_id, marker.committed);
        self.settle(now, true, (), Vec::new())
    }

    /// Does what time and the partition's leader have brought: lets go what is committed, refuses what waits in vain,
    /// and has the shard do what is due.
    pub(super) fn advance(&mut self, now: Now) {
        self.heed_leader();
        self.release();
        self.parked.expire(now.elapsed_ms, write::response_error(ErrorCode::RequestTimedOut));
        if let State::Active(active) = &self.state
            && active.shard.next_deadline().is_some_and(|deadline| deadline <= now.elapsed_ms)
        {
            // As in `finish_load`.
            let _ = self.perform(now, false, |active, now| active.shard.expire(now));
        }
    }

    /// Returns the time by which [`CoordinatorContext::advance`] has to be called, in ms of [`Now::elapsed_ms`].
    pub(super) fn next_deadline(&self) -> Option<i64> {
        let shard = match &self.state {
            State::Active(active) => active.shard.next_deadline(),
            State::Unloaded | State::Loading | State::Corrupt | State::Closed => None,
        };
        shard.into_iter().chain(self.parked.next_deadline()).min()
    }

    /// Returns the time by which a partition that is not loaded is to be, if nobody asks before.
    pub(super) fn next_load(&mut self, now: Now) -> Option<i64> {
        let is_lost = matches!(self.state, State::Unloaded);
        is_lost.then(|| *self.reload_at.get_or_insert(now.elapsed_ms.saturating_add(RELOAD_PAUSE_MS)))
    }

    /// Begins to load a partition for which nobody has asked in time; one that cannot be led is tried again after a pause.
    pub(super) fn begin_due_load(&mut self, now: Now) -> Option<Load<S>> {
        let is_due = self.next_load(now).is_some_and(|at| at <= now.elapsed_ms);
        if !is_due {
            return None;
        }
        self.reload_at = None;
        self.begin_load().ok().flatten()
    }

    /// Stops for ever: the topic is gone.
    pub(super) fn close(&mut self) {
        self.unload(ErrorCode::NotCoordinator);
        self.parked.refuse_all(ErrorCode::NotCoordinator);
        self.state = State::Closed;
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// How the shard stands, as far as is known.
    pub(super) fn standing(&self) -> ShardStanding<'_, S> {
        match &self.state {
            State::Active(active) => ShardStanding::Active(&active.shard),
            State::Loading => ShardStanding::Loading,
            State::Unloaded | State::Corrupt | State::Closed => ShardStanding::Failed,
        }
    }

    /// The shard that is served, if one is.
    #[cfg(test)]
    pub(super) fn shard(&mut self) -> Option<&S> {
        self.heed_leader();
        match &self.state {
            State::Active(active) => Some(&active.shard),
            _ => None,
        }
    }

    /// Runs an operation, appends its records, and sends or parks its answers. With `is_request`, somebody waits for
    /// the operation's value, and is given what it has to wait for if that is not committed yet.
    fn perform<T>(
        &mut self,
        now: Now,
        is_request: bool,
        operation: impl FnOnce(&mut Active<S>, Now) -> T,
    ) -> Outcome<T> {
        self.heed_leader();
        let (active, leader_epoch) = Self::active(&mut self.state, self.leader.as_ref())?;
        let value = operation(active, now);
        let output = active.shard.take_output();
        if let Err(error) = self.shared.append(self.partition, leader_epoch, active, &output, now) {
            let error = write::response_error(error);
            self.unload(error);
            return Err(error);
        }
        let written = active.written;
        self.effects.extend(output.effects.into_iter().map(|effect| (written, effect)));
        self.settle(now, is_request, value, output.replies)
    }

    /// Sends or parks the answers of an operation whose records are in the log.
    fn settle<T>(&mut self, now: Now, is_request: bool, value: T, replies: Vec<(ReplyToken, S::Reply)>) -> Outcome<T> {
        self.release();
        let (State::Active(active), Some(leader)) = (&mut self.state, &self.leader) else {
            return Err(ErrorCode::NotCoordinator);
        };
        let to = |(token, reply)| {
            let sender = active.waiting.remove(&token);
            invariant!(sender.is_some(), "a request of {} that is answered has waited", S::TOPIC);
            sender.map(|sender| (sender, reply))
        };
        let mut answers = Answers { replies: replies.into_iter().filter_map(to).collect(), operation: None };
        if leader.tenure.high_watermark() >= active.written {
            answers.send();
            return Ok((value, None));
        }
        let mut pending = None;
        if is_request {
            let (sender, receiver) = oneshot::channel();
            (answers.operation, pending) = (Some(sender), Some(receiver));
        }
        let deadline = now.elapsed_ms.saturating_add(self.shared.config.write_timeout_ms);
        self.parked.push(active.written, deadline, answers);
        self.release();
        Ok((value, pending))
    }

    /// The shard that is served, with the epoch in which it is.
    fn active<'a>(state: &'a mut State<S>, leader: Option<&Leader>) -> Result<(&'a mut Active<S>, i32), ErrorCode> {
        match (state, leader) {
            (State::Active(active), Some(leader)) => Ok((active, leader.epoch)),
            (State::Unloaded | State::Loading, _) => Err(ErrorCode::CoordinatorLoadInProgress),
            (State::Corrupt | State::Closed | State::Active(_), _) => Err(ErrorCode::NotCoordinator),
        }
    }

    /// What is told of an append that failed before the shard knew of it; where it may be in the log all the same, the
    /// shard goes.
    fn refused(&mut self, error: ErrorCode) -> ErrorCode {
        if write::is_refusal(error) {
            return error;
        }
        let error = write::response_error(error);
        self.unload(error);
        error
    }

    /// Unloads the shard, and refuses what waits, if the leader epoch is over.
    fn heed_leader(&mut self) {
        if self.leader.take_if(|leader| leader.tenure.is_over()).is_some() {
            self.unload(ErrorCode::NotCoordinator);
            self.parked.refuse_all(ErrorCode::NotCoordinator);
        }
    }

    /// Lets go what is committed.
    fn release(&mut self) {
        let Some(leader) = &self.leader else { return };
        if !self.parked.is_empty() || !self.effects.is_empty() {
            leader.tenure.set_awaited(true);
            let high_watermark = leader.tenure.high_watermark();
            self.parked.release(high_watermark);
            while self.effects.front().is_some_and(|(offset, _)| *offset <= high_watermark) {
                let effect = self.effects.pop_front();
                effect.into_iter().for_each(|(_, effect)| (self.shared.perform)(leader.epoch, effect));
            }
        }
        if self.parked.is_empty() && self.effects.is_empty() {
            leader.tenure.set_awaited(false);
        }
    }

    /// Throws the shard away, and answers by an error who waits for what only it knew.
    fn unload(&mut self, error: ErrorCode) {
        self.effects.clear();
        self.reload_at = None;
        self.changed.notify_one();
        match std::mem::replace(&mut self.state, State::Unloaded) {
            State::Active(active) => {
                for sender in active.waiting.into_values() {
                    let _ = sender.send(Err(error));
                }
            }
            State::Unloaded | State::Loading | State::Corrupt => {}
            State::Closed => self.state = State::Closed,
        }
    }
}

impl<S: Shard> Shared<S> {
    /// Appends the records of an operation.
    fn append(
        &self,
        partition: i32,
        leader_epoch: i32,
        active: &mut Active<S>,
        output: &Output<S::Reply, S::Effect>,
        now: Now,
    ) -> Result<(), ErrorCode> {
        let topic = S::TOPIC;
        if let Some(error) = &output.failure {
            tracing::error!(topic, partition, %error, "a record of a coordinator cannot be written");
            return Err(ErrorCode::UnknownServerError);
        }
        let max_bytes = if output.divisible { self.config.max_batch_bytes } else { usize::MAX };
        for batch in active.writer.batches(&output.records, max_bytes, now.timestamp_ms) {
            let guard = VerificationGuard::SENTINEL;
            let end = batch.and_then(|batch| self.log.append(partition, leader_epoch, &batch, guard, now.timestamp_ms));
            active.written = end.inspect_err(|error| {
                tracing::error!(topic, partition, ?error, "the records of a coordinator could not be appended");
            })?;
        }
        Ok(())
    }
}
