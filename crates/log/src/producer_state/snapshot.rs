//! The `.snapshot` file of producer state: Kafka's `ProducerSnapshot` schema, version 1.

use std::fs::File;
use std::path::Path;

use super::entry::{BatchMetadata, ProducerStateEntry};
use crate::error::{LogError, Result};
use crate::file;

const VERSION: i16 = 1;
/// Version and checksum.
const CRC_COVERED_FROM: usize = 6;
const HEADER: usize = 10;
const ENTRY: usize = 46;

/// Writes a snapshot, without waiting for the disk.
pub(super) fn write<'a>(path: &Path, entries: impl ExactSizeIterator<Item = &'a ProducerStateEntry>) -> Result<()> {
    let mut bytes = Vec::with_capacity(HEADER + entries.len() * ENTRY);
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend((entries.len() as u32).to_be_bytes());
    for entry in entries {
        bytes.extend(entry.producer_id.to_be_bytes());
        bytes.extend(entry.producer_epoch.to_be_bytes());
        bytes.extend(entry.last_sequence().to_be_bytes());
        bytes.extend(entry.last_data_offset().to_be_bytes());
        bytes.extend(entry.last_offset_delta().to_be_bytes());
        bytes.extend(entry.last_timestamp.to_be_bytes());
        bytes.extend(entry.coordinator_epoch.to_be_bytes());
        bytes.extend(entry.current_txn_first_offset.unwrap_or(-1).to_be_bytes());
    }
    let crc = crc_fast::crc32_iscsi(bytes.get(CRC_COVERED_FROM..).unwrap_or_default());
    if let Some(place) = bytes.get_mut(2..CRC_COVERED_FROM) {
        place.copy_from_slice(&crc.to_be_bytes());
    }
    let file = File::create(path)?;
    Ok(file::write_all_at(&file, &bytes, 0)?)
}

/// Reads a snapshot of a log's producers, the file `OFFSET.snapshot`.
///
/// # Errors
/// [`LogError::Malformed`] where it is damaged, and those of the operating system.
pub fn read(path: &Path) -> Result<Vec<ProducerStateEntry>> {
    let bytes = std::fs::read(path)?;
    let damaged = |reason: String| LogError::malformed(path, reason);
    let parts = bytes.split_first_chunk().and_then(|(version, rest)| {
        let (crc, covered) = rest.split_first_chunk()?;
        let (count, entries) = covered.split_first_chunk()?;
        Some((i16::from_be_bytes(*version), u32::from_be_bytes(*crc), covered, i32::from_be_bytes(*count), entries))
    });
    let Some((version, crc, covered, count, entries)) = parts else {
        return Err(damaged("the snapshot is too short".to_owned()));
    };
    if version != VERSION {
        return Err(damaged(format!("the snapshot has the unknown version {version}")));
    }
    let computed = crc_fast::crc32_iscsi(covered);
    if crc != computed {
        return Err(damaged(format!("the snapshot's checksum is {computed}, stored is {crc}")));
    }
    let (entries, rest) = entries.as_chunks::<ENTRY>();
    if !rest.is_empty() || usize::try_from(count) != Ok(entries.len()) {
        return Err(damaged(format!("the snapshot does not hold its {count} entries")));
    }
    entries.iter().map(|entry| parse(entry).ok_or_else(|| damaged("an entry is damaged".to_owned()))).collect()
}

fn parse(bytes: &[u8; ENTRY]) -> Option<ProducerStateEntry> {
    let (producer_id, rest) = bytes.split_first_chunk()?;
    let (epoch, rest) = rest.split_first_chunk()?;
    let (last_sequence, rest) = rest.split_first_chunk()?;
    let (last_offset, rest) = rest.split_first_chunk()?;
    let (offset_delta, rest) = rest.split_first_chunk()?;
    let (timestamp, rest) = rest.split_first_chunk()?;
    let (coordinator_epoch, rest) = rest.split_first_chunk()?;
    let (txn_first_offset, _) = rest.split_first_chunk()?;
    let batch = BatchMetadata {
        last_sequence: i32::from_be_bytes(*last_sequence),
        last_offset: i64::from_be_bytes(*last_offset),
        offset_delta: i32::from_be_bytes(*offset_delta),
        timestamp: i64::from_be_bytes(*timestamp),
    };
    let mut entry = ProducerStateEntry::empty(i64::from_be_bytes(*producer_id));
    entry.producer_epoch = i16::from_be_bytes(*epoch);
    if batch.last_offset >= 0 {
        entry.add_batch(entry.producer_epoch, batch);
    }
    entry.last_timestamp = batch.timestamp;
    entry.coordinator_epoch = i32::from_be_bytes(*coordinator_epoch);
    let txn_first_offset = i64::from_be_bytes(*txn_first_offset);
    entry.current_txn_first_offset = (txn_first_offset >= 0).then_some(txn_first_offset);
    Some(entry)
}
