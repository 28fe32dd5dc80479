use super::{BATCH_OVERHEAD, ProducerState, RecordBatchHeader, RecordError, TimestampType};

/// Changes the header of a batch in place.
///
/// Offset and leader epoch lie outside the CRC and cost the write of the header. Timestamps and
/// producer state lie inside: for them the CRC is computed anew, so the slice has to hold the
/// whole batch.
///
/// A batch whose bytes are shared need not be copied to be changed: change its
/// [`RecordBatchHeader`] and write [`RecordBatchHeader::to_bytes`] in front of the shared records.
#[derive(Debug)]
pub struct BatchPatch<'a> {
    bytes: &'a mut [u8],
    header: RecordBatchHeader,
}

impl<'a> BatchPatch<'a> {
    /// Takes the batch at the start of `bytes`; what follows it is left alone.
    ///
    /// # Errors
    ///
    /// As [`RecordBatchHeader::parse`], and [`RecordError::Truncated`] if the slice ends before
    /// the batch.
    pub fn new(bytes: &'a mut [u8]) -> Result<Self, RecordError> {
        let header = RecordBatchHeader::parse(bytes)?;
        let available = bytes.len();
        let bytes =
            bytes.get_mut(..header.size()).ok_or(RecordError::Truncated { needed: header.size(), available })?;
        Ok(Self { bytes, header })
    }

    /// The header as it is now.
    pub fn header(&self) -> &RecordBatchHeader {
        &self.header
    }

    /// Moves the batch to a base offset.
    pub fn set_base_offset(&mut self, base_offset: i64) {
        self.header.set_base_offset(base_offset);
        self.store();
    }

    /// Moves the batch so that it ends with this offset.
    pub fn set_last_offset(&mut self, last_offset: i64) {
        self.header.set_last_offset(last_offset);
        self.store();
    }

    /// Sets the epoch of the leader that appends the batch.
    pub fn set_partition_leader_epoch(&mut self, epoch: i32) {
        self.header.set_partition_leader_epoch(epoch);
        self.store();
    }

    /// Sets the timestamp type and the largest timestamp, and the CRC if that changed something.
    /// With [`TimestampType::LogAppendTime`] it is the timestamp of every record.
    pub fn set_max_timestamp(&mut self, timestamp_type: TimestampType, timestamp: i64) {
        if self.header.set_max_timestamp(timestamp_type, timestamp) {
            self.store_with_crc();
        }
    }

    /// Sets the producer's part of the header and the CRC, as after an epoch bump.
    ///
    /// # Errors
    ///
    /// [`RecordError::InvalidProducerState`] if its parts do not go together; nothing is changed
    /// then.
    pub fn set_producer_state(&mut self, state: ProducerState) -> Result<(), RecordError> {
        self.header.set_producer_state(state)?;
        self.store_with_crc();
        Ok(())
    }

    fn store_with_crc(&mut self) {
        let records = self.bytes.get(BATCH_OVERHEAD..).unwrap_or_default();
        self.header.update_crc(records);
        self.store();
    }

    fn store(&mut self) {
        if let Some(stored) = self.bytes.first_chunk_mut::<BATCH_OVERHEAD>() {
            *stored = self.header.to_bytes();
        }
    }
}
