//! Zstandard frames. Decompressed in one pass no window has to be allocated, however large a frame
//! announces it: what may be allocated follows from the blocks that are there. Decompressed as a
//! stream a window has to be, and has zstd's limit.

use ::zstd::bulk;
use ::zstd::zstd_safe::{DCtx, InBuffer, OutBuffer, get_error_name};

use super::stream::CHUNK;
use super::{Compression, RecordError, corrupt, sized};
use crate::record::varint::SliceReader;

pub(super) struct ZstdCompressor {
    level: i32,
    context: bulk::Compressor<'static>,
}

impl ZstdCompressor {
    /// The compressor kept in `slot`, set to this level.
    pub(super) fn with_level(slot: &mut Option<Self>, level: i32) -> Result<&mut Self, String> {
        let mut kept = match slot.take() {
            Some(kept) => kept,
            None => Self { level, context: bulk::Compressor::new(level).map_err(|error| error.to_string())? },
        };
        if kept.level != level {
            kept.context.set_compression_level(level).map_err(|error| error.to_string())?;
            kept.level = level;
        }
        Ok(slot.insert(kept))
    }

    /// Compresses `input` to the front of `output` and gives the length there.
    pub(super) fn compress(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<usize, String> {
        let room = ::zstd::zstd_safe::compress_bound(input.len());
        self.context.compress_to_buffer(input, sized(output, room)).map_err(|error| error.to_string())
    }
}

pub(super) struct ZstdDecompressor {
    context: bulk::Decompressor<'static>,
}

impl ZstdDecompressor {
    /// The decompressor kept in `slot`.
    pub(super) fn open(slot: &mut Option<Self>) -> Result<&mut Self, RecordError> {
        let kept = match slot.take() {
            Some(kept) => kept,
            None => Self { context: bulk::Decompressor::new().map_err(|error| corrupt(Compression::Zstd, error))? },
        };
        Ok(slot.insert(kept))
    }

    pub(super) fn decompress(&mut self, input: &[u8], output: &mut Vec<u8>, limit: usize) -> Result<(), RecordError> {
        let bound =
            decompressed_bound(input).ok_or_else(|| corrupt(Compression::Zstd, "the frames are cut off or invalid"))?;
        output.reserve_exact(bound.min(limit));
        self.context.decompress_to_buffer(input, output).map_err(|error| {
            if bound > limit && is_too_small(&error) {
                RecordError::DecompressedTooLarge { limit }
            } else {
                corrupt(Compression::Zstd, error)
            }
        })?;
        if output.len() > limit {
            return Err(RecordError::DecompressedTooLarge { limit });
        }
        Ok(())
    }
}

/// Frames decompressed piece by piece.
pub(super) struct ZstdStream<'a> {
    context: DCtx<'static>,
    input: InBuffer<'a>,
    /// Whether a frame is begun and not ended.
    in_frame: bool,
}

impl<'a> ZstdStream<'a> {
    /// A window is refused that is larger than zstd's own bound of 128 MiB, as Kafka refuses it. Of a smaller one the
    /// operating system gives what is written to it, no more than is decompressed.
    pub(super) fn new(input: &'a [u8]) -> Result<Self, RecordError> {
        let context = DCtx::try_create().ok_or_else(|| corrupt(Compression::Zstd, "no memory for its state"))?;
        Ok(Self { context, input: InBuffer::around(input), in_frame: false })
    }

    /// Decompresses what fits into `chunk`, which is empty. Whether it was not the end.
    pub(super) fn fill(&mut self, chunk: &mut Vec<u8>) -> Result<bool, RecordError> {
        let before = self.input.pos();
        if before == self.input.src.len() && !self.in_frame {
            return Ok(false);
        }
        chunk.reserve_exact(CHUNK);
        let mut output = OutBuffer::around(chunk);
        let hint = self
            .context
            .decompress_stream(&mut output, &mut self.input)
            .map_err(|code| corrupt(Compression::Zstd, get_error_name(code)))?;
        self.in_frame = hint != 0;
        if output.pos() == 0 && self.input.pos() == before {
            return Err(corrupt(Compression::Zstd, "the frames are cut off"));
        }
        Ok(true)
    }

    /// What its state takes, in bytes, with the window.
    #[cfg(test)]
    pub(super) fn state_size(&self) -> usize {
        self.context.sizeof()
    }
}

/// The library has no other form of it than its words.
fn is_too_small(error: &std::io::Error) -> bool {
    error.to_string().contains("too small")
}

/// The most that the frames in `input` can decompress to, by the blocks that they really have and
/// the sizes that they announce. `None` if they are cut off or malformed.
fn decompressed_bound(input: &[u8]) -> Option<usize> {
    const FRAME: u32 = 0xfd2f_b528;
    const SKIPPABLE: u32 = 0x184d_2a50;
    const SKIPPABLE_MASK: u32 = 0xffff_fff0;

    let mut reader = SliceReader::new(input);
    let mut bound = 0_usize;
    while reader.len() > 0 {
        let magic = u32::from_le_bytes(reader.array()?);
        if magic == FRAME {
            bound = bound.saturating_add(frame_bound(&mut reader)?);
        } else if magic & SKIPPABLE_MASK == SKIPPABLE {
            let length = u32::from_le_bytes(reader.array()?);
            reader.take(length as usize)?;
        } else {
            return None;
        }
    }
    Some(bound)
}

/// Reads past a frame, behind its magic. See RFC 8878, section 3.1.1.
fn frame_bound(reader: &mut SliceReader<'_>) -> Option<usize> {
    const SINGLE_SEGMENT: u8 = 0x20;
    const CONTENT_CHECKSUM: u8 = 0x04;
    const MAX_BLOCK_SIZE: usize = 128 * 1024;

    let descriptor = reader.byte()?;
    let single_segment = descriptor & SINGLE_SEGMENT != 0;
    if !single_segment {
        reader.byte()?;
    }
    let dictionary_id = match descriptor & 0x03 {
        3 => 4,
        length => usize::from(length),
    };
    reader.take(dictionary_id)?;
    let content_size = match descriptor >> 6 {
        0 if single_segment => Some(u64::from(reader.byte()?)),
        0 => None,
        1 => Some(u64::from(u16::from_le_bytes(reader.array()?)) + 256),
        2 => Some(u64::from(u32::from_le_bytes(reader.array()?))),
        _ => Some(u64::from_le_bytes(reader.array()?)),
    };
    let mut bound = 0_usize;
    loop {
        let [low, middle, high] = reader.array()?;
        let header = u32::from_le_bytes([low, middle, high, 0]);
        let size = (header >> 3) as usize;
        let (stored, decompressed) = match (header >> 1) & 0x03 {
            0 => (size, size),
            1 => (1, size),
            2 => (size, MAX_BLOCK_SIZE),
            _ => return None,
        };
        reader.take(stored)?;
        bound = bound.saturating_add(decompressed);
        if header & 1 != 0 {
            break;
        }
    }
    if descriptor & CONTENT_CHECKSUM != 0 {
        reader.take(4)?;
    }
    let announced = content_size.and_then(|size| usize::try_from(size).ok());
    Some(announced.map_or(bound, |size| size.min(bound)))
}
