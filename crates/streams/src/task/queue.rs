//! The records a task has been given and not yet processed, per partition, and which one comes next.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use super::{
    input::{InputBatch, InputRecord, RawView, slice},
    source::Source,
};
use crate::{
    error::{Error, Result},
    metrics::{record_size_of, topic::Consumed},
    processing::{JavaHeap, Runtime},
};

/// The head of a queue: read by its source, waiting for its turn. A corrupted one only moves the offset.
struct Head {
    timestamp: i64,
    corrupted: bool,
    record: InputRecord,
    leader_epoch: Option<i32>,
}

/// What is known of the records of a partition that have not been given to the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lag {
    /// Nobody brings records of it: it is not waited for.
    Unread,
    /// Not known yet.
    Unknown,
    /// So many are at the broker.
    Known(i64),
}

pub(crate) struct RecordQueue {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) source: usize,
    pub(crate) lane: usize,
    batches: VecDeque<InputBatch>,
    /// The buffer of the head.
    buffer: Bytes,
    head: Option<Head>,
    len: usize,
    pub(crate) partition_time: i64,
    pub(crate) lag: Lag,
    pub(crate) metrics: Consumed,
    /// Since when it has been empty here and at the broker, in ms of wall-clock time.
    idle_since: Option<i64>,
}

impl RecordQueue {
    pub(crate) fn new(topic: Arc<str>, partition: i32, source: usize, lane: usize, lag: Lag) -> Self {
        RecordQueue {
            topic,
            partition,
            source,
            lane,
            batches: VecDeque::new(),
            buffer: Bytes::new(),
            head: None,
            len: 0,
            partition_time: -1,
            lag,
            metrics: Consumed::default(),
            idle_since: None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Reads records until one of them can be processed; the last unreadable one stands in if none can.
    fn update_head(&mut self, source: &mut dyn Source, rt: &mut Runtime) -> Result<()> {
        let mut corrupted = None;
        while let Some(batch) = self.batches.front_mut() {
            let Some(record) = batch.records.pop_front() else {
                self.batches.pop_front();
                continue;
            };
            if self.buffer.as_ptr() != batch.buffer.as_ptr() || self.buffer.len() != batch.buffer.len() {
                self.buffer = batch.buffer.clone();
            }
            let view = RawView {
                topic: &self.topic,
                partition: self.partition,
                offset: record.offset,
                timestamp: record.timestamp,
                headers: &record.headers,
                key: slice(&self.buffer, record.key.as_ref())?,
                value: slice(&self.buffer, record.value.as_ref())?,
            };
            let leader_epoch = batch.leader_epoch;
            match source.prepare(self.lane, &view, self.partition_time, rt)? {
                Some(timestamp) => {
                    self.head = Some(Head { timestamp, corrupted: false, record, leader_epoch });
                    return Ok(());
                }
                None => {
                    self.len -= 1;
                    corrupted = Some(Head { timestamp: -1, corrupted: true, record, leader_epoch });
                }
            }
        }
        if corrupted.is_some() {
            self.len += 1;
            self.head = corrupted;
        }
        Ok(())
    }
}

/// All queues of a task; the one with the smallest head timestamp goes first.
#[derive(Default)]
pub(crate) struct PartitionGroup {
    pub(crate) queues: Vec<RecordQueue>,
    heap: JavaHeap,
}

/// Whether the next record may be processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    No,
    Yes,
    /// It may, although partitions have none of which earlier ones may come.
    Enforced,
}

/// What was taken from a queue.
pub(crate) struct Taken {
    pub(crate) queue: usize,
    pub(crate) source: usize,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) corrupted: bool,
}

impl PartitionGroup {
    pub(crate) fn add_records(
        &mut self,
        queue: usize,
        batch: InputBatch,
        sources: &mut [Box<dyn Source>],
        rt: &mut Runtime,
    ) -> Result<()> {
        let Some(place) = self.queues.get_mut(queue) else {
            return Err(Error::internal("records of a foreign partition"));
        };
        let was_empty = place.len == 0;
        place.len += batch.len();
        place.batches.push_back(batch);
        if place.head.is_none() {
            let Some(source) = sources.get_mut(place.source) else {
                return Err(Error::internal("a queue without source"));
            };
            place.update_head(&mut **source, rt)?;
        }
        if was_empty && let Some(head) = &place.head {
            self.heap.offer(head.timestamp, queue);
        }
        Ok(())
    }

    /// Forgets all records that wait.
    pub(crate) fn clear(&mut self, sources: &mut [Box<dyn Source>]) {
        for queue in &mut self.queues {
            if let (Some(Head { corrupted: false, .. }), Some(source)) = (&queue.head, sources.get_mut(queue.source)) {
                source.take_head(queue.lane);
            }
            queue.batches.clear();
            queue.buffer = Bytes::new();
            queue.head = None;
            queue.len = 0;
            queue.idle_since = None;
        }
        self.heap = JavaHeap::default();
    }

    pub(crate) fn has_records(&self) -> bool {
        !self.heap.is_empty()
    }

    /// Whether the next record may be processed, or the task waits for records of other partitions (KIP-695): for those
    /// that are known to be at the broker, and, where there are none, for `max_idle_ms` of wall-clock time. Below 0 it
    /// waits for nothing.
    pub(crate) fn ready(&mut self, now: i64, max_idle_ms: i64) -> Ready {
        if self.heap.is_empty() {
            return Ready::No;
        }
        if max_idle_ms < 0 {
            return Ready::Yes;
        }
        let mut ready = true;
        let mut enforced = false;
        for queue in &mut self.queues {
            match queue.lag {
                _ if queue.len > 0 => queue.idle_since = None,
                Lag::Unread => {}
                Lag::Known(lag) if lag <= 0 => {
                    let since = queue.idle_since.get_or_insert(now);
                    // A clock that was set back makes nobody wait until it has caught up.
                    *since = (*since).min(now);
                    ready &= now.saturating_sub(*since) >= max_idle_ms;
                    enforced = true;
                }
                Lag::Known(_) | Lag::Unknown => {
                    queue.idle_since = None;
                    ready = false;
                }
            }
        }
        match (ready, enforced) {
            (false, _) => Ready::No,
            (true, false) => Ready::Yes,
            (true, true) => Ready::Enforced,
        }
    }

    /// Takes the next record; its source holds it from then on. The queue's next one is read before that.
    pub(crate) fn take(&mut self, sources: &mut [Box<dyn Source>], rt: &mut Runtime) -> Result<Option<Taken>> {
        let Some((_, number)) = self.heap.poll() else { return Ok(None) };
        let Some(queue) = self.queues.get_mut(number) else { return Err(Error::internal("a foreign queue")) };
        let Some(source) = sources.get_mut(queue.source) else { return Err(Error::internal("a queue without source")) };
        let Some(head) = queue.head.take() else { return Err(Error::internal("a queue without head")) };
        let Head { timestamp, corrupted, record, leader_epoch } = head;
        queue.len -= 1;
        queue.partition_time = queue.partition_time.max(timestamp);
        let offset = record.offset;
        // As in the JVM what cannot be read has no size.
        let len = |range: &Option<std::ops::Range<u32>>| range.as_ref().map_or(0, std::ops::Range::len);
        let size = match corrupted {
            true => 0,
            false => record_size_of(len(&record.key), len(&record.value), &queue.topic, &record.headers),
        };
        queue.metrics.add(size);
        if !corrupted {
            source.take_head(queue.lane);
            let context = &mut rt.context;
            if context.topic.as_ref().is_none_or(|topic| !Arc::ptr_eq(topic, &queue.topic)) {
                context.topic = Some(queue.topic.clone());
            }
            if context.batch.as_ptr() != queue.buffer.as_ptr() || context.batch.len() != queue.buffer.len() {
                context.batch = queue.buffer.clone();
            }
            context.known = true;
            context.partition = queue.partition;
            context.offset = offset;
            context.leader_epoch = leader_epoch;
            context.timestamp = timestamp;
            context.headers = record.headers;
            context.raw_key = record.key;
            context.raw_value = record.value;
        }
        queue.update_head(&mut **source, rt)?;
        if let Some(head) = &queue.head {
            self.heap.offer(head.timestamp, number);
        }
        Ok(Some(Taken { queue: number, source: queue.source, offset, timestamp, corrupted }))
    }
}
