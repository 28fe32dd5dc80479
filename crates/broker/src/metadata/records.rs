//! Metadata records as batches of the metadata log.

use bytes::Bytes;
use vltava_protocol::record::{Compression, Decompressor, RecordBatch, RecordBatchBuilder, RecordError};
use vltava_protocol::records::metadata::MetadataRecord;
use vltava_protocol::wire::{DecodeError, EncodeError, Reader, Writer};

/// Why records cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordsError {
    #[error("{0}")]
    Encode(#[from] EncodeError),
    #[error("{0}")]
    Decode(#[from] DecodeError),
    #[error("{0}")]
    Batch(#[from] RecordError),
    #[error("a record has no value")]
    NoValue,
}

/// The version in which a record is written, as `metadata.version` 30 asks for.
fn version(record: &MetadataRecord) -> i16 {
    match record {
        MetadataRecord::RegisterBroker(_) => 3,
        MetadataRecord::BrokerRegistrationChange(_) | MetadataRecord::Partition(_) => 2,
        MetadataRecord::PartitionChange(_) => 2,
        _ => 0,
    }
}

/// One batch of the records, which are applied together or not at all.
pub(crate) fn write_batch(records: &[MetadataRecord], epoch: i32, now_ms: i64) -> Result<Bytes, RecordsError> {
    let mut builder = RecordBatchBuilder::new(Compression::None).partition_leader_epoch(epoch);
    for record in records {
        let mut writer = Writer::new();
        record.encode(&mut writer, version(record))?;
        let value = writer.into_bytes();
        builder.append(now_ms, None, Some(&value), [])?;
    }
    Ok(builder.build()?)
}

/// The records of a batch with their offsets.
pub(crate) fn read_batch(
    batch: &RecordBatch,
    decompressor: &mut Decompressor,
) -> Result<Vec<(i64, MetadataRecord)>, RecordsError> {
    let mut records = Vec::new();
    for record in batch.records(decompressor)? {
        let record = record?;
        let value = record.value().ok_or(RecordsError::NoValue)?;
        let mut reader = Reader::new(Bytes::copy_from_slice(value));
        records.push((record.offset(), MetadataRecord::decode(&mut reader)?.0));
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use vltava_protocol::records::metadata::{FeatureLevelRecord, TopicRecord};

    use super::*;

    #[test]
    fn records_come_back_from_their_batch() {
        let records = vec![
            MetadataRecord::FeatureLevel(FeatureLevelRecord {
                name: "metadata.version".to_owned(),
                feature_level: 30,
                ..FeatureLevelRecord::default()
            }),
            MetadataRecord::Topic(TopicRecord { name: "t".to_owned(), ..TopicRecord::default() }),
        ];
        let bytes = write_batch(&records, 1, 1000).unwrap();
        let batch = RecordBatch::parse(bytes).unwrap();
        let read = read_batch(&batch, &mut Decompressor::default()).unwrap();
        assert_eq!(read, [(0, records[0].clone()), (1, records[1].clone())]);
    }
}
