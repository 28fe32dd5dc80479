use super::snappy::SnappyCompressor;
use super::zstd::ZstdCompressor;
use super::{Codec, Compression, RecordError, gzip::GzipCompressor, lz4::Lz4Compressor};

/// Buffers larger than this are not kept from one batch to the next.
pub(super) const MAX_KEPT_SCRATCH: usize = 4 * 1024 * 1024;

/// Compresses records, and keeps the codecs' state and a scratch buffer between batches.
///
/// The state (for zstd more than a megabyte) is made when a codec is first used. One per thread or
/// task that builds batches; a new one is free.
#[derive(Default)]
pub struct Compressor {
    scratch: Vec<u8>,
    gzip: Option<GzipCompressor>,
    snappy: Option<SnappyCompressor>,
    lz4: Option<Lz4Compressor>,
    zstd: Option<ZstdCompressor>,
}

impl Compressor {
    /// A compressor that has no state yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compresses `input` as the records of a batch are. The result is valid until the next call.
    ///
    /// # Errors
    ///
    /// [`RecordError::Compression`] if the codec fails, as without memory.
    pub fn compress(&mut self, codec: Codec, input: &[u8]) -> Result<&[u8], RecordError> {
        if self.scratch.len() > MAX_KEPT_SCRATCH {
            self.scratch = Vec::new();
        }
        let scratch = &mut self.scratch;
        let length = match codec.compression() {
            Compression::None => {
                super::sized(scratch, input.len()).copy_from_slice(input);
                Ok(input.len())
            }
            Compression::Gzip => GzipCompressor::with_level(&mut self.gzip, codec.level()).compress(input, scratch),
            Compression::Snappy => self.snappy.get_or_insert_default().compress(input, scratch),
            Compression::Lz4 => self.lz4.get_or_insert_default().compress(input, scratch),
            Compression::Zstd => {
                ZstdCompressor::with_level(&mut self.zstd, codec.level()).and_then(|zstd| zstd.compress(input, scratch))
            }
        }
        .map_err(|reason| RecordError::Compression { compression: codec.compression(), reason })?;
        Ok(scratch.get(..length).unwrap_or_default())
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").field("scratch", &self.scratch.len()).finish_non_exhaustive()
    }
}
