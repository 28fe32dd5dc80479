use super::crc::crc32c;
use super::varint::{SliceReader, SliceWriter};
use super::{
    Attributes, BATCH_OVERHEAD, Compression, LOG_OVERHEAD, MAGIC_V2, NO_PARTITION_LEADER_EPOCH, NO_SEQUENCE,
    NO_TIMESTAMP, ProducerState, RecordError, TimestampType, increment_sequence,
};

/// Position of the first byte that the CRC covers, the attributes.
pub(crate) const CRC_COVERS_FROM: usize = 21;

/// The header of a record batch, parsed.
///
/// It is enough for a log's recovery: [`parse`](Self::parse) needs the first 61 bytes of a batch,
/// and [`size`](Self::size) says where the next batch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordBatchHeader {
    base_offset: i64,
    batch_length: i32,
    partition_leader_epoch: i32,
    crc: u32,
    attributes: Attributes,
    compression: Compression,
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    producer: ProducerState,
    count: i32,
}

impl RecordBatchHeader {
    /// Parses the header at the start of `bytes`; what follows it is not looked at.
    ///
    /// # Errors
    ///
    /// [`RecordError::Truncated`] with fewer than 61 bytes, [`RecordError::UnsupportedMagic`] for
    /// a message set of magic 0 or 1, [`RecordError::InvalidMagic`],
    /// [`RecordError::BatchTooSmall`] and [`RecordError::UnknownCompression`] for what no batch
    /// can be.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        check_magic(bytes)?;
        let mut reader = SliceReader::new(bytes);
        let header =
            Self::read(&mut reader).ok_or(RecordError::Truncated { needed: BATCH_OVERHEAD, available: bytes.len() })?;
        let size = i64::from(header.batch_length) + LOG_OVERHEAD as i64;
        if size < BATCH_OVERHEAD as i64 {
            return Err(RecordError::BatchTooSmall { size });
        }
        let compression = Compression::from_id(header.attributes.compression_id())?;
        Ok(Self { compression, ..header })
    }

    #[inline]
    fn read(reader: &mut SliceReader<'_>) -> Option<Self> {
        let base_offset = i64::from_be_bytes(reader.array()?);
        let batch_length = i32::from_be_bytes(reader.array()?);
        let partition_leader_epoch = i32::from_be_bytes(reader.array()?);
        let _magic = reader.byte()?;
        let crc = u32::from_be_bytes(reader.array()?);
        let attributes = Attributes::from_bits(i16::from_be_bytes(reader.array()?));
        let last_offset_delta = i32::from_be_bytes(reader.array()?);
        let base_timestamp = i64::from_be_bytes(reader.array()?);
        let max_timestamp = i64::from_be_bytes(reader.array()?);
        let producer = ProducerState {
            producer_id: i64::from_be_bytes(reader.array()?),
            producer_epoch: i16::from_be_bytes(reader.array()?),
            base_sequence: i32::from_be_bytes(reader.array()?),
            is_transactional: attributes.is_transactional(),
        };
        Some(Self {
            base_offset,
            batch_length,
            partition_leader_epoch,
            crc,
            attributes,
            compression: Compression::None,
            last_offset_delta,
            base_timestamp,
            max_timestamp,
            producer,
            count: i32::from_be_bytes(reader.array()?),
        })
    }

    /// The header of a batch whose records are all gone, which compaction keeps for its producer's
    /// state and its offsets. Its CRC is set; its 61 bytes are the whole batch.
    pub fn empty(base_offset: i64, last_offset_delta: i32, attributes: Attributes) -> Self {
        let mut header = Self {
            base_offset,
            batch_length: (BATCH_OVERHEAD - LOG_OVERHEAD) as i32,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            crc: 0,
            attributes: attributes.with_compression(Compression::None),
            compression: Compression::None,
            last_offset_delta,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            producer: ProducerState { is_transactional: attributes.is_transactional(), ..ProducerState::NONE },
            count: 0,
        };
        header.update_crc(&[]);
        header
    }

    /// Size of the batch that starts with these bytes, header included, if its length field and
    /// magic are there; `None` with fewer than 17 bytes.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    pub fn peek_size(bytes: &[u8]) -> Result<Option<usize>, RecordError> {
        let mut reader = SliceReader::new(bytes);
        let (Some(_), Some(length), Some(_), Some(_)) =
            (reader.take(LOG_OVERHEAD - 4), reader.array().map(i32::from_be_bytes), reader.take(4), reader.byte())
        else {
            return Ok(None);
        };
        check_magic(bytes)?;
        let size = i64::from(length) + LOG_OVERHEAD as i64;
        match usize::try_from(size) {
            Ok(size) if size >= BATCH_OVERHEAD => Ok(Some(size)),
            _ => Err(RecordError::BatchTooSmall { size }),
        }
    }

    /// The header's bytes, as they stand in front of the records.
    pub fn to_bytes(&self) -> [u8; BATCH_OVERHEAD] {
        let mut bytes = [0; BATCH_OVERHEAD];
        let written = self.write(&mut SliceWriter::new(&mut bytes));
        debug_assert!(written.is_some(), "a header has 61 bytes");
        bytes
    }

    fn write(&self, writer: &mut SliceWriter<'_>) -> Option<()> {
        writer.put(&self.base_offset.to_be_bytes())?;
        writer.put(&self.batch_length.to_be_bytes())?;
        writer.put(&self.partition_leader_epoch.to_be_bytes())?;
        writer.put(&MAGIC_V2.to_be_bytes())?;
        writer.put(&self.crc.to_be_bytes())?;
        writer.put(&self.attributes.bits().to_be_bytes())?;
        writer.put(&self.last_offset_delta.to_be_bytes())?;
        writer.put(&self.base_timestamp.to_be_bytes())?;
        writer.put(&self.max_timestamp.to_be_bytes())?;
        writer.put(&self.producer.producer_id.to_be_bytes())?;
        writer.put(&self.producer.producer_epoch.to_be_bytes())?;
        writer.put(&self.producer.base_sequence.to_be_bytes())?;
        writer.put(&self.count.to_be_bytes())
    }

    /// Offset of the first record (that there was: compaction may have removed it).
    pub fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// Offset of the last record (that there was).
    pub fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(i64::from(self.last_offset_delta))
    }

    /// Offset after the last record.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().wrapping_add(1)
    }

    /// Last offset minus base offset, as written; negative in a broken batch.
    pub fn last_offset_delta(&self) -> i32 {
        self.last_offset_delta
    }

    /// Size of the batch in bytes, header included: at least 61.
    pub fn size(&self) -> usize {
        // Checked when it was parsed, so it is positive.
        usize::try_from(self.batch_length).unwrap_or_default() + LOG_OVERHEAD
    }

    /// Size of the records behind the header, as they are stored.
    pub fn records_size(&self) -> usize {
        self.size() - BATCH_OVERHEAD
    }

    /// Epoch of the leader that appended the batch, -1 before.
    pub fn partition_leader_epoch(&self) -> i32 {
        self.partition_leader_epoch
    }

    /// The stored CRC-32C.
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// The attribute bits.
    pub fn attributes(&self) -> Attributes {
        self.attributes
    }

    /// The codec of the records.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Whose clock the timestamps are from.
    pub fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }

    /// Whether the batch is part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    /// Whether the records are Kafka's own, for no consumer's application to see.
    pub fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    /// Timestamp that the records' are relative to.
    pub fn base_timestamp(&self) -> i64 {
        self.base_timestamp
    }

    /// The time from which compaction may drop the batch's tombstones and markers, once set.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }

    /// The largest timestamp of the records, -1 if none has one; with
    /// [`TimestampType::LogAppendTime`] the timestamp of them all.
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// The timestamp that all records have, with [`TimestampType::LogAppendTime`].
    pub fn log_append_time(&self) -> Option<i64> {
        match self.timestamp_type() {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(self.max_timestamp),
        }
    }

    /// Producer id, epoch, sequence and whether it is in a transaction.
    pub fn producer_state(&self) -> ProducerState {
        self.producer
    }

    /// Id of the producer, -1 without one.
    pub fn producer_id(&self) -> i64 {
        self.producer.producer_id
    }

    /// Whether there is a producer id.
    pub fn has_producer_id(&self) -> bool {
        self.producer.producer_id > super::NO_PRODUCER_ID
    }

    /// Epoch of the producer, -1 without one.
    pub fn producer_epoch(&self) -> i16 {
        self.producer.producer_epoch
    }

    /// Sequence number of the first record, -1 without one.
    pub fn base_sequence(&self) -> i32 {
        self.producer.base_sequence
    }

    /// Sequence number of the last record, -1 without one.
    pub fn last_sequence(&self) -> i32 {
        match self.producer.base_sequence {
            NO_SEQUENCE => NO_SEQUENCE,
            base => increment_sequence(base, self.last_offset_delta),
        }
    }

    /// Number of records, as written: to be trusted for nothing but a comparison.
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Moves the batch to a base offset. The CRC does not cover it.
    pub fn set_base_offset(&mut self, base_offset: i64) {
        self.base_offset = base_offset;
    }

    /// Moves the batch so that it ends with this offset. The CRC does not cover it.
    pub fn set_last_offset(&mut self, last_offset: i64) {
        self.base_offset = last_offset.wrapping_sub(i64::from(self.last_offset_delta));
    }

    /// Sets the epoch of the leader that appends the batch. The CRC does not cover it.
    pub fn set_partition_leader_epoch(&mut self, epoch: i32) {
        self.partition_leader_epoch = epoch;
    }

    /// Sets the timestamp type and the largest timestamp; says whether that changed something, in
    /// which case the CRC is to be [updated](Self::update_crc).
    #[must_use = "the CRC covers the timestamps"]
    pub fn set_max_timestamp(&mut self, timestamp_type: TimestampType, timestamp: i64) -> bool {
        if self.timestamp_type() == timestamp_type && self.max_timestamp == timestamp {
            return false;
        }
        self.attributes = self.attributes.with_timestamp_type(timestamp_type);
        self.max_timestamp = timestamp;
        true
    }

    /// Sets the producer's part of the header. The CRC is to be [updated](Self::update_crc) then.
    ///
    /// # Errors
    ///
    /// [`RecordError::InvalidProducerState`] if its parts do not go together.
    pub fn set_producer_state(&mut self, state: ProducerState) -> Result<(), RecordError> {
        state.check(self.is_control())?;
        self.producer = state;
        self.attributes = self.attributes.with_transactional(state.is_transactional);
        Ok(())
    }

    /// CRC-32C of this header and the stored records behind it.
    pub fn compute_crc(&self, records: &[u8]) -> u32 {
        let bytes = self.to_bytes();
        let covered = bytes.get(CRC_COVERS_FROM..).unwrap_or_default();
        crc32c(covered, records)
    }

    /// Stores the CRC-32C of this header and the stored records behind it.
    pub fn update_crc(&mut self, records: &[u8]) {
        self.crc = self.compute_crc(records);
    }

    /// For the builder, which knows all the parts.
    pub(crate) fn from_parts(parts: HeaderParts) -> Self {
        let HeaderParts {
            base_offset,
            batch_length,
            partition_leader_epoch,
            attributes,
            compression,
            last_offset_delta,
            base_timestamp,
            max_timestamp,
            producer,
            count,
        } = parts;
        Self {
            base_offset,
            batch_length,
            partition_leader_epoch,
            crc: 0,
            attributes: attributes.with_compression(compression).with_transactional(producer.is_transactional),
            compression,
            last_offset_delta,
            base_timestamp,
            max_timestamp,
            producer,
            count,
        }
    }
}

/// Everything in a header but the CRC.
#[derive(Debug)]
pub(crate) struct HeaderParts {
    pub(crate) base_offset: i64,
    pub(crate) batch_length: i32,
    pub(crate) partition_leader_epoch: i32,
    pub(crate) attributes: Attributes,
    pub(crate) compression: Compression,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer: ProducerState,
    pub(crate) count: i32,
}

/// The magic is at the same place in every version; without it nothing is said.
fn check_magic(bytes: &[u8]) -> Result<(), RecordError> {
    const MAGIC_OFFSET: usize = 16;
    match bytes.get(MAGIC_OFFSET).map(|&byte| byte as i8) {
        None | Some(MAGIC_V2) => Ok(()),
        Some(magic @ 0..=1) => Err(RecordError::UnsupportedMagic { magic }),
        Some(magic) => Err(RecordError::InvalidMagic { magic }),
    }
}
