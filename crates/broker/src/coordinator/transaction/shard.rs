//! The state machine of one partition of `__transaction_state`: its transactional ids and their transactions.
//!
//! What does not survive a restart: which partitions have their marker already (they are given another one, which ends
//! nothing), and the epoch that a producer bumped last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use vltava_log::TopicPartition;
use vltava_protocol::ErrorCode;
use vltava_protocol::record::NO_PRODUCER_ID;
use vltava_protocol::wire::DecodeError;

use super::config::TransactionCoordinatorConfig;
use super::metadata::{EPOCH_BUMP_VERSION, TransactionMetadata};
use super::records::TransactionRecord;
use super::state::TransactionState;
use crate::coordinator::shard::{Now, Output, Shard};
use crate::coordinator::timers::Timers;
use crate::metadata::topic_name::TRANSACTION_STATE;

/// How long markers wait that could not be written, ms: as long as Kafka waits for a broker that does not answer.
const MARKERS_RETRY_MS: i64 = 50;
/// After how long without news markers are asked for again, ms: whoever writes them may have given up.
const MARKERS_NEWS_MS: i64 = 30_000;

/// The transactional ids of one partition.
#[derive(Debug)]
pub(crate) struct TransactionShard {
    pub(super) transactions: BTreeMap<Arc<str>, Transaction>,
    pub(super) config: Arc<TransactionCoordinatorConfig>,
    timers: Timers<TimerKey>,
    output: Output<NoReply, TransactionEffect>,
}

/// A transactional id.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    pub(super) metadata: TransactionMetadata,
    /// The partitions whose marker is still to be written, as far as is known.
    pub(super) unmarked: BTreeSet<TopicPartition>,
}

/// No request waits for another.
pub(crate) type NoReply = std::convert::Infallible;

/// What a shard wants done outside of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TransactionEffect {
    /// Markers, and to be told which of them are written.
    WriteMarkers(Decided),
    /// The abort of a transaction that took too long, with a producer id that nobody has.
    AbortTimedOut { transactional_id: Arc<str>, producer_id: i64, producer_epoch: i16 },
}

impl TransactionShard {
    /// Counts the transactional ids by the states of their transactions.
    pub(crate) fn count(&self, states: &mut BTreeMap<&'static str, usize>) {
        for transaction in self.transactions.values() {
            *states.entry(transaction.metadata.state.name()).or_default() += 1;
        }
    }
}

impl TransactionEffect {
    /// The id whose transaction it is about.
    pub(super) fn transactional_id(&self) -> &Arc<str> {
        match self {
            Self::WriteMarkers(decided) => &decided.transactional_id,
            Self::AbortTimedOut { transactional_id, .. } => transactional_id,
        }
    }
}

/// A transaction that is decided, and the partitions that do not know yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) transactional_id: Arc<str>,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) committed: bool,
    pub(crate) transaction_version: i16,
    pub(crate) partitions: Vec<TopicPartition>,
}

/// What an operation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt<T> {
    Done(T),
    /// Nothing is done: it is to be tried again with a producer id that nobody has.
    NeedsProducerId,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum TimerKey {
    /// The next look for transactions that took too long.
    AbortTimedOut,
    /// The next look for ids that expired.
    RemoveExpired,
    /// Markers of a transaction, once more.
    Markers(Arc<str>),
}

impl Shard for TransactionShard {
    const TOPIC: &'static str = TRANSACTION_STATE;

    type Config = TransactionCoordinatorConfig;
    type Record = TransactionRecord;
    type Reply = NoReply;
    type Effect = TransactionEffect;

    fn new(config: &Arc<TransactionCoordinatorConfig>, _: u64) -> Self {
        Self {
            transactions: BTreeMap::new(),
            config: Arc::clone(config),
            timers: Timers::default(),
            output: Output::default(),
        }
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<TransactionRecord>, DecodeError> {
        TransactionRecord::decode(key, value)
    }

    fn replay(&mut self, _: i64, _: i64, record: TransactionRecord) {
        match record.metadata {
            Some(metadata) => {
                let is_decided = metadata.state.decision().is_some();
                let unmarked = if is_decided { metadata.partitions.clone() } else { BTreeSet::new() };
                self.transactions.insert(record.transactional_id.into(), Transaction { metadata, unmarked });
            }
            None => {
                self.transactions.remove(record.transactional_id.as_str());
            }
        }
    }

    /// Nobody writes to this topic in transactions.
    fn replay_end_transaction(&mut self, _: i64, _: bool) {}

    fn loaded(&mut self, now: Now) {
        self.look_again(TimerKey::AbortTimedOut, now);
        self.look_again(TimerKey::RemoveExpired, now);
        let ids: Vec<_> = self.transactions.keys().cloned().collect();
        ids.iter().for_each(|id| self.ask_for_markers(now, id));
    }

    fn next_deadline(&self) -> Option<i64> {
        self.timers.next_deadline()
    }

    fn expire(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop_due(now.elapsed_ms) {
            match timer {
                TimerKey::AbortTimedOut => self.abort_timed_out(now),
                TimerKey::RemoveExpired => self.remove_expired(now),
                TimerKey::Markers(id) => self.ask_for_markers(now, &id),
            }
        }
    }

    fn take_output(&mut self) -> Output<NoReply, TransactionEffect> {
        std::mem::take(&mut self.output)
    }
}

impl TransactionShard {
    /// The transaction of an id, if it is in a state that a log can have.
    ///
    /// # Errors
    ///
    /// `INVALID_PRODUCER_ID_MAPPING` if the id is not known.
    pub(super) fn transaction(&self, transactional_id: &str) -> Result<&TransactionMetadata, ErrorCode> {
        let transaction = self.transactions.get(transactional_id).ok_or(ErrorCode::InvalidProducerIdMapping)?;
        match transaction.metadata.state {
            TransactionState::Dead | TransactionState::PrepareEpochFence => Err(ErrorCode::UnknownServerError),
            _ => Ok(&transaction.metadata),
        }
    }

    /// Emits what an id has become, and folds it into the state.
    pub(super) fn transit(&mut self, now: Now, transactional_id: &str, metadata: TransactionMetadata) {
        let decided = metadata.state.decision().is_some();
        // Kafka keeps in memory what its records do not hold.
        self.emit(TransactionRecord { transactional_id: transactional_id.to_owned(), metadata: Some(metadata) });
        if decided && let Some((id, _)) = self.transactions.get_key_value(transactional_id) {
            let id = Arc::clone(id);
            self.ask_for_markers(now, &id);
        }
    }

    fn emit(&mut self, record: TransactionRecord) {
        match record.encode(self.config.version.get()) {
            Ok(bytes) => self.output.records.push(bytes),
            Err(error) => self.output.failure = Some(error),
        }
        self.replay(0, NO_PRODUCER_ID, record);
    }

    /// Asks for the markers of a transaction that are missing, if it is decided.
    fn ask_for_markers(&mut self, now: Now, transactional_id: &Arc<str>) {
        let Some(transaction) = self.transactions.get(transactional_id) else { return };
        let metadata = &transaction.metadata;
        let Some(committed) = metadata.state.decision() else { return };
        self.output.effects.push(TransactionEffect::WriteMarkers(Decided {
            transactional_id: Arc::clone(transactional_id),
            producer_id: metadata.producer_id,
            producer_epoch: metadata.producer_epoch,
            committed,
            transaction_version: metadata.client_version,
            partitions: transaction.unmarked.iter().cloned().collect(),
        }));
        let again = now.elapsed_ms.saturating_add(MARKERS_NEWS_MS);
        self.timers.schedule(TimerKey::Markers(Arc::clone(transactional_id)), again);
    }

    /// Whether a decision stands, and its markers are not all written.
    pub(crate) fn is_decided(&self, decided: &Decided) -> bool {
        self.transactions.get(&decided.transactional_id).is_some_and(|transaction| {
            let metadata = &transaction.metadata;
            metadata.state.decision() == Some(decided.committed)
                && (metadata.producer_id, metadata.producer_epoch) == (decided.producer_id, decided.producer_epoch)
        })
    }

    /// Notes the markers of `decided` that are written; when all are, the transaction is complete, and else the others are
    /// asked for again later. Nothing happens if that is not what the transaction is about any more.
    pub(crate) fn markers_written(&mut self, now: Now, decided: &Decided, written: &[TopicPartition]) {
        if !self.is_decided(decided) {
            return;
        }
        let Some(transaction) = self.transactions.get_mut(&decided.transactional_id) else { return };
        let metadata = &transaction.metadata;
        written.iter().for_each(|partition| {
            transaction.unmarked.remove(partition);
        });
        let id = Arc::clone(&decided.transactional_id);
        if transaction.unmarked.is_empty() {
            let completed = metadata.completed(decided.committed, now.timestamp_ms);
            self.timers.cancel(&TimerKey::Markers(Arc::clone(&id)));
            self.transit(now, &id, completed);
        } else {
            self.timers.schedule(TimerKey::Markers(id), now.elapsed_ms.saturating_add(MARKERS_RETRY_MS));
        }
    }

    /// Aborts an open transaction whose producer is fenced by it; `fresh` is a producer id that nobody has.
    pub(super) fn fence(&mut self, now: Now, transactional_id: &str, fresh: Option<i64>) -> Attempt<()> {
        let Some(transaction) = self.transactions.get(transactional_id) else { return Attempt::Done(()) };
        let version = self.config.version.get();
        // The end bumps the epoch, so another id has to be there when there is none left.
        let needs_id = version >= EPOCH_BUMP_VERSION && transaction.metadata.is_epoch_exhausted();
        let next_producer_id = match (needs_id, fresh) {
            (false, _) => NO_PRODUCER_ID,
            (true, Some(fresh)) => fresh,
            (true, None) => return Attempt::NeedsProducerId,
        };
        let fenced = transaction.metadata.fenced(version, next_producer_id, now.timestamp_ms);
        self.transit(now, transactional_id, fenced);
        Attempt::Done(())
    }

    fn abort_timed_out(&mut self, now: Now) {
        self.output.divisible = true;
        let is_late = |transaction: &&Transaction| is_timed_out(&transaction.metadata, now);
        let late: Vec<_> = self
            .transactions
            .iter()
            .filter(|(_, transaction)| is_late(transaction))
            .map(|(id, _)| id.clone())
            .collect();
        for id in late {
            tracing::info!(transactional_id = &*id, "a transaction takes too long and is aborted");
            if self.fence(now, &id, None) == Attempt::NeedsProducerId
                && let Some(Transaction { metadata, .. }) = self.transactions.get(&id)
            {
                self.output.effects.push(TransactionEffect::AbortTimedOut {
                    producer_id: metadata.producer_id,
                    producer_epoch: metadata.producer_epoch,
                    transactional_id: id,
                });
            }
        }
        self.look_again(TimerKey::AbortTimedOut, now);
    }

    /// Aborts a transaction that was found to take too long, with a producer id that nobody has; unless it is another one
    /// by now.
    pub(crate) fn abort_timed_out_with(&mut self, now: Now, transactional_id: &str, producer: (i64, i16), fresh: i64) {
        let found = self.transactions.get(transactional_id).map(|transaction| &transaction.metadata);
        let is_the_one = found.is_some_and(|metadata| {
            (metadata.producer_id, metadata.producer_epoch) == producer && is_timed_out(metadata, now)
        });
        if is_the_one {
            self.fence(now, transactional_id, Some(fresh));
        }
    }

    fn remove_expired(&mut self, now: Now) {
        self.output.divisible = true;
        let latest = now.timestamp_ms.saturating_sub(self.config.id_expiration_ms);
        let expired = |(_, transaction): &(&Arc<str>, &Transaction)| {
            let metadata = &transaction.metadata;
            metadata.state.is_at_rest() && metadata.last_update_timestamp_ms <= latest
        };
        let expired: Vec<_> = self.transactions.iter().filter(expired).map(|(id, _)| id.to_string()).collect();
        for transactional_id in expired {
            self.emit(TransactionRecord { transactional_id, metadata: None });
        }
        self.look_again(TimerKey::RemoveExpired, now);
    }

    fn look_again(&mut self, timer: TimerKey, now: Now) {
        let interval = match timer {
            TimerKey::RemoveExpired => self.config.expiration_interval_ms,
            _ => self.config.abort_interval_ms,
        };
        self.timers.schedule(timer, now.elapsed_ms.saturating_add(interval));
    }
}

/// Whether a transaction is open for longer than its producer said it would be. One whose end somebody else decides may
/// take for ever (KIP-939).
fn is_timed_out(metadata: &TransactionMetadata, now: Now) -> bool {
    metadata.state == TransactionState::Ongoing
        && !metadata.is_two_phase_commit()
        && metadata.start_timestamp_ms.saturating_add(i64::from(metadata.timeout_ms)) < now.timestamp_ms
}
