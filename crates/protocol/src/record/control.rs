//! Control records: what Kafka itself writes between the records of applications.
//!
//! The key of a control record names its type, its value is a message of that type. Transaction
//! markers are read and written here; the values of the others are messages of the Raft quorum
//! (`LeaderChangeMessage`, `SnapshotHeaderRecord`, …), to be decoded with the generated types.

use bytes::Bytes;

use super::varint::SliceReader;
use super::{Compression, ProducerState, RecordBatchBuilder, RecordError, RecordView};
use crate::TimestampMs;

/// The types of control records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ControlRecordType {
    /// Marks the end of an aborted transaction.
    Abort,
    /// Marks the end of a committed transaction.
    Commit,
    /// The leader of a Raft quorum has changed.
    LeaderChange,
    /// Starts a snapshot of the metadata log.
    SnapshotHeader,
    /// Ends a snapshot of the metadata log.
    SnapshotFooter,
    /// The version of the Raft protocol in use (KIP-853).
    KRaftVersion,
    /// The voters of the Raft quorum (KIP-853).
    KRaftVoters,
    /// A type that is not known here; readers pass over it.
    Unknown(i16),
}

impl ControlRecordType {
    /// The type with this id.
    pub fn from_id(id: i16) -> Self {
        match id {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KRaftVersion,
            6 => Self::KRaftVoters,
            id => Self::Unknown(id),
        }
    }

    /// The id in the key.
    pub fn id(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::LeaderChange => 2,
            Self::SnapshotHeader => 3,
            Self::SnapshotFooter => 4,
            Self::KRaftVersion => 5,
            Self::KRaftVoters => 6,
            Self::Unknown(id) => id,
        }
    }

    /// Reads the type from a control record's key. Keys of later versions are read as version 0,
    /// of which they are an extension.
    ///
    /// # Errors
    ///
    /// [`RecordError::InvalidControlRecord`] for a null or short key and for a negative version.
    pub fn parse(key: Option<&[u8]>) -> Result<Self, RecordError> {
        let mut reader = SliceReader::new(key.unwrap_or_default());
        match (reader.array(), reader.array()) {
            (Some(version), _) if i16::from_be_bytes(version) < 0 => Err(invalid("the version of its key is negative")),
            (Some(_), Some(id)) => Ok(Self::from_id(i16::from_be_bytes(id))),
            _ => Err(invalid("its key is shorter than 4 bytes")),
        }
    }

    /// The key of a control record of this type.
    pub fn to_key(self) -> [u8; 4] {
        let [high, low] = self.id().to_be_bytes();
        // Version 0.
        [0, 0, high, low]
    }
}

/// The end of a transaction in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EndTransactionMarker {
    /// Whether it was committed; aborted otherwise.
    pub committed: bool,
    /// Epoch of the transaction coordinator that wrote the marker.
    pub coordinator_epoch: i32,
}

impl EndTransactionMarker {
    /// Reads a marker; `None` if the control record is of another type.
    ///
    /// # Errors
    ///
    /// [`RecordError::InvalidControlRecord`] for a key or value that does not parse.
    pub fn parse(record: &RecordView<'_>) -> Result<Option<Self>, RecordError> {
        let committed = match ControlRecordType::parse(record.key())? {
            ControlRecordType::Commit => true,
            ControlRecordType::Abort => false,
            _ => return Ok(None),
        };
        let mut reader = SliceReader::new(record.value().unwrap_or_default());
        match (reader.array(), reader.array()) {
            (Some(version), _) if i16::from_be_bytes(version) < 0 => {
                Err(invalid("the version of its value is negative"))
            }
            (Some(_), Some(epoch)) => Ok(Some(Self { committed, coordinator_epoch: i32::from_be_bytes(epoch) })),
            _ => Err(invalid("the value of a marker is shorter than 6 bytes")),
        }
    }

    /// The type of the control record.
    pub fn control_type(&self) -> ControlRecordType {
        if self.committed { ControlRecordType::Commit } else { ControlRecordType::Abort }
    }

    /// The batch of one marker that ends the transaction of this producer, with base offset 0.
    ///
    /// # Errors
    ///
    /// [`RecordError::InvalidProducerState`] without a producer id or with a negative epoch,
    /// [`RecordError::InvalidTimestamp`].
    pub fn to_batch(
        &self,
        timestamp: TimestampMs,
        producer_id: i64,
        producer_epoch: i16,
    ) -> Result<Bytes, RecordError> {
        let mut builder = RecordBatchBuilder::with_capacity(Compression::None, 80).control();
        builder.set_producer_state(ProducerState::transactional(producer_id, producer_epoch, super::NO_SEQUENCE));
        let [a, b, c, d] = self.coordinator_epoch.to_be_bytes();
        // Version 0.
        let value = [0, 0, a, b, c, d];
        append(&mut builder, timestamp.0, self.control_type(), &value)?;
        builder.build()
    }
}

/// Appends a control record with a value that is encoded already, to a builder made with
/// [`RecordBatchBuilder::control`].
///
/// # Errors
///
/// As [`RecordBatchBuilder::append`].
pub fn append(
    builder: &mut RecordBatchBuilder,
    timestamp: i64,
    control_type: ControlRecordType,
    value: &[u8],
) -> Result<i32, RecordError> {
    let key = control_type.to_key();
    builder.append(timestamp, Some(&key), Some(value), [])
}

fn invalid(reason: &'static str) -> RecordError {
    RecordError::InvalidControlRecord { reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Decompressor, RecordBatch};

    #[test]
    fn markers_round_trip() {
        for committed in [true, false] {
            let marker = EndTransactionMarker { committed, coordinator_epoch: 7 };
            let batch = RecordBatch::parse(marker.to_batch(TimestampMs(5), 4711, 3).unwrap()).unwrap();
            batch.verify_crc().unwrap();
            assert!(batch.is_control() && batch.is_transactional());
            assert_eq!(batch.producer_id(), 4711);
            assert_eq!(batch.producer_epoch(), 3);
            assert_eq!(batch.base_sequence(), -1);
            assert_eq!(batch.size(), 78);
            let mut decompressor = Decompressor::new();
            let record = batch.records(&mut decompressor).unwrap().next();
            let record = record.unwrap().unwrap();
            assert_eq!(EndTransactionMarker::parse(&record), Ok(Some(marker)));
        }
    }

    #[test]
    fn types_round_trip_and_later_ones_are_kept() {
        for id in [-1, 0, 1, 2, 3, 4, 5, 6, 7] {
            let control_type = ControlRecordType::from_id(id);
            assert_eq!(control_type.id(), id);
            assert_eq!(ControlRecordType::parse(Some(&control_type.to_key())), Ok(control_type));
        }
        // A key of a later version, with a field more.
        assert_eq!(ControlRecordType::parse(Some(&[0, 1, 0, 2, 9])), Ok(ControlRecordType::LeaderChange));
    }

    #[test]
    fn keys_that_do_not_parse_are_refused() {
        for key in [None, Some(&[][..]), Some(&[0, 0, 0]), Some(&[0xff, 0xff, 0, 1])] {
            assert!(ControlRecordType::parse(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn a_marker_needs_a_producer() {
        let marker = EndTransactionMarker { committed: true, coordinator_epoch: 0 };
        assert!(marker.to_batch(TimestampMs(0), -1, 0).is_err());
        assert!(marker.to_batch(TimestampMs(0), 1, -1).is_err());
    }
}
