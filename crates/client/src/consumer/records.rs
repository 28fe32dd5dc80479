//! What `poll` returns.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use vltava_protocol::record::{RecordSpan, RecordView, TimestampType};

use crate::{OffsetAndMetadata, TopicPartition};

mod owned;

pub use owned::ConsumerRecord;

/// The records of one `poll`, by partition.
///
/// Records are views: a batch was decompressed once, and keys and values are slices of it. Iterate
/// over [`partitions`](Self::partitions) for speed, over [`iter`](Self::iter) for convenience, or
/// take owned records that share the batch's memory with
/// [`into_owned_records`](Self::into_owned_records).
#[derive(Debug, Default)]
pub struct ConsumerRecords {
    partitions: Vec<PartitionRecords>,
    count: usize,
}

impl ConsumerRecords {
    pub(crate) fn push(&mut self, records: PartitionRecords) {
        self.count += records.len();
        // Several fetched answers of one partition follow each other: they are one entry.
        match self.partitions.iter_mut().find(|known| known.topic_partition == records.topic_partition) {
            Some(known) => known.append(records),
            None => self.partitions.push(records),
        }
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The partitions that have records, or whose position moved behind records that are not shown
    /// (control records, aborted transactions).
    #[must_use]
    pub fn partitions(&self) -> &[PartitionRecords] {
        &self.partitions
    }

    /// The records of one partition.
    #[must_use]
    pub fn partition(&self, tp: &TopicPartition) -> Option<&PartitionRecords> {
        self.partitions.iter().find(|records| records.topic_partition == *tp)
    }

    /// All records, partition by partition, in order of offset within each.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicPartition, RecordView<'_>)> {
        self.partitions.iter().flat_map(|p| p.iter().map(move |record| (&p.topic_partition, record)))
    }

    /// All records as values of their own, which keep their batch's memory alive.
    pub fn into_owned_records(self) -> impl Iterator<Item = ConsumerRecord> {
        self.partitions.into_iter().flat_map(PartitionRecords::into_owned_records)
    }

    /// For each partition the offset after its records, as one would commit it.
    #[must_use]
    pub fn next_offsets(&self) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
        self.partitions.iter().map(|p| (p.topic_partition.clone(), p.next_offset.clone())).collect()
    }

    /// The partitions with their records, one by one.
    #[must_use]
    pub fn into_partitions(self) -> Vec<PartitionRecords> {
        self.partitions
    }
}

/// The records of one partition in one `poll`, in order of offset.
pub struct PartitionRecords {
    topic_partition: TopicPartition,
    batches: Vec<BatchPart>,
    spans: Vec<RecordSpan>,
    next_offset: OffsetAndMetadata,
}

/// A batch, of which some records were returned.
#[derive(Debug, Clone)]
struct BatchPart {
    /// The decompressed records that the spans point into.
    bytes: Bytes,
    /// Where the part ends in the list of spans.
    end: usize,
    timestamp_type: TimestampType,
    leader_epoch: Option<i32>,
}

impl PartitionRecords {
    pub(crate) fn new(topic_partition: TopicPartition, offset: i64) -> Self {
        Self { topic_partition, batches: Vec::new(), spans: Vec::new(), next_offset: OffsetAndMetadata::new(offset) }
    }

    pub(crate) fn spans_mut(&mut self) -> &mut Vec<RecordSpan> {
        &mut self.spans
    }

    /// Ends a part: the spans added since the last one point into `bytes`.
    pub(crate) fn end_batch(&mut self, bytes: &Bytes, timestamp_type: TimestampType, leader_epoch: Option<i32>) {
        let end = self.spans.len();
        if self.batches.last().map_or(0, |last| last.end) < end {
            self.batches.push(BatchPart { bytes: bytes.clone(), end, timestamp_type, leader_epoch });
        }
    }

    pub(crate) fn set_next_offset(&mut self, offset: i64, leader_epoch: Option<i32>) {
        self.next_offset = OffsetAndMetadata { offset, leader_epoch, metadata: String::new() };
    }

    fn append(&mut self, later: Self) {
        let shift = self.spans.len();
        self.spans.extend(later.spans);
        self.batches.extend(later.batches.into_iter().map(|part| BatchPart { end: part.end + shift, ..part }));
        self.next_offset = later.next_offset;
    }

    /// The partition.
    #[must_use]
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The offset after these records, as one would commit it.
    #[must_use]
    pub fn next_offset(&self) -> &OffsetAndMetadata {
        &self.next_offset
    }

    /// The records batch by batch; what a batch's records have in common is told once.
    pub fn batches(&self) -> impl Iterator<Item = BatchRecords<'_>> {
        let mut start = 0;
        self.batches.iter().map(move |part| {
            let spans = self.spans.get(start..part.end).unwrap_or_default();
            start = part.end;
            BatchRecords { part, spans }
        })
    }

    /// The records.
    pub fn iter(&self) -> impl Iterator<Item = RecordView<'_>> {
        self.batches().flat_map(|batch| batch.iter())
    }

    /// The records as values of their own, which keep their batch's memory alive.
    pub fn into_owned_records(self) -> impl Iterator<Item = ConsumerRecord> {
        let Self { topic_partition, batches, spans, .. } = self;
        let mut start = 0;
        batches.into_iter().flat_map(move |part| {
            let range = start..part.end;
            start = part.end;
            let batch: Vec<ConsumerRecord> = spans
                .get(range)
                .unwrap_or_default()
                .iter()
                .map(|span| ConsumerRecord::new(&topic_partition, &part, span))
                .collect();
            batch
        })
    }
}

impl fmt::Debug for PartitionRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionRecords")
            .field("topic_partition", &self.topic_partition)
            .field("records", &self.spans.len())
            .field("next_offset", &self.next_offset.offset)
            .finish()
    }
}

/// The records of one batch.
#[derive(Clone, Copy)]
pub struct BatchRecords<'a> {
    part: &'a BatchPart,
    spans: &'a [RecordSpan],
}

impl<'a> BatchRecords<'a> {
    /// Whether timestamps are the producer's or the broker's.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        self.part.timestamp_type
    }

    /// The leader epoch under which the batch was appended, if it is known.
    #[must_use]
    pub fn leader_epoch(&self) -> Option<i32> {
        self.part.leader_epoch
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are no records, which does not happen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The records.
    pub fn iter(&self) -> impl Iterator<Item = RecordView<'a>> + use<'a> {
        let bytes: &'a [u8] = &self.part.bytes;
        self.spans.iter().map(move |span| span.view(bytes))
    }

    /// The decompressed bytes that all keys and values of the batch are slices of: with
    /// [`Bytes::slice_ref`] one of them becomes a value of its own without a copy.
    #[must_use]
    pub fn buffer(&self) -> &'a Bytes {
        &self.part.bytes
    }
}

impl fmt::Debug for BatchRecords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchRecords")
            .field("records", &self.spans.len())
            .field("leader_epoch", &self.part.leader_epoch)
            .finish()
    }
}
