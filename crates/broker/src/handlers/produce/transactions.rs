//! What of a produce request has to be asked for at the transaction coordinator before it is appended.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::{Instant, sleep};
use vltava_log::VerificationGuard;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::ProduceRequest;
use vltava_protocol::messages::produce_request::PartitionProduceData;
use vltava_protocol::record::RecordBatchHeader;
use vltava_protocol::wire::Records;

use super::Topics;
use crate::clock;
use crate::config::BrokerConfig;
use crate::partition::{AppendFailure, Partition};
use crate::transaction_verification::{Target, TransactionSupport, TransactionVerifier, TransactionalProducer, ask};

/// Whether any of the batches belongs to a transaction, as their headers say.
pub(super) fn is_transactional(request: &ProduceRequest) -> bool {
    request.topic_data.iter().flat_map(|topic| &topic.partition_data).any(|data| transactional_header(data).is_some())
}

fn transactional_header(data: &PartitionProduceData) -> Option<RecordBatchHeader> {
    let records = data.records.as_ref().and_then(Records::memory)?;
    RecordBatchHeader::parse(records).ok().filter(RecordBatchHeader::is_transactional)
}

/// What the transaction coordinator's answer means for the partitions of a request.
#[derive(Debug, Default)]
pub(super) struct Verified {
    answers: Vec<Result<VerificationGuard, ErrorCode>>,
    /// Which answer is for a partition; by its place in the request.
    places: HashMap<(usize, usize), usize>,
    support: Option<TransactionSupport>,
}

impl Verified {
    /// What the append to a partition has to bring along, or why there is to be none. The partition is named by its
    /// topic's place in the request, and its own place in that.
    pub(super) fn of(&self, topic: usize, partition: usize) -> Result<VerificationGuard, AppendFailure> {
        // Most requests have nothing to do with transactions.
        let Some(support) = self.support else { return Ok(VerificationGuard::SENTINEL) };
        let answer = self.places.get(&(topic, partition)).and_then(|place| self.answers.get(*place));
        answer.copied().unwrap_or(Ok(VerificationGuard::SENTINEL)).map_err(|code| refused(code, support))
    }
}

/// Asks for the transaction of the batches, where partitions do not know that it is open. Waits a little where the producer's
/// transaction before is still being ended.
///
/// # Errors
///
/// `INVALID_PRODUCER_ID_MAPPING` where more than one producer has written the batches: nothing is to be appended.
pub(super) async fn verify(
    config: &BrokerConfig,
    verifier: &dyn TransactionVerifier,
    topics: &Topics,
    version: i16,
    transactional_id: &str,
    request: &ProduceRequest,
) -> Result<Verified, ErrorCode> {
    let support = TransactionSupport::of_produce(version);
    let (Some((producer_id, producer_epoch)), true) =
        (producer_of(topics, request)?, support.supports_epoch_bump() || config.upkeep.dynamic.verifies_transactions())
    else {
        return Ok(Verified::default());
    };
    let Wanted { partitions, places } = Wanted::of(topics, request);
    let targets: Vec<_> = partitions
        .iter()
        .map(|(partition, base_sequence)| Target { partition, base_sequence: *base_sequence })
        .collect();
    let producer = TransactionalProducer { transactional_id, producer_id, producer_epoch, support };
    let deadline = Instant::now() + config.verification.add_retry_backoff_max;
    loop {
        let answers = ask(verifier, producer, &targets, clock::wall_clock_ms()).await;
        // It takes a moment, and the client would wait longer: a retry costs it the whole request.
        let is_ending = support.supports_epoch_bump() && answers.contains(&Err(ErrorCode::ConcurrentTransactions));
        if !is_ending || Instant::now() >= deadline {
            return Ok(Verified { answers, places, support: Some(support) });
        }
        sleep(config.verification.add_retry_backoff).await;
    }
}

/// The one producer of all transactional batches, and its epoch.
fn producer_of(topics: &Topics, request: &ProduceRequest) -> Result<Option<(i64, i16)>, ErrorCode> {
    let mut producer = None;
    let known = request.topic_data.iter().zip(topics).filter(|(_, topic)| topic.is_ok());
    for data in known.flat_map(|(topic, _)| &topic.partition_data) {
        let Some(header) = transactional_header(data).filter(RecordBatchHeader::has_producer_id) else { continue };
        let this = (header.producer_id(), header.producer_epoch());
        if producer.is_some_and(|other| other != this) {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        producer = Some(this);
    }
    Ok(producer)
}

/// The partitions with transactional batches.
#[derive(Default)]
struct Wanted {
    /// Each once, with the sequence number of its first record.
    partitions: Vec<(Arc<Partition>, i32)>,
    /// Which of them stands where in the request.
    places: HashMap<(usize, usize), usize>,
}

impl Wanted {
    /// Those that are not here, or that the sender may not write to, are left to the append, which refuses them.
    fn of(topics: &Topics, request: &ProduceRequest) -> Self {
        let mut wanted = Self::default();
        let mut known = HashMap::new();
        for (t, (topic, here)) in request.topic_data.iter().zip(topics).enumerate() {
            let Ok(here) = here else { continue };
            for (p, data) in topic.partition_data.iter().enumerate() {
                let (Some(header), Ok(partition)) = (transactional_header(data), here.partition(data.index)) else {
                    continue;
                };
                let place = *known.entry((topic.name.as_str(), topic.topic_id, data.index)).or_insert_with(|| {
                    wanted.partitions.push((Arc::clone(partition), header.base_sequence()));
                    wanted.partitions.len() - 1
                });
                wanted.places.insert((t, p), place);
            }
        }
        wanted
    }
}

/// What a producer is told when its transaction is not known to be open. Errors of the way to the coordinator become one
/// that every producer tries again after, without asking for metadata.
fn refused(code: ErrorCode, support: TransactionSupport) -> AppendFailure {
    match code {
        ErrorCode::InvalidTxnState => AppendFailure::new(code, "Partition was not added to the transaction"),
        ErrorCode::ConcurrentTransactions if support.supports_epoch_bump() => code.into(),
        ErrorCode::NetworkException
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator
        | ErrorCode::ConcurrentTransactions => AppendFailure::new(
            ErrorCode::NotEnoughReplicas,
            format!(
                "Unable to verify the partition has been added to the transaction. Underlying error: {}",
                code.name()
            ),
        ),
        code => code.into(),
    }
}
