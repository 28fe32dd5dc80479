//! The transaction coordinator: its shards on the [runtime](crate::coordinator::runtime) of coordinators, and what they want
//! done outside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use vltava_log::TopicPartition;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::describe_transactions_response::TransactionState as Described;
use vltava_protocol::messages::list_transactions_response::TransactionState as Listed;
use vltava_protocol::record::Compression;

use super::add_partitions::Producer;
use super::config::TransactionCoordinatorConfig;
use super::describe::TransactionFilter;
use super::init_producer_id::InitProducerId;
use super::jobs::{Job, Jobs};
use super::markers::TransactionMarkers;
use super::metadata::EPOCH_BUMP_VERSION;
use super::shard::{Attempt, Decided, TransactionEffect, TransactionShard};
use super::state::TransactionState;
use crate::controller::producer_ids::ProducerIds;
use crate::coordinator::log::CoordinatorLog;
use crate::coordinator::pattern::Pattern;
use crate::coordinator::runtime::{Coordinator, RuntimeConfig};
use crate::coordinator::shard::Now;
use crate::transaction_verification::{AddOrVerify, Answers, TransactionVerifier};

/// How long an answer waits for its records to be committed, ms: as long as Kafka's clients wait for an answer.
const WRITE_TIMEOUT_MS: i64 = 30_000;

/// The shards of the transaction coordinator.
pub(crate) type TransactionShards = Coordinator<TransactionShard>;

/// What the shards want done, with the leader epochs of their partitions.
pub(crate) type Effects = mpsc::UnboundedReceiver<Job>;

/// Makes the shards on a log of `__transaction_state`; what they want done is to be given to
/// [`TransactionCoordinator::start`].
pub(crate) fn shards(
    config: &TransactionCoordinatorConfig,
    log: Arc<dyn CoordinatorLog>,
) -> (TransactionShards, Effects) {
    let runtime = RuntimeConfig {
        compression: Compression::None,
        max_batch_bytes: config.max_batch_bytes,
        load_buffer_bytes: config.load_buffer_bytes,
        write_timeout_ms: WRITE_TIMEOUT_MS,
    };
    let (wanted, effects) = mpsc::unbounded_channel();
    let perform = move |leader_epoch, effect| {
        // Nobody does anything any more when the broker stops; the next one finds it in the log.
        let _ = wanted.send((leader_epoch, effect));
    };
    (Coordinator::new(runtime, Arc::new(config.clone()), log, Box::new(perform)), effects)
}

/// The transaction coordinator of a broker.
#[derive(Debug)]
pub(crate) struct TransactionCoordinator {
    shards: Arc<TransactionShards>,
    config: TransactionCoordinatorConfig,
    producer_ids: Arc<ProducerIds>,
    markers: Arc<TransactionMarkers>,
}

/// The end of a transaction, as a client wants it.
#[derive(Clone, Debug)]
pub(crate) struct EndRequest {
    pub(crate) transactional_id: String,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) committed: bool,
    /// The `transaction.version` that the client follows.
    pub(crate) client_version: i16,
}

impl TransactionCoordinator {
    /// Begins to do what the shards want. To be called within the runtime of the broker.
    pub(crate) fn start(
        shards: Arc<TransactionShards>,
        effects: Effects,
        config: TransactionCoordinatorConfig,
        producer_ids: Arc<ProducerIds>,
        markers: TransactionMarkers,
    ) -> Self {
        let markers = Arc::new(markers);
        let worker = Worker {
            shards: Arc::clone(&shards),
            producer_ids: Arc::clone(&producer_ids),
            markers: Arc::clone(&markers),
        };
        tokio::spawn(perform_all(worker, effects));
        Self { shards, config, producer_ids, markers }
    }

    /// Where markers are written.
    pub(crate) fn markers(&self) -> &TransactionMarkers {
        &self.markers
    }

    /// A producer id that nobody has, for a producer without transactions.
    pub(crate) async fn new_producer_id(&self) -> Result<i64, ErrorCode> {
        self.producer_ids.next().await
    }

    /// Gives the producer of a transactional id its producer id and epoch.
    ///
    /// Cancel-safe: what was begun is done.
    ///
    /// # Errors
    ///
    /// Those of [`TransactionShard::init_producer_id`], and of [`Coordinator::with_shard`].
    pub(crate) async fn init_producer_id(&self, request: &InitProducerId) -> Result<(i64, i16), ErrorCode> {
        request.check(&self.config)?;
        self.attempt(&request.transactional_id, |shard, now, fresh| shard.init_producer_id(now, request, fresh)).await
    }

    /// Decides a transaction; gives the producer id and epoch for the next one, -1 where they stay. The markers are written
    /// after that.
    ///
    /// Cancel-safe: what was begun is done.
    ///
    /// # Errors
    ///
    /// Those of [`TransactionShard::end_transaction`], and of [`Coordinator::with_shard`].
    pub(crate) async fn end_transaction(&self, request: &EndRequest) -> Result<(i64, i16), ErrorCode> {
        let id = named(&request.transactional_id)?;
        let producer = Producer { id: request.producer_id, epoch: request.producer_epoch };
        let (committed, version) = (request.committed, request.client_version);
        let next =
            self.attempt(id, |shard, now, fresh| shard.end_transaction(now, id, producer, committed, version, fresh));
        next.await.map(|producer| (producer.id, producer.epoch))
    }

    /// Adds partitions to a transaction; `client_version` is the `transaction.version` that the client follows.
    ///
    /// Cancel-safe: what was begun is done.
    ///
    /// # Errors
    ///
    /// Those of [`TransactionShard::add_partitions`], and of [`Coordinator::with_shard`].
    pub(crate) async fn add_partitions(
        &self,
        transactional_id: &str,
        producer: (i64, i16),
        partitions: &BTreeSet<TopicPartition>,
        client_version: i16,
    ) -> Result<(), ErrorCode> {
        let transactional_id = named(transactional_id)?;
        let producer = Producer { id: producer.0, epoch: producer.1 };
        let added = self.shards.with_shard(transactional_id, |shard, now| {
            shard.add_partitions(now, transactional_id, producer, partitions, client_version)
        });
        added.await?
    }

    /// Gives the partitions that are not in a transaction, with why.
    ///
    /// # Errors
    ///
    /// Those of [`TransactionShard::verify_partitions`], and of [`Coordinator::with_shard`].
    pub(crate) async fn verify_partitions(
        &self,
        transactional_id: &str,
        producer: (i64, i16),
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, ErrorCode>, ErrorCode> {
        let transactional_id = named(transactional_id)?;
        let producer = Producer { id: producer.0, epoch: producer.1 };
        let verified = self
            .shards
            .with_shard(transactional_id, |shard, _| shard.verify_partitions(transactional_id, producer, partitions));
        verified.await?
    }

    /// Describes the transaction of an id.
    pub(crate) async fn describe(&self, transactional_id: &str) -> Described {
        let described = match transactional_id {
            "" => Err(ErrorCode::InvalidRequest),
            id => self.shards.with_shard(id, |shard, _| shard.describe(id)).await,
        };
        described.unwrap_or_else(|error| Described {
            error_code: error.code(),
            transactional_id: transactional_id.to_owned(),
            ..Described::default()
        })
    }

    /// Lists transactions by producer id, state, age in ms (negative for any), and regular expression; none of each gives all.
    /// Gives them with the names of states that there are not.
    ///
    /// # Errors
    ///
    /// `INVALID_REGULAR_EXPRESSION`, and those of [`Coordinator::with_all_shards`].
    pub(crate) async fn list(
        &self,
        producer_ids: &[i64],
        states: &[String],
        min_duration_ms: i64,
        pattern: Option<&str>,
    ) -> Result<(Vec<Listed>, Vec<String>), ErrorCode> {
        let pattern = pattern.filter(|pattern| !pattern.is_empty()).map(Pattern::compile).transpose()?;
        let known = states.iter().filter_map(|name| TransactionState::from_name(name)).collect();
        let unknown: BTreeSet<_> = states.iter().filter(|name| TransactionState::from_name(name).is_none()).collect();
        let filter = TransactionFilter {
            producer_ids: producer_ids.iter().copied().collect(),
            states: (!states.is_empty()).then_some(known),
            min_duration_ms,
            pattern,
        };
        let listed = self.shards.with_all_shards(|shard, now| shard.list(now, &filter)).await?;
        Ok((listed.into_iter().flatten().collect(), unknown.into_iter().cloned().collect()))
    }

    /// Runs an operation, and again with a producer id that nobody has if it needs one.
    async fn attempt<T>(
        &self,
        transactional_id: &str,
        operation: impl Fn(&mut TransactionShard, Now, Option<i64>) -> Result<Attempt<T>, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        let mut fresh = None;
        loop {
            let attempt = self.shards.with_shard(transactional_id, |shard, now| operation(shard, now, fresh)).await;
            match attempt?? {
                Attempt::Done(value) => return Ok(value),
                Attempt::NeedsProducerId => fresh = Some(self.producer_ids.next().await?),
            }
        }
    }
}

/// A transactional id, which has to be one: Kafka says so before it looks for the coordinator's partition.
fn named(transactional_id: &str) -> Result<&str, ErrorCode> {
    if transactional_id.is_empty() { Err(ErrorCode::InvalidRequest) } else { Ok(transactional_id) }
}

impl TransactionVerifier for TransactionCoordinator {
    fn add_or_verify<'a>(&'a self, request: AddOrVerify<'a>) -> Answers<'a> {
        Box::pin(async move {
            let id = request.transactional_id;
            let producer = (request.producer_id, request.producer_epoch);
            let asked = request.partitions.iter().map(|(topic, partition)| TopicPartition::new(*topic, *partition));
            let partitions: BTreeSet<_> = asked.clone().collect();
            let answer = if request.verify_only {
                self.verify_partitions(id, producer, &partitions).await
            } else {
                self.add_partitions(id, producer, &partitions, EPOCH_BUMP_VERSION).await.map(|()| BTreeMap::new())
            };
            let told = |partition: TopicPartition| match &answer {
                Ok(refused) => refused.get(&partition).map_or(Ok(()), |error| Err(*error)),
                Err(error) => Err(*error),
            };
            asked.map(told).collect()
        })
    }
}

/// Does what the shards want, one transaction beside the other.
async fn perform_all(worker: Worker, mut effects: Effects) {
    let mut jobs = Jobs::default();
    let (done, mut finished) = mpsc::unbounded_channel();
    let worker = Arc::new(worker);
    loop {
        let next = tokio::select! {
            effect = effects.recv() => match effect {
                Some(job) => jobs.arrive(job),
                None => return,
            },
            Some(id) = finished.recv() => jobs.finish(&id),
        };
        if let Some((leader_epoch, effect)) = next {
            let (worker, done) =
                (Arc::clone(&worker), Finished { id: Arc::clone(effect.transactional_id()), done: done.clone() });
            tokio::spawn(async move {
                worker.perform(leader_epoch, effect).await;
                drop(done);
            });
        }
    }
}

/// Tells that a job is over, however it ended.
struct Finished {
    id: Arc<str>,
    done: mpsc::UnboundedSender<Arc<str>>,
}

impl Drop for Finished {
    fn drop(&mut self) {
        // Nobody listens any more when the broker stops.
        let _ = self.done.send(Arc::clone(&self.id));
    }
}

/// Who does what the shards want.
struct Worker {
    shards: Arc<TransactionShards>,
    producer_ids: Arc<ProducerIds>,
    markers: Arc<TransactionMarkers>,
}

impl Worker {
    async fn perform(&self, leader_epoch: i32, effect: TransactionEffect) {
        let done = match effect {
            TransactionEffect::WriteMarkers(decided) => self.write_markers(leader_epoch, &decided).await,
            TransactionEffect::AbortTimedOut { transactional_id, producer_id, producer_epoch } => {
                self.abort_timed_out(&transactional_id, (producer_id, producer_epoch)).await
            }
        };
        if let Err(error) = done {
            // A shard that is loaded asks for what is not done, and looks for what takes too long.
            tracing::debug!(?error, "what a shard of transactions wanted is not done, or not noted there");
        }
    }

    async fn write_markers(&self, leader_epoch: i32, decided: &Decided) -> Result<(), ErrorCode> {
        let id = &decided.transactional_id;
        if self.shards.with_shard(id, |shard, _| shard.is_decided(decided)).await? {
            let written = self.markers.write_all(leader_epoch, decided).await;
            self.shards.with_shard(id, |shard, now| shard.markers_written(now, decided, &written)).await?;
        }
        Ok(())
    }

    async fn abort_timed_out(&self, id: &str, producer: (i64, i16)) -> Result<(), ErrorCode> {
        let fresh = self.producer_ids.next().await?;
        self.shards.with_shard(id, |shard, now| shard.abort_timed_out_with(now, id, producer, fresh)).await
    }
}
