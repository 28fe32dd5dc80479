use bytes::Bytes;

use super::{RecordBatch, RecordBatchHeader, RecordError};

/// Iterates over concatenated batches by their headers; records are not looked at.
///
/// A batch that the bytes cut off ends the iteration without an error, as the last batch of a
/// fetch answer may be cut off. What is left then is in [`remaining`](Self::remaining): whoever
/// expects whole batches (a leader, of a produce request) checks that it is empty. After an error
/// the iteration is over.
#[derive(Debug, Clone)]
pub struct RecordBatches {
    rest: Bytes,
    failed: bool,
}

impl RecordBatches {
    /// Iterates over the batches in `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes, failed: false }
    }

    /// The bytes that have not been given out.
    pub fn remaining(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for RecordBatches {
    type Item = Result<RecordBatch, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let parsed = match RecordBatchHeader::peek_size(&self.rest) {
            Ok(Some(size)) if size <= self.rest.len() => RecordBatch::parse(self.rest.split_to(size)),
            Ok(_) => return None,
            Err(error) => Err(error),
        };
        self.failed = parsed.is_err();
        Some(parsed)
    }
}

impl std::iter::FusedIterator for RecordBatches {}
