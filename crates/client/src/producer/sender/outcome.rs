//! What the sender does with the brokers' answers.

use std::sync::Arc;
use std::time::Instant;

use vltava_protocol::ErrorCode;

use super::{Leader, Leaders, Link, Sender};
use crate::config::{Acks, exponential};
use crate::error::ClientError;
use crate::net::MetadataSnapshot;
use crate::producer::batch::Batch;
use crate::producer::delivery::Written;
use crate::producer::transaction::calls::SOON;

/// What the broker said of one batch of a request.
#[derive(Debug, Clone)]
pub(crate) struct PartitionOutcome {
    pub(crate) code: ErrorCode,
    pub(crate) message: Option<Arc<str>>,
    /// Offset of the first record; negative if it is not known.
    pub(crate) base_offset: i64,
    /// Negative unless the topic has the time of append.
    pub(crate) log_append_time: i64,
    /// Whether the answer told a newer leader (KIP-951): then there is no need to wait.
    pub(crate) has_new_leader: bool,
}

impl PartitionOutcome {
    /// Everything is fine, nothing is known (`acks=0`).
    pub(crate) const UNKNOWN: Self =
        Self { code: ErrorCode::None, message: None, base_offset: -1, log_append_time: -1, has_new_leader: false };

    fn error(&self) -> ClientError {
        ClientError::Broker { code: self.code, message: self.message.clone() }
    }
}

impl Leaders for MetadataSnapshot {
    fn leader(&self, topic: &str, partition: i32) -> Leader {
        match self.topic(topic).and_then(|topic| topic.error) {
            Some(code) if !code.is_retriable() => return Leader::Refused(code),
            _ => {}
        }
        match MetadataSnapshot::leader(self, topic, partition) {
            Some(node) => Leader::Node(node.id),
            None => Leader::Unknown,
        }
    }
}

impl Sender {
    /// The answer to [`Effect::Produce`](super::Effect::Produce): one outcome per part in their order, or why there is none.
    pub(crate) fn answered(&mut self, now: Instant, request: u64, result: Result<Vec<PartitionOutcome>, ClientError>) {
        self.called = Some(now);
        let Some(request) = self.requests.remove(&request) else { return };
        if let Some(node) = self.nodes.get_mut(&request.node) {
            node.in_flight = node.in_flight.saturating_sub(1);
            if matches!(result, Err(ClientError::Connection { .. } | ClientError::Timeout { .. })) {
                node.link = Link::Down;
            }
        }
        if result.is_ok() {
            self.accumulator.metrics.answered(now.saturating_duration_since(request.sent_at), now);
        }
        if result.is_ok() && self.is_transactional() {
            self.pause_after_end.answered(request.is_first, now.saturating_duration_since(request.sent_at));
        }
        let mut outcomes = result.map(Vec::into_iter);
        for (id, batch) in request.batches {
            let outcome = match &mut outcomes {
                Ok(outcomes) => outcomes.next().ok_or_else(|| ClientError::unexpected("no answer for a partition")),
                Err(error) => Err(error.clone()),
            };
            let Some(batch) = batch else { continue };
            if let Some(tracker) = self.trackers.get_mut(&id) {
                tracker.answered(batch.order);
            }
            match outcome {
                Ok(outcome) => self.settle(now, id, batch, &outcome),
                Err(error) => self.unanswered(now, id, batch, error),
            }
        }
    }

    /// The broker did not answer: whether it wrote the batch is not known.
    fn unanswered(&mut self, now: Instant, id: u64, batch: Batch, error: ClientError) {
        self.refresh_topic(id);
        if error.is_retriable() && self.has_retries(&batch) && self.settings.acks != Acks::None {
            self.retry(now, id, batch, false);
        } else {
            let is_unresolved = error.is_retriable();
            self.fail(id, batch, error, is_unresolved);
        }
    }

    fn settle(&mut self, now: Instant, id: u64, batch: Batch, outcome: &PartitionOutcome) {
        match outcome.code {
            ErrorCode::None => self.written(id, batch, outcome),
            ErrorCode::MessageTooLarge if batch.count() > 1 => self.split(now, id, batch, outcome),
            code => {
                if code.is_invalid_metadata() {
                    self.refresh_topic(id);
                }
                if self.has_retries(&batch) && self.may_retry(id, &batch, code) {
                    if let Some(tracker) = self.trackers.get_mut(&id) {
                        tracker.set_apart();
                    }
                    match code {
                        // The transaction before is just being ended there.
                        ErrorCode::ConcurrentTransactions => self.retry_after(now + SOON, id, batch),
                        _ => self.retry(now, id, batch, outcome.has_new_leader),
                    }
                } else if code == ErrorCode::DuplicateSequenceNumber {
                    // It is written, and so long ago that the broker does not remember where.
                    self.written(id, batch, outcome);
                } else {
                    self.fail(id, batch, outcome.error(), code.is_retriable());
                }
            }
        }
    }

    fn refresh_topic(&mut self, id: u64) {
        if let Some(tracker) = self.trackers.get(&id) {
            self.refresh.insert(Arc::clone(&tracker.queue.topic));
        }
    }

    fn has_retries(&self, batch: &Batch) -> bool {
        batch.attempts <= self.settings.retries
    }

    fn written(&mut self, id: u64, batch: Batch, outcome: &PartitionOutcome) {
        if let Some(tracker) = self.trackers.get_mut(&id) {
            tracker.acknowledge(batch.order);
        }
        let written = Written {
            base_offset: (outcome.base_offset >= 0).then_some(outcome.base_offset),
            log_append_time: (outcome.log_append_time >= 0).then_some(outcome.log_append_time),
        };
        self.accumulator.finish(batch, Ok(written));
    }

    /// Whether sending the batch again may help. A gap in the sequence asks for a new epoch first.
    fn may_retry(&mut self, id: u64, batch: &Batch, code: ErrorCode) -> bool {
        if !self.settings.idempotent {
            return code.is_retriable();
        }
        if self.is_transactional() {
            return self.may_retry_in_transaction(id, batch, code);
        }
        match code {
            ErrorCode::UnknownProducerId => {
                // The broker has forgotten the producer, as after its records were deleted. KIP-360: begin anew.
                self.begin_anew_if_first(id, batch);
                true
            }
            ErrorCode::OutOfOrderSequenceNumber => {
                // Behind a batch that is not over it is that one's consequence, and passes with it.
                self.begin_anew_if_first(id, batch);
                true
            }
            code => code.is_retriable(),
        }
    }

    /// As [`may_retry`](Self::may_retry), in a transaction. It cannot begin anew in the midst of it.
    fn may_retry_in_transaction(&self, id: u64, batch: &Batch, code: ErrorCode) -> bool {
        let Some(tracker) = self.trackers.get(&id) else { return false };
        let is_first = tracker.entries.front().is_some_and(|first| first.order == batch.order);
        let is_consequence = code == ErrorCode::OutOfOrderSequenceNumber && !is_first;
        !tracker.is_unresolved && (is_consequence || code.is_retriable())
    }

    /// The broker does not expect this batch's number. If no batch before it is open that is a real gap, unless the number
    /// was changed while the batch was on its way.
    fn begin_anew_if_first(&mut self, id: u64, batch: &Batch) {
        let first = self.trackers.get(&id).and_then(|tracker| tracker.entries.front());
        if first.is_some_and(|first| first.order == batch.order && !first.was_reset) {
            self.rewrite.insert(id);
        }
    }

    fn retry(&mut self, now: Instant, id: u64, batch: Batch, at_once: bool) {
        if let Some(tracker) = self.trackers.get(&id) {
            self.accumulator.metrics.retried(&tracker.queue.topic, batch.count(), now);
        }
        let attempt = batch.attempts.saturating_sub(1);
        let pause = exponential(self.settings.retry_backoff, self.settings.retry_backoff_max, attempt);
        self.retry_after(if at_once { now } else { now + pause }, id, batch);
    }

    fn retry_after(&mut self, at: Instant, id: u64, mut batch: Batch) {
        let attempt = batch.attempts.saturating_sub(1);
        batch.retry_at = Some(at);
        if let Some(tracker) = self.trackers.get_mut(&id) {
            tracing::debug!(topic = %tracker.queue.topic, partition = tracker.queue.partition, attempt, "sending again");
            tracker.retry(batch);
        }
    }

    /// The broker finds the batch too large: sends its records in smaller ones.
    fn split(&mut self, now: Instant, id: u64, batch: Batch, outcome: &PartitionOutcome) {
        let Some(tracker) = self.trackers.get_mut(&id) else { return };
        self.accumulator.metrics.split(now);
        tracker.set_apart();
        let order = batch.order;
        let completion = Arc::clone(&batch.completion);
        let (uncompressed, compressed) = batch.sizes();
        let settings = self.accumulator.settings();
        self.accumulator.distrust_ratio(&tracker.queue, compressed as f32 / uncompressed.max(1) as f32);
        let queue = Arc::clone(&tracker.queue);
        match batch.split(&queue.topic, queue.partition, settings.codec, settings.batch_size) {
            Ok(mut parts) => {
                for part in &mut parts {
                    part.order = self.next_order;
                    self.next_order += 1;
                    self.accumulator.add_incomplete(&part.completion);
                }
                tracker.replace(order, parts.iter().map(|part| (part.order, part.count())));
                self.accumulator.replaced(&completion);
                for mut part in parts {
                    part.retry_at = Some(now);
                    tracker.retry(part);
                }
            }
            Err(refused) => {
                let (batch, error) = *refused;
                tracing::warn!("cannot split a batch: {error}");
                self.fail(id, batch, outcome.error(), false);
            }
        }
    }

    /// Gives a batch up. `is_unresolved` is whether it may have been written all the same.
    pub(super) fn fail(&mut self, id: u64, batch: Batch, error: ClientError, is_unresolved: bool) {
        let is_transactional = self.is_transactional();
        let mut error = error;
        if let Some(tracker) = self.trackers.get_mut(&id) {
            error = error.of_topic(&tracker.queue.topic);
            if let Some(now) = self.called {
                self.accumulator.metrics.failed(&tracker.queue.topic, batch.count(), now);
            }
            if self.settings.idempotent && !is_unresolved && !is_transactional {
                tracker.refused(batch.order);
            } else {
                tracker.lose(batch.order);
            }
        }
        if self.settings.idempotent && !is_transactional && error.code().is_some_and(ends_the_producer) {
            self.fatal = Some(error.clone());
        }
        self.accumulator.finish(batch, Err(error));
    }
}

/// After these an idempotent producer cannot go on.
fn ends_the_producer(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::ClusterAuthorizationFailed
            | ErrorCode::TransactionalIdAuthorizationFailed
            | ErrorCode::ProducerFenced
            | ErrorCode::UnsupportedVersion
            | ErrorCode::InvalidProducerIdMapping
    )
}
