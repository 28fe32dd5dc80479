//! From the consumer's records to those that tasks take.

use bytes::Bytes;
use vltava_client::consumer::PartitionRecords;
use vltava_protocol::record::RecordView;

use crate::{
    record::{Header, Headers},
    task::{InputBatch, InputRecord},
};

/// The records of a partition, batch by batch, over the buffers in which they came.
pub(super) fn input_batches(records: &PartitionRecords) -> impl Iterator<Item = InputBatch> {
    records.batches().map(|batch| {
        let buffer = batch.buffer();
        let mut input = InputBatch::new(buffer.clone(), batch.leader_epoch());
        for record in batch.iter() {
            input.push(InputRecord {
                offset: record.offset(),
                timestamp: record.timestamp(),
                key: record.key().and_then(|key| position(buffer, key)),
                value: record.value().and_then(|value| position(buffer, value)),
                headers: headers(&record),
            });
        }
        input
    })
}

/// Where a slice of a buffer lies in it.
fn position(buffer: &[u8], slice: &[u8]) -> Option<std::ops::Range<u32>> {
    let start = (slice.as_ptr() as usize).checked_sub(buffer.as_ptr() as usize)?;
    let end = start.checked_add(slice.len()).filter(|end| *end <= buffer.len())?;
    Some(u32::try_from(start).ok()?..u32::try_from(end).ok()?)
}

pub(super) fn headers(record: &RecordView<'_>) -> Headers {
    record
        .headers()
        .map(|header| Header { key: header.key().into_owned(), value: header.value().map(Bytes::copy_from_slice) })
        .collect()
}
