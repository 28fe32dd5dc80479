use super::gzip::GzipStream;
use super::lz4::Lz4Blocks;
use super::snappy::SnappyBlocks;
use super::zstd::ZstdStream;
use super::{Compression, RecordError};

/// How much the codecs that give any amount give at a time.
pub(super) const CHUNK: usize = 64 * 1024;

/// Decompressed records, of which one piece at a time is in memory: 64 KiB of gzip or zstd, or a block of LZ4 (4 MiB
/// at most) or Snappy (32 KiB as Kafka's clients write them, 22 times what came at most); with zstd also the window
/// of the frame, 2 MiB at the default level and 128 MiB at most.
///
/// It ends with an error behind `limit` bytes: a megabyte can hold gigabytes, which take their time even where they
/// take no memory.
pub(crate) struct DecompressedStream<'a> {
    source: Source<'a>,
    limit: usize,
    given: usize,
    chunk: Vec<u8>,
    position: usize,
}

enum Source<'a> {
    Stored(&'a [u8]),
    Gzip(Box<GzipStream<'a>>),
    Snappy(SnappyBlocks<'a>),
    Lz4(Lz4Blocks<'a>),
    Zstd(ZstdStream<'a>),
}

impl Source<'_> {
    /// Puts what comes next into `chunk`, which is empty; `false` at the end. What it gives may be empty before the
    /// end, and a chunk larger than `room`, which the caller has to check.
    fn fill(&mut self, chunk: &mut Vec<u8>, room: usize) -> Result<bool, RecordError> {
        match self {
            Self::Stored(rest) => {
                let (next, behind) = rest.split_at_checked(CHUNK).unwrap_or((*rest, &[]));
                chunk.extend_from_slice(next);
                *rest = behind;
                Ok(!next.is_empty())
            }
            Self::Gzip(stream) => stream.fill(chunk),
            Self::Snappy(blocks) => blocks.append_next(chunk, room),
            Self::Lz4(blocks) => blocks.append_next(chunk, room),
            Self::Zstd(stream) => stream.fill(chunk),
        }
    }
}

impl<'a> DecompressedStream<'a> {
    /// A stream of at most `limit` bytes. The codec's state is made for it, and given back with it.
    pub(crate) fn new(compression: Compression, input: &'a [u8], limit: usize) -> Result<Self, RecordError> {
        let source = match compression {
            Compression::None => Source::Stored(input),
            Compression::Gzip => Source::Gzip(Box::new(GzipStream::new(input))),
            Compression::Snappy => Source::Snappy(SnappyBlocks::open(input)?),
            Compression::Lz4 => Source::Lz4(Lz4Blocks::open(input)?),
            Compression::Zstd => Source::Zstd(ZstdStream::new(input)?),
        };
        Ok(Self { source, limit, given: 0, chunk: Vec::new(), position: 0 })
    }

    /// The next byte; `None` at the end.
    #[inline]
    pub(crate) fn byte(&mut self) -> Result<Option<u8>, RecordError> {
        loop {
            if let Some(&byte) = self.chunk.get(self.position) {
                self.position += 1;
                return Ok(Some(byte));
            }
            if !self.refill()? {
                return Ok(None);
            }
        }
    }

    /// Goes on by `length` bytes, or up to the end; gives by how many it went.
    pub(crate) fn skip(&mut self, length: usize) -> Result<usize, RecordError> {
        let mut left = length;
        loop {
            let step = left.min(self.chunk.len() - self.position);
            self.position += step;
            left -= step;
            if left == 0 || !self.refill()? {
                return Ok(length - left);
            }
        }
    }

    /// Replaces the chunk, which has been read, by the next one; `false` at the end.
    #[cold]
    fn refill(&mut self) -> Result<bool, RecordError> {
        let too_large = RecordError::DecompressedTooLarge { limit: self.limit };
        self.position = 0;
        loop {
            self.chunk.clear();
            let room = self.limit - self.given;
            match self.source.fill(&mut self.chunk, room) {
                Ok(_) if self.chunk.len() > room => return Err(too_large),
                Ok(_) if !self.chunk.is_empty() => {
                    self.given += self.chunk.len();
                    return Ok(true);
                }
                Ok(true) => {}
                Ok(false) => return Ok(false),
                // The room that was left is nobody's setting.
                Err(RecordError::DecompressedTooLarge { .. }) => return Err(too_large),
                Err(error) => return Err(error),
            }
        }
    }
}

impl std::fmt::Debug for DecompressedStream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecompressedStream")
            .field("limit", &self.limit)
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}
