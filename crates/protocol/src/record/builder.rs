use bytes::Bytes;

use super::header::HeaderParts;
use super::varint::{SliceWriter, varint_size, varlong_size};
use super::{
    Attributes, BATCH_OVERHEAD, Codec, Compression, Compressor, HeaderView, LOG_OVERHEAD, NO_PARTITION_LEADER_EPOCH,
    NO_TIMESTAMP, ProducerState, RecordBatchHeader, RecordError, RecordView, TimestampType,
};

/// Writes records in place into one buffer and closes it as a record batch.
///
/// The buffer is allocated once, with the given capacity; it grows only for records that do not
/// fit, which [`has_room_for`](Self::has_room_for) tells beforehand. With a codec the records are
/// compressed as a whole when the batch is built.
///
/// ```
/// use vltava_protocol::record::{Compression, HeaderView, ProducerState, RecordBatchBuilder};
///
/// # fn main() -> Result<(), vltava_protocol::record::RecordError> {
/// let mut builder = RecordBatchBuilder::with_capacity(Compression::Lz4, 16 * 1024);
/// let trace = HeaderView::new("trace", Some(b"17"));
/// builder.append(1_700_000_000_000, Some(b"mitch"), Some(b"1"), [trace])?;
/// builder.append(1_700_000_000_005, None, Some(b"2"), [])?;
/// builder.set_producer_state(ProducerState::idempotent(4711, 0, 0));
/// let batch = builder.build()?;
/// # assert!(batch.len() > 61);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RecordBatchBuilder {
    /// Header (filled in at the end), records, and room, all initialised.
    buffer: Vec<u8>,
    /// End of what is written in `buffer`.
    end: usize,
    limit: usize,
    codec: Codec,
    estimated_ratio: f32,
    base_offset: i64,
    partition_leader_epoch: i32,
    attributes: Attributes,
    producer: ProducerState,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
    log_append_time: Option<i64>,
    last_offset_delta: i32,
    count: i32,
}

impl RecordBatchBuilder {
    /// A builder for a batch of any size, whose buffer grows as needed.
    pub fn new(codec: impl Into<Codec>) -> Self {
        Self::with_buffer(codec, Vec::new(), i32::MAX as usize)
    }

    /// A builder for batches up to `batch_size` bytes, for which it allocates once. The first
    /// record fits however large it is, as with Kafka's `batch.size`.
    pub fn with_capacity(codec: impl Into<Codec>, batch_size: usize) -> Self {
        let capacity = batch_size.max(BATCH_OVERHEAD);
        Self::with_buffer(codec, vec![0; capacity], batch_size)
    }

    /// A builder for batches up to `batch_size` bytes that writes into `buffer`, whatever it
    /// holds; its length (not its capacity) is the room before it has to grow. The buffer of a
    /// batch that nobody holds any more comes back by `Vec::from(bytes)`.
    pub fn with_buffer(codec: impl Into<Codec>, buffer: Vec<u8>, batch_size: usize) -> Self {
        Self {
            buffer,
            end: BATCH_OVERHEAD,
            limit: batch_size,
            codec: codec.into(),
            estimated_ratio: 1.0,
            base_offset: 0,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            attributes: Attributes::default(),
            producer: ProducerState::NONE,
            base_timestamp: None,
            max_timestamp: NO_TIMESTAMP,
            log_append_time: None,
            last_offset_delta: -1,
            count: 0,
        }
    }

    /// Sets the base offset, 0 by default: a leader's business, to be set before the first record.
    #[must_use]
    pub fn base_offset(mut self, base_offset: i64) -> Self {
        debug_assert_eq!(self.count, 0, "the base offset is set before the records");
        self.base_offset = base_offset;
        self
    }

    /// Sets the epoch of the leader that appends the batch, -1 by default.
    #[must_use]
    pub fn partition_leader_epoch(mut self, epoch: i32) -> Self {
        self.partition_leader_epoch = epoch;
        self
    }

    /// Gives all records this time of append instead of their producer's timestamps.
    #[must_use]
    pub fn log_append_time(mut self, timestamp: i64) -> Self {
        self.attributes = self.attributes.with_timestamp_type(TimestampType::LogAppendTime);
        self.log_append_time = Some(timestamp);
        self
    }

    /// Makes it a batch of control records. See [`control`](super::control).
    #[must_use]
    pub fn control(mut self) -> Self {
        self.attributes = self.attributes.with_control(true);
        self
    }

    /// Sets the time from which compaction may drop the batch's tombstones and markers, to be set
    /// before the first record.
    #[must_use]
    pub fn delete_horizon_ms(mut self, timestamp: i64) -> Self {
        debug_assert_eq!(self.count, 0, "the horizon is set before the records");
        self.attributes = self.attributes.with_delete_horizon(true);
        self.base_timestamp = Some(timestamp);
        self
    }

    /// Sets producer id, epoch, base sequence and whether the batch is part of a transaction.
    pub fn set_producer_state(&mut self, state: ProducerState) {
        self.producer = state;
    }

    /// Sets what part of their size the records are expected to have once compressed; see
    /// [`CompressionRatioEstimator`](super::CompressionRatioEstimator). 1 by default.
    pub fn set_estimated_ratio(&mut self, ratio: f32) {
        self.estimated_ratio = ratio;
    }

    /// Makes the batch end at this offset, whatever records it has: compaction keeps a batch's
    /// last offset though it removes its last record.
    ///
    /// # Errors
    ///
    /// [`RecordError::InvalidOffset`] if it is before the last record's, or too far.
    pub fn set_last_offset(&mut self, offset: i64) -> Result<(), RecordError> {
        let delta = self.offset_delta(offset)?;
        if delta < self.last_offset_delta {
            return Err(self.invalid_offset(offset));
        }
        self.last_offset_delta = delta;
        Ok(())
    }

    /// Number of records.
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The largest timestamp of the records, -1 if none has one.
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// Size of the records in bytes before compression, without the header.
    pub fn records_size(&self) -> usize {
        self.end - BATCH_OVERHEAD
    }

    /// The codec.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Size that the batch is expected to have when built: exact without a codec.
    pub fn estimated_size(&self) -> usize {
        /// Kafka's margin over the ratio of earlier batches.
        const MARGIN: f32 = 1.05;
        match self.codec.compression() {
            Compression::None => self.end,
            _ => {
                let compressed = self.records_size() as f32 * self.estimated_ratio * MARGIN;
                BATCH_OVERHEAD + compressed as usize
            }
        }
    }

    /// Whether the batch has reached its size.
    pub fn is_full(&self) -> bool {
        self.count > 0 && self.estimated_size() >= self.limit
    }

    /// Whether a record fits, of which the lengths of key and value are known (`None` for a null)
    /// and the headers. The first always does.
    pub fn has_room_for<'h>(
        &self,
        timestamp: i64,
        key_length: Option<usize>,
        value_length: Option<usize>,
        headers: impl IntoIterator<Item = HeaderView<'h>>,
    ) -> bool {
        if self.count == 0 {
            return true;
        }
        let base_timestamp = self.base_timestamp.unwrap_or(timestamp);
        let (header_count, headers_size) = headers_size(headers);
        let body = body_size(
            timestamp.wrapping_sub(base_timestamp),
            self.last_offset_delta.saturating_add(1),
            key_length,
            value_length,
            varint_size(header_count) as u64 + headers_size,
        );
        let record = body + varint_size(body.min(i32::MAX as u64) as i32) as u64;
        // The record itself counts as if it did not compress, as Kafka's producer does it.
        self.estimated_size() as u64 + record <= self.limit as u64
    }

    /// Appends a record with the next offset and gives its offset relative to the first.
    ///
    /// `timestamp` is in milliseconds, -1 for none.
    ///
    /// # Errors
    ///
    /// [`RecordError::InvalidTimestamp`] and [`RecordError::RecordTooLarge`] (beyond 2 GiB; the
    /// batch size is no limit here). The batch is as it was then.
    pub fn append<'h, H>(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: H,
    ) -> Result<i32, RecordError>
    where
        H: IntoIterator<Item = HeaderView<'h>>,
        H::IntoIter: Clone,
    {
        let offset_delta = match self.last_offset_delta.checked_add(1) {
            Some(delta) => delta,
            None => return Err(self.invalid_offset(self.base_offset.wrapping_add(1 << 31))),
        };
        self.append_delta(offset_delta, timestamp, key, value, headers.into_iter())?;
        Ok(offset_delta)
    }

    /// Appends a record of another batch under the offset that it has there: for compaction.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append), and [`RecordError::InvalidOffset`] if the offset is not after
    /// the last one's.
    pub fn append_with_offset(&mut self, record: &RecordView<'_>) -> Result<(), RecordError> {
        let delta = self.offset_delta(record.offset)?;
        if delta <= self.last_offset_delta {
            return Err(self.invalid_offset(record.offset));
        }
        self.append_delta(delta, record.timestamp, record.key, record.value, record.headers)
    }

    /// Appends a record of another batch under the next offset and gives its offset relative to
    /// the first: for splitting batches and for compressing them differently.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn append_record(&mut self, record: &RecordView<'_>) -> Result<i32, RecordError> {
        self.append(record.timestamp, record.key, record.value, record.headers)
    }

    fn append_delta<'h, H>(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: H,
    ) -> Result<(), RecordError>
    where
        H: Iterator<Item = HeaderView<'h>> + Clone,
    {
        if timestamp < NO_TIMESTAMP {
            return Err(RecordError::InvalidTimestamp { timestamp });
        }
        let base_timestamp = self.base_timestamp.unwrap_or(timestamp);
        let timestamp_delta = timestamp.wrapping_sub(base_timestamp);
        let (header_count, headers_size) = headers_size(headers.clone());
        let body = body_size(
            timestamp_delta,
            offset_delta,
            key.map(<[u8]>::len),
            value.map(<[u8]>::len),
            varint_size(header_count) as u64 + headers_size,
        );
        let (length, record) = self.reserve(body)?;
        let fields = RecordFields { length, timestamp_delta, offset_delta, key, value, header_count };
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let free = room.len();
        let mut writer = SliceWriter::new(room);
        let written = fields.write(&mut writer, headers);
        // Only an iterator of headers that gives others the second time comes to another size.
        if written.is_none() || free - writer.len() != record {
            return Err(RecordError::RecordTooLarge { size: body });
        }
        self.end += record;
        self.base_timestamp = Some(base_timestamp);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.last_offset_delta = offset_delta;
        self.count += 1;
        Ok(())
    }

    /// Makes room for a record with a body of this size; gives the record's length field and its
    /// whole size.
    #[inline]
    fn reserve(&mut self, body: u64) -> Result<(i32, usize), RecordError> {
        let length = i32::try_from(body).map_err(|_| RecordError::RecordTooLarge { size: body })?;
        let record = varint_size(length) + length as usize;
        let needed = self.end + record;
        if needed > self.buffer.len() {
            self.grow(needed)?;
        }
        Ok((length, record))
    }

    #[cold]
    fn grow(&mut self, needed: usize) -> Result<(), RecordError> {
        if needed > i32::MAX as usize {
            return Err(RecordError::RecordTooLarge { size: needed as u64 });
        }
        let doubled = self.buffer.len().saturating_mul(2);
        self.buffer.resize(needed.max(doubled).max(512), 0);
        Ok(())
    }

    fn offset_delta(&self, offset: i64) -> Result<i32, RecordError> {
        offset
            .checked_sub(self.base_offset)
            .filter(|delta| *delta >= 0)
            .and_then(|delta| i32::try_from(delta).ok())
            .ok_or_else(|| self.invalid_offset(offset))
    }

    fn invalid_offset(&self, offset: i64) -> RecordError {
        RecordError::InvalidOffset { offset, base_offset: self.base_offset }
    }

    /// Closes the batch and gives its bytes: without a codec the buffer itself.
    ///
    /// With a codec [`build_with`](Self::build_with) saves setting the codec up anew.
    ///
    /// # Errors
    ///
    /// [`RecordError::EmptyBatch`], [`RecordError::InvalidProducerState`] and
    /// [`RecordError::Compression`].
    pub fn build(self) -> Result<Bytes, RecordError> {
        self.build_with(&mut Compressor::new())
    }

    /// Closes the batch with the codec state that `compressor` keeps, and gives its bytes.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_with(mut self, compressor: &mut Compressor) -> Result<Bytes, RecordError> {
        if self.count == 0 {
            return Err(RecordError::EmptyBatch);
        }
        self.producer.check(self.attributes.is_control())?;
        self.buffer.truncate(self.end);
        if self.codec.compression() != Compression::None {
            let records = self.buffer.get(BATCH_OVERHEAD..).unwrap_or_default();
            let compressed = compressor.compress(self.codec, records)?;
            let mut batch = Vec::with_capacity(BATCH_OVERHEAD + compressed.len());
            batch.resize(BATCH_OVERHEAD, 0);
            batch.extend_from_slice(compressed);
            self.buffer = batch;
        }
        let mut header = self.header()?;
        if let Some((stored, records)) = self.buffer.split_first_chunk_mut::<BATCH_OVERHEAD>() {
            header.update_crc(records);
            *stored = header.to_bytes();
        }
        Ok(Bytes::from(self.buffer))
    }

    fn header(&self) -> Result<RecordBatchHeader, RecordError> {
        let length = self.buffer.len() - LOG_OVERHEAD;
        let batch_length = i32::try_from(length).map_err(|_| RecordError::RecordTooLarge { size: length as u64 })?;
        Ok(RecordBatchHeader::from_parts(HeaderParts {
            base_offset: self.base_offset,
            batch_length,
            partition_leader_epoch: self.partition_leader_epoch,
            attributes: self.attributes,
            compression: self.codec.compression(),
            last_offset_delta: self.last_offset_delta,
            base_timestamp: self.base_timestamp.unwrap_or(NO_TIMESTAMP),
            max_timestamp: self.log_append_time.unwrap_or(self.max_timestamp),
            producer: self.producer,
            count: self.count,
        }))
    }
}

/// What is written of a record, apart from its headers.
struct RecordFields<'a> {
    length: i32,
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    header_count: i32,
}

impl RecordFields<'_> {
    #[inline]
    fn write<'h>(&self, writer: &mut SliceWriter<'_>, headers: impl Iterator<Item = HeaderView<'h>>) -> Option<()> {
        writer.varint(self.length)?;
        // No attribute of a record is defined.
        writer.byte(0)?;
        writer.varlong(self.timestamp_delta)?;
        writer.varint(self.offset_delta)?;
        put_nullable(writer, self.key)?;
        put_nullable(writer, self.value)?;
        writer.varint(self.header_count)?;
        for header in headers {
            put_nullable(writer, Some(header.key_bytes()))?;
            put_nullable(writer, header.value())?;
        }
        Some(())
    }
}

#[inline]
fn put_nullable(writer: &mut SliceWriter<'_>, bytes: Option<&[u8]>) -> Option<()> {
    match bytes {
        Some(bytes) => {
            writer.varint(bytes.len() as i32)?;
            writer.put(bytes)
        }
        None => writer.varint(-1),
    }
}

/// Size of a record's body, computed wide enough for any slices.
#[inline]
fn body_size(
    timestamp_delta: i64,
    offset_delta: i32,
    key_length: Option<usize>,
    value_length: Option<usize>,
    headers_size: u64,
) -> u64 {
    const ATTRIBUTES: u64 = 1;
    ATTRIBUTES
        + varlong_size(timestamp_delta) as u64
        + varint_size(offset_delta) as u64
        + nullable_size(key_length)
        + nullable_size(value_length)
        + headers_size
}

#[inline]
fn nullable_size(length: Option<usize>) -> u64 {
    match length {
        // What exceeds an i32 makes the record too large, whatever its length field's size.
        Some(length) => varint_size(length.min(i32::MAX as usize) as i32) as u64 + length as u64,
        None => 1,
    }
}

/// Number and size of headers; both are those of a record too large where they would overflow.
#[inline]
fn headers_size<'h>(headers: impl IntoIterator<Item = HeaderView<'h>>) -> (i32, u64) {
    let mut count = 0_i32;
    let mut size = 0;
    for header in headers {
        count = count.saturating_add(1);
        size += nullable_size(Some(header.key_bytes().len()));
        size += nullable_size(header.value().map(<[u8]>::len));
    }
    (count, size)
}
