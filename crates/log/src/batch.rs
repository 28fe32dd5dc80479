//! The header of a record batch as it lies in a segment file, and iteration over the batches of a file.

use std::fs::File;
use std::ops::Range;

use bytes::Bytes;
use vltava_protocol::record::control::EndTransactionMarker;
use vltava_protocol::record::{BATCH_OVERHEAD, Decompressor, RecordBatch, RecordError};

use crate::error::Result;
use crate::file;
use crate::producer_state::EndTxnMarker;

/// The header of a batch and what the records in it are for.
pub(crate) use vltava_protocol::record::RecordBatchHeader as BatchHeader;

/// The marker in a batch, given whole; `None` where it is no control batch or one of another kind.
pub(crate) fn end_txn_marker(header: &BatchHeader, batch: &[u8]) -> Option<EndTxnMarker> {
    if !header.is_control() {
        return None;
    }
    let batch = RecordBatch::parse(Bytes::copy_from_slice(batch)).ok()?;
    end_txn_marker_of(&batch)
}

/// The marker in a batch; `None` where it is no control batch or one of another kind.
pub(crate) fn end_txn_marker_of(batch: &RecordBatch) -> Option<EndTxnMarker> {
    if !batch.is_control() {
        return None;
    }
    let mut decompressor = Decompressor::default();
    let record = batch.records(&mut decompressor).ok()?.next()?.ok()?;
    let marker = EndTransactionMarker::parse(&record).ok()??;
    Some(EndTxnMarker {
        is_abort: !marker.committed,
        coordinator_epoch: marker.coordinator_epoch,
        timestamp: record.timestamp(),
    })
}

/// Whether the checksum of a batch, given whole, is the one in its header.
pub(crate) fn crc_matches(header: &BatchHeader, batch: &[u8]) -> bool {
    batch.get(BATCH_OVERHEAD..).is_some_and(|records| header.compute_crc(records) == header.crc())
}

/// What a scan over a file meets next.
#[derive(Debug)]
pub(crate) enum Scanned {
    /// A batch at this position. It ends within the range that is scanned; nothing else is known to be true of it.
    Batch { position: u64, size: usize, header: BatchHeader },
    /// No batch can be here, although there is room for one.
    Damaged { position: u64, reason: &'static str },
    /// The range is used up; `position` is where the last whole batch ends.
    End { position: u64 },
}

/// Walks over the batches in a range of a file through a buffer.
pub(crate) struct Scanner<'a> {
    file: &'a File,
    position: u64,
    end: u64,
    chunk: usize,
    buffer: Vec<u8>,
    buffer_start: u64,
}

impl<'a> Scanner<'a> {
    /// Scans `range`, reading at least `chunk` bytes at a time: little where only a few headers are wanted, much
    /// where everything will be read.
    pub(crate) fn new(file: &'a File, range: Range<u64>, chunk: usize) -> Self {
        Self { file, position: range.start, end: range.end, chunk, buffer: Vec::new(), buffer_start: range.start }
    }

    /// The next batch's header. Reads nothing of the batch beyond it, unless it is in the buffer already.
    pub(crate) fn next(&mut self) -> Result<Scanned> {
        let position = self.position;
        let left = self.end.saturating_sub(position);
        if left < BATCH_OVERHEAD as u64 {
            return Ok(self.legacy_end(left)?.unwrap_or(Scanned::End { position }));
        }
        let header = match BatchHeader::parse(self.bytes(position, BATCH_OVERHEAD)?) {
            Ok(header) => header,
            Err(RecordError::BatchTooSmall { .. }) => {
                return Ok(Scanned::Damaged { position, reason: "batch size below the minimum" });
            }
            Err(RecordError::UnknownCompression { .. }) => {
                return Ok(Scanned::Damaged { position, reason: "unknown compression type" });
            }
            Err(_) => return Ok(Scanned::Damaged { position, reason: "unknown format version" }),
        };
        let size = header.size();
        if size as u64 > left {
            return Ok(Scanned::End { position });
        }
        self.position += size as u64;
        Ok(Scanned::Batch { position, size, header })
    }

    /// A message of format 0 or 1 can be shorter than the header of a batch.
    fn legacy_end(&mut self, left: u64) -> Result<Option<Scanned>> {
        const LEGACY_OVERHEAD: u64 = 26;
        let position = self.position;
        if left < LEGACY_OVERHEAD {
            return Ok(None);
        }
        let magic = self.bytes(position, LEGACY_OVERHEAD as usize)?.get(16).copied();
        Ok(matches!(magic, Some(0 | 1)).then_some(Scanned::Damaged { position, reason: "unknown format version" }))
    }

    /// All bytes of a batch that [`Scanner::next`] gave last.
    pub(crate) fn batch(&mut self, position: u64, size: usize) -> Result<&[u8]> {
        self.bytes(position, size)
    }

    /// The version and checksum of what seems to be a message of format 0 or 1: its version where the checksum holds.
    pub(crate) fn legacy_magic(&mut self, position: u64) -> Result<Option<i8>> {
        let left = self.end.saturating_sub(position);
        let head = self.bytes(position, left.min(17) as usize)?;
        let Some((size, magic)) = head.get(8..12).and_then(|s| s.try_into().ok()).zip(head.get(16).copied()) else {
            return Ok(None);
        };
        let size = i32::from_be_bytes(size);
        if magic > 1 || size < 14 || size as u64 + 12 > left {
            return Ok(None);
        }
        let message = self.bytes(position + 12, size as usize)?;
        let Some((stored, covered)) = message.split_first_chunk() else { return Ok(None) };
        Ok((u32::from_be_bytes(*stored) == crc_fast::crc32_iso_hdlc(covered)).then_some(magic as i8))
    }

    fn bytes(&mut self, position: u64, length: usize) -> Result<&[u8]> {
        let inside =
            position >= self.buffer_start && position + length as u64 <= self.buffer_start + self.buffer.len() as u64;
        if !inside {
            let room = self.end.saturating_sub(position);
            let wanted = (length.max(self.chunk) as u64).min(room) as usize;
            self.buffer.clear();
            if self.buffer.capacity() < wanted {
                self.buffer = Vec::with_capacity(wanted);
            }
            self.buffer_start = position;
            file::read_up_to_at(self.file, &mut self.buffer, wanted, position)?;
        }
        let start = (position - self.buffer_start) as usize;
        match self.buffer.get(start..start + length) {
            Some(bytes) => Ok(bytes),
            // The file is shorter than the segment believes.
            None => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
        }
    }
}
