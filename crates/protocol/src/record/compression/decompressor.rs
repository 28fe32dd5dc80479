use super::compressor::MAX_KEPT_SCRATCH;
use super::gzip::GzipDecompressor;
use super::zstd::ZstdDecompressor;
use super::{Compression, DecompressedStream, RecordError, lz4, snappy};

/// Decompressed records to be read once, from the first to the last.
#[derive(Debug)]
pub(crate) enum Walk<'a> {
    Whole(&'a [u8]),
    Stream(DecompressedStream<'a>),
}

/// Decompresses records, and keeps the codecs' state and a scratch buffer between batches.
///
/// It gives no more than a limit of bytes per batch, and allocates no more than that, nor more
/// than the compressed bytes can hold: a batch that is a decompression bomb, or that lies about
/// its size, is an error. One per consumer, connection or thread; a new one is free.
pub struct Decompressor {
    limit: usize,
    scratch: Vec<u8>,
    gzip: Option<GzipDecompressor>,
    zstd: Option<ZstdDecompressor>,
}

impl Decompressor {
    /// The limit unless another is given: 128 MiB, 128 times what Kafka's defaults let a batch
    /// have when it is sent.
    pub const DEFAULT_LIMIT: usize = 128 * 1024 * 1024;

    /// A decompressor with the default limit.
    pub fn new() -> Self {
        Self::with_limit(Self::DEFAULT_LIMIT)
    }

    /// A decompressor that gives at most `limit` bytes per batch.
    pub fn with_limit(limit: usize) -> Self {
        Self { limit, scratch: Vec::new(), gzip: None, zstd: None }
    }

    /// Sets the most bytes that it gives per batch from now on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Decompresses the records of a batch into the scratch buffer. The result is valid until the
    /// next call.
    ///
    /// # Errors
    ///
    /// [`RecordError::Decompression`] and [`RecordError::DecompressedTooLarge`].
    pub fn decompress(&mut self, compression: Compression, input: &[u8]) -> Result<&[u8], RecordError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        if scratch.capacity() > MAX_KEPT_SCRATCH {
            scratch = Vec::new();
        }
        let decompressed = self.decompress_into(compression, input, &mut scratch);
        self.scratch = scratch;
        decompressed?;
        Ok(&self.scratch)
    }

    /// Decompresses the records of a batch into the scratch buffer if they are few, and else as they are read.
    pub(crate) fn walk<'a>(&'a mut self, compression: Compression, input: &'a [u8]) -> Result<Walk<'a>, RecordError> {
        let limit = self.limit;
        self.limit = limit.min(MAX_KEPT_SCRATCH);
        let whole = self.decompress(compression, input).map(|_| ());
        self.limit = limit;
        match whole {
            Ok(()) => Ok(Walk::Whole(&self.scratch)),
            Err(RecordError::DecompressedTooLarge { .. }) if limit > MAX_KEPT_SCRATCH => {
                Ok(Walk::Stream(DecompressedStream::new(compression, input, limit)?))
            }
            Err(error) => Err(error),
        }
    }

    /// Decompresses the records of a batch into `output`, whose contents are replaced.
    ///
    /// # Errors
    ///
    /// [`RecordError::Decompression`] and [`RecordError::DecompressedTooLarge`].
    pub fn decompress_into(
        &mut self,
        compression: Compression,
        input: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        output.clear();
        match compression {
            Compression::None if input.len() > self.limit => {
                Err(RecordError::DecompressedTooLarge { limit: self.limit })
            }
            Compression::None => {
                output.extend_from_slice(input);
                Ok(())
            }
            Compression::Gzip => self.gzip.get_or_insert_default().decompress(input, output, self.limit),
            Compression::Snappy => snappy::decompress(input, output, self.limit),
            Compression::Lz4 => lz4::decompress(input, output, self.limit),
            Compression::Zstd => ZstdDecompressor::open(&mut self.zstd)?.decompress(input, output, self.limit),
        }
    }
}

impl Default for Decompressor {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor")
            .field("limit", &self.limit)
            .field("scratch", &self.scratch.len())
            .finish_non_exhaustive()
    }
}
