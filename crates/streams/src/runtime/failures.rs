//! Records of a thread that the producer or the broker refused for good.
//!
//! Every record is sent with a tag: the number of its origin here, and the offset of the source record. So a record costs
//! nothing but its tag as long as it succeeds, and if it fails, the production exception handler is told where it came
//! from.

use std::{
    collections::BTreeMap,
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use vltava_client::{
    ClientError, Producer,
    producer::{FailedRecord, ProducerRecord as ClientRecord, RecordTag},
};
use vltava_protocol::ErrorCode;

use super::{
    collector::{views, wait_for_room},
    verdict::{self, Verdict},
};
use crate::{
    config::StreamsConfig,
    error::{Error, Result},
    guard::guarded,
    handler::{DeadLetter, ErrorHandlerContext, ProductionHandlerResponse, ProductionHandlerResult},
    record::{Header, Headers},
    task::{ProducerRecord, TaskId},
};

/// Where records come from: all of this is the same for many of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) task: TaskId,
    /// `None` for changelogs.
    pub(super) node: Option<Arc<str>>,
    /// The source topic; `None` outside of records.
    pub(super) topic: Option<Arc<str>>,
    pub(super) partition: i32,
    /// Whether these are dead letters, for which no further ones are written.
    pub(super) is_dead_letter: bool,
}

/// What a thread's tasks share.
#[derive(Debug, Default)]
pub(super) struct Failures {
    origins: Mutex<Vec<Origin>>,
    /// Records that the producer did not take.
    refused: Mutex<Vec<FailedRecord>>,
    /// Topics that a record has waited for in vain.
    missing: Mutex<BTreeMap<String, ClientError>>,
    any_missing: AtomicBool,
}

/// What is to be done about the task whose record failed.
#[derive(Clone, Debug)]
pub(super) enum Settled {
    /// The record is given up.
    Dropped(TaskId),
    /// The task begins anew from its last commit.
    BeginAnew(TaskId, ClientError),
    /// Another producer has taken this one's place.
    Migrated,
}

impl Failures {
    /// The number of an origin: the same for equal ones.
    pub(super) fn owner(&self, origin: Origin) -> u32 {
        let mut origins = self.origins.lock();
        let known = origins.iter().position(|known| *known == origin);
        let at = known.unwrap_or_else(|| {
            origins.push(origin);
            origins.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// Why a record cannot be sent, where one before it has waited `max.block.ms` for its topic and that still does not
    /// exist: not every record has to wait for that alone.
    pub(super) fn still_missing(&self, producer: &Producer, topic: &str) -> Option<ClientError> {
        if !self.any_missing.load(Ordering::Relaxed) {
            return None;
        }
        let mut missing = self.missing.lock();
        let error = missing.get(topic)?.clone();
        if producer.cluster().metadata().topic(topic).is_some_and(|known| known.error.is_none()) {
            missing.remove(topic);
            self.any_missing.store(!missing.is_empty(), Ordering::Relaxed);
            tracing::info!(topic, "exists now");
            return None;
        }
        producer.cluster().track_used(topic);
        producer.cluster().request_update();
        Some(error)
    }

    /// Takes note of a topic that was waited for in vain, if that is what the error says.
    pub(super) fn note_missing(&self, topic: &str, error: &ClientError) {
        if error.code() == Some(ErrorCode::UnknownTopicOrPartition)
            && self.missing.lock().insert(topic.to_owned(), error.clone()).is_none()
        {
            self.any_missing.store(true, Ordering::Relaxed);
            tracing::warn!(topic, "does not exist, records for it cannot be sent: {error}");
        }
    }

    /// The producer did not take a record.
    #[cold]
    pub(super) fn refuse(&self, record: &ClientRecord<'_>, tag: RecordTag, error: ClientError) {
        self.note_missing(record.topic, &error);
        self.refused.lock().push(FailedRecord::refused(record, tag, error));
    }

    /// What has failed since the last time.
    pub(super) fn take(&self, producer: &Producer) -> Vec<FailedRecord> {
        let mut failed = producer.take_failed();
        // A task that was given up has given these up itself.
        failed.retain(|record| !matches!(record.error, ClientError::HeldBack { .. }));
        failed.append(&mut mem::take(&mut *self.refused.lock()));
        failed
    }

    /// Asks the production exception handler about a record, and sends its dead letters.
    ///
    /// # Errors
    /// With node, task and source record, if the handler chose to fail, or is not to be asked.
    pub(super) fn settle(&self, failed: FailedRecord, config: &StreamsConfig, producer: &Producer) -> Result<Settled> {
        let origin = self.origins.lock().get(failed.tag.owner as usize).cloned();
        let Some(origin) = origin else { return Err(Error::internal("a record without origin has failed")) };
        let headers: Headers =
            failed.headers.iter().map(|(key, value)| Header { key: key.clone(), value: value.clone() }).collect();
        let context = ErrorHandlerContext {
            topic: origin.topic.as_deref(),
            partition: origin.partition,
            offset: failed.tag.position,
            headers: &headers,
            processor_node_id: origin.node.as_deref().unwrap_or_default(),
            task_id: origin.task,
            timestamp: failed.timestamp.unwrap_or(-1),
            source_raw_key: None,
            source_raw_value: None,
        };
        let record = ProducerRecord {
            topic: &failed.topic,
            partition: failed.partition,
            timestamp: failed.timestamp,
            headers: &headers,
            key: failed.key.as_deref(),
            value: failed.value.as_deref(),
        };
        if let ClientError::WouldBlock { .. } = failed.error {
            // Whoever has the task then processes the record again.
            return Ok(Settled::BeginAnew(origin.task, failed.error));
        }
        let may_retry = failed.error.is_retriable();
        let verdict = match &failed.error {
            // Another record has failed, or the producer has: nobody is asked about this one.
            ClientError::TransactionFailed { .. } | ClientError::ProducerFailed { .. } => {
                Some(verdict::of_transaction(&failed.error))
            }
            error => verdict::of_record(error),
        };
        let error = Box::new(Error::Production { topic: failed.topic.to_string(), source: failed.error.clone() });
        match verdict {
            Some(Verdict::Migrated) => {
                tracing::warn!(task = %origin.task, "the producer was fenced: {error}");
                return Ok(Settled::Migrated);
            }
            Some(Verdict::Retry) => return Ok(Settled::BeginAnew(origin.task, failed.error)),
            Some(_) => return Err(located(error, &origin, failed.tag.position)),
            None => {}
        }
        let handler = config.production_exception_handler();
        let response = guarded(|| Ok(handler.handle(&context, &record, &error)));
        let ProductionHandlerResponse { result, dead_letters } =
            response.map_err(|panic| located(panic, &origin, failed.tag.position))?;
        let is_exactly_once = config.is_exactly_once();
        if origin.is_dead_letter && !dead_letters.is_empty() {
            tracing::warn!(topic = %failed.topic, "a dead letter could not be sent: {error}");
        } else if is_exactly_once {
            // They would be aborted with the transaction, as in Kafka.
            tracing::debug!(
                letters = dead_letters.len(),
                "no dead letters are written where the transaction has failed"
            );
        } else {
            self.send_dead_letters(dead_letters, &origin, failed.tag.position, producer);
        }
        match result {
            ProductionHandlerResult::Retry if may_retry => {
                tracing::debug!(task = %origin.task, "begins anew from its last commit: {error}");
                Ok(Settled::BeginAnew(origin.task, failed.error))
            }
            // As in Kafka, where the commit then fails: a transaction that lacks a record cannot be committed, and the record
            // would fail again.
            ProductionHandlerResult::Continue if is_exactly_once => {
                tracing::error!(
                    task = %origin.task,
                    "the production exception handler goes on without a record, which exactly_once_v2 cannot: {error}"
                );
                Err(located(error, &origin, failed.tag.position))
            }
            ProductionHandlerResult::Continue => {
                tracing::error!(task = %origin.task, node = context.processor_node_id, "giving a record up: {error}");
                Ok(Settled::Dropped(origin.task))
            }
            ProductionHandlerResult::Fail | ProductionHandlerResult::Retry => {
                Err(located(error, &origin, failed.tag.position))
            }
        }
    }

    fn send_dead_letters(&self, letters: Vec<DeadLetter>, origin: &Origin, position: i64, producer: &Producer) {
        if letters.is_empty() {
            return;
        }
        let owner = self.owner(Origin { is_dead_letter: true, ..origin.clone() });
        let tag = RecordTag { owner, position };
        for letter in letters {
            let headers = views(&letter.headers);
            let record = ClientRecord {
                topic: &letter.topic,
                partition: letter.partition,
                timestamp: letter.timestamp,
                key: letter.key.as_deref(),
                value: letter.value.as_deref(),
                headers: &headers,
            };
            if let Err(error) = wait_for_room(producer, producer.send_tagged(record, tag)) {
                self.refuse(&record, tag, error);
            }
        }
    }
}

fn located(source: Box<Error>, origin: &Origin, offset: i64) -> Box<Error> {
    let node = origin.node.as_deref().unwrap_or("the changelog of a store").to_owned();
    let position = origin.topic.clone().map(|topic| (topic, origin.partition, offset));
    Box::new(Error::Processing { node, task: origin.task.to_string(), position, source })
}
