use std::ops::Deref;

use bytes::Bytes;

use super::compression::Walk;
use super::crc::crc32c;
use super::header::CRC_COVERS_FROM;
use super::{
    BATCH_OVERHEAD, Compression, DecodedBatch, Decompressor, RecordBatchHeader, RecordError, RecordOutlines, Records,
};

/// One record batch: its parsed header (to which it dereferences) and a view of its bytes.
///
/// Its records have not been looked at. Cloning it shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordBatch {
    header: RecordBatchHeader,
    bytes: Bytes,
}

impl RecordBatch {
    /// Takes the batch at the start of `bytes`, without what follows it. The CRC is not verified.
    ///
    /// # Errors
    ///
    /// As [`RecordBatchHeader::parse`], and [`RecordError::Truncated`] if the bytes end before the
    /// batch.
    pub fn parse(bytes: Bytes) -> Result<Self, RecordError> {
        let header = RecordBatchHeader::parse(&bytes)?;
        let size = header.size();
        if bytes.len() < size {
            return Err(RecordError::Truncated { needed: size, available: bytes.len() });
        }
        let bytes = if bytes.len() == size { bytes } else { bytes.slice(..size) };
        Ok(Self { header, bytes })
    }

    /// The header.
    pub fn header(&self) -> &RecordBatchHeader {
        &self.header
    }

    /// All bytes of the batch.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// All bytes of the batch.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The stored records, compressed as they may be.
    pub fn raw_records(&self) -> &[u8] {
        self.bytes.get(BATCH_OVERHEAD..).unwrap_or_default()
    }

    /// The stored records, compressed as they may be, sharing the batch's bytes.
    pub fn raw_records_bytes(&self) -> Bytes {
        self.bytes.slice(BATCH_OVERHEAD.min(self.bytes.len())..)
    }

    /// Verifies the CRC-32C.
    ///
    /// # Errors
    ///
    /// [`RecordError::CrcMismatch`].
    pub fn verify_crc(&self) -> Result<(), RecordError> {
        let covered = self.bytes.get(CRC_COVERS_FROM..).unwrap_or_default();
        let computed = crc32c(covered, &[]);
        if computed == self.header.crc() {
            Ok(())
        } else {
            Err(RecordError::CrcMismatch { stored: self.header.crc(), computed })
        }
    }

    /// The records, which borrow from the batch, or if it is compressed from the scratch buffer
    /// of `decompressor`. Allocates nothing once that buffer is large enough. The CRC is not
    /// verified.
    ///
    /// # Errors
    ///
    /// [`RecordError::Decompression`] and [`RecordError::DecompressedTooLarge`]. What is wrong
    /// with the records themselves comes from the iterator.
    pub fn records<'a>(&'a self, decompressor: &'a mut Decompressor) -> Result<Records<'a>, RecordError> {
        let stored = self.raw_records();
        let records = match self.header.compression() {
            Compression::None => stored,
            _ if stored.is_empty() => stored,
            compression => decompressor.decompress(compression, stored)?,
        };
        Ok(Records::new(&self.header, records))
    }

    /// Offset and timestamp of the records, whose form is checked, without what is in them. A compressed batch is not
    /// decompressed as a whole if it is large: beyond 4 MiB piece by piece, so that a bomb takes time up to the limit
    /// of `decompressor` and no memory. The CRC is not verified.
    ///
    /// # Errors
    ///
    /// As [`records`](Self::records); behind the first 4 MiB from the iterator.
    pub fn outlines<'a>(&'a self, decompressor: &'a mut Decompressor) -> Result<RecordOutlines<'a>, RecordError> {
        let stored = self.raw_records();
        let walk = match self.header.compression() {
            Compression::None => Walk::Whole(stored),
            _ if stored.is_empty() => Walk::Whole(stored),
            compression => decompressor.walk(compression, stored)?,
        };
        Ok(RecordOutlines::new(&self.header, walk))
    }

    /// The batch with its records decompressed into a buffer of their own (or shared with the
    /// batch, if they are not compressed), from which records are taken that may outlive it.
    ///
    /// # Errors
    ///
    /// As [`records`](Self::records).
    pub fn decode(&self, decompressor: &mut Decompressor) -> Result<DecodedBatch, RecordError> {
        let stored = self.raw_records();
        let records = match self.header.compression() {
            Compression::None => self.raw_records_bytes(),
            _ if stored.is_empty() => self.raw_records_bytes(),
            compression => {
                let mut records = Vec::new();
                decompressor.decompress_into(compression, stored, &mut records)?;
                Bytes::from(records)
            }
        };
        Ok(DecodedBatch::new(self.header, records))
    }
}

impl Deref for RecordBatch {
    type Target = RecordBatchHeader;

    fn deref(&self) -> &RecordBatchHeader {
        &self.header
    }
}
