//! The indexes of a segment, held against its batches.

use std::fs;
use std::io::Write;
use std::path::Path;

use vltava_protocol::record::{Decompressor, NO_TIMESTAMP, RecordBatch};

use super::Settings;
use super::file_name::{base_offset, beside};
use super::findings::Findings;
use super::segment::Batches;
use crate::failure::Failure;

/// The size of an entry of an offset index: relative offset and position.
const OFFSET_ENTRY: usize = 8;
/// That of a time index: timestamp and relative offset.
const TIME_ENTRY: usize = 12;

/// Offset and position.
type OffsetEntry = (i64, u64);
/// Timestamp and offset.
type TimeEntry = (i64, i64);

pub(super) fn dump_offset_index(
    file: &Path,
    settings: &Settings,
    findings: &mut Findings,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let base = base_offset(file)?;
    let segment = beside(file, "log");
    let bytes = fs::read(file)?;
    let entries = offset_entries(&bytes, base);
    let Some(last) = entries.last() else {
        return Ok(writeln!(out, "{} is empty.", file.display())?);
    };
    if settings.sanity_only {
        if last.0 < base {
            return Err(Failure::Message(format!(
                "Corrupt index found, index file {} has non-zero size but the last offset is {} which is less than the base \
                 offset {base}",
                file.display(),
                last.0
            )));
        }
        whole(file, &bytes, OFFSET_ENTRY, "Index file")?;
        return Ok(writeln!(out, "{} passed sanity check.", file.display())?);
    }
    for (index, (offset, position)) in entries.iter().enumerate() {
        if is_end(index, *offset, base) {
            break;
        }
        let batch = Batches::open(&segment, *position, settings.max_message_size)?.next()?;
        let batch = batch.ok_or_else(|| Failure::Message(format!("no batch at position {position} of the log")))?;
        let last_offset = batch.header().last_offset();
        if last_offset != *offset {
            findings.mismatch(file, *offset, last_offset);
        }
        if !settings.verify_only {
            writeln!(out, "offset: {offset} position: {position}")?;
        }
    }
    Ok(())
}

pub(super) fn dump_time_index(
    file: &Path,
    settings: &Settings,
    findings: &mut Findings,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let base = base_offset(file)?;
    let bytes = fs::read(file)?;
    let entries = time_entries(&bytes, base);
    if settings.sanity_only {
        time_sanity(file, &bytes, &entries, base)?;
        return Ok(writeln!(out, "{} passed sanity check.", file.display())?);
    }
    let offsets_file = beside(file, "index");
    let offsets = if offsets_file.exists() { offset_entries(&fs::read(offsets_file)?, base) } else { Vec::new() };
    let offsets: Vec<OffsetEntry> = offsets
        .into_iter()
        .enumerate()
        .take_while(|(index, (offset, _))| !is_end(*index, *offset, base))
        .map(|(_, entry)| entry)
        .collect();
    let mut previous = NO_TIMESTAMP;
    for (index, (timestamp, offset)) in entries.iter().copied().enumerate() {
        if is_end(index, offset, base) {
            break;
        }
        match batch_at(&beside(file, "log"), &offsets, offset)? {
            Some(batch) if batch.header().last_offset() == offset => {
                let latest = latest_timestamp(&batch)?;
                if latest != timestamp {
                    findings.timestamp(file, timestamp, latest);
                }
                if previous >= timestamp {
                    findings.out_of_order(file, timestamp, previous);
                }
            }
            Some(batch) => findings.not_found(file, offset, batch.header().last_offset()),
            None => findings.not_found(file, offset, -1),
        }
        if !settings.verify_only {
            writeln!(out, "timestamp: {timestamp} offset: {offset}")?;
        }
        previous = timestamp;
    }
    Ok(())
}

/// What a broker checks when it opens a time index.
fn time_sanity(file: &Path, bytes: &[u8], entries: &[TimeEntry], base: i64) -> Result<(), Failure> {
    let corrupt = |what: &str, last: i64, first: i64| {
        Err(Failure::Message(format!(
            "Corrupt time index found, time index file ({}) has non-zero size but the last {what} is {last} which is less than \
             the first {what} {first}",
            file.display()
        )))
    };
    if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
        if last.0 < first.0 {
            return corrupt("timestamp", last.0, first.0);
        }
        if last.1 < base {
            return corrupt("offset", last.1, base);
        }
    }
    whole(file, bytes, TIME_ENTRY, "Time index file")
}

fn whole(file: &Path, bytes: &[u8], entry: usize, what: &str) -> Result<(), Failure> {
    if bytes.len().is_multiple_of(entry) {
        return Ok(());
    }
    Err(Failure::Message(format!(
        "{what} {} is corrupt, found {} bytes which is neither positive nor a multiple of {entry}",
        file.display(),
        bytes.len()
    )))
}

/// An index that is written to has zeros behind its last entry; the first entry may be one of its own.
fn is_end(index: usize, offset: i64, base: i64) -> bool {
    index > 0 && offset == base
}

fn offset_entries(bytes: &[u8], base: i64) -> Vec<OffsetEntry> {
    let entries = bytes.as_chunks::<OFFSET_ENTRY>().0.iter();
    entries
        .map(|[a, b, c, d, e, f, g, h]| {
            let relative = i32::from_be_bytes([*a, *b, *c, *d]);
            (base + i64::from(relative), u64::from(u32::from_be_bytes([*e, *f, *g, *h])))
        })
        .collect()
}

fn time_entries(bytes: &[u8], base: i64) -> Vec<TimeEntry> {
    let entries = bytes.as_chunks::<TIME_ENTRY>().0.iter();
    entries
        .filter_map(|entry| {
            let (timestamp, relative) = entry.split_first_chunk()?;
            let relative = i32::from_be_bytes(*relative.first_chunk()?);
            Some((i64::from_be_bytes(*timestamp), base + i64::from(relative)))
        })
        .collect()
}

/// The first batch that ends at an offset or behind it.
fn batch_at(segment: &Path, offsets: &[OffsetEntry], offset: i64) -> Result<Option<RecordBatch>, Failure> {
    let before = offsets.partition_point(|(entry, _)| *entry <= offset);
    let position = before.checked_sub(1).and_then(|index| offsets.get(index)).map_or(0, |(_, position)| *position);
    let mut batches = Batches::open(segment, position, u64::MAX)?;
    while let Some(batch) = batches.next()? {
        if batch.header().last_offset() >= offset {
            return Ok(Some(batch));
        }
    }
    Ok(None)
}

fn latest_timestamp(batch: &RecordBatch) -> Result<i64, Failure> {
    let mut decompressor = Decompressor::new();
    let failed =
        |error| Failure::Message(format!("records of the batch at offset {}: {error}", batch.header().base_offset()));
    let mut latest = NO_TIMESTAMP;
    for record in batch.records(&mut decompressor).map_err(failed)? {
        latest = latest.max(record.map_err(failed)?.timestamp());
    }
    Ok(latest)
}
