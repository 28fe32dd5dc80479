//! Snappy, in the framing of snappy-java ("xerial"), which Kafka's Java clients write: a header of
//! 16 bytes, then blocks, each with its compressed length in four bytes. Other clients write one
//! raw Snappy block instead; both are read, as snappy-java does.

use super::{Compression, RecordError, corrupt, sized};
use crate::record::varint::SliceReader;

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];

/// Version 1, readable by version 1.
const VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];

/// The first four bytes of a header, where a block's length could be.
const MAGIC_AS_LENGTH: [u8; 4] = [0x82, b'S', b'N', b'A'];

/// snappy-java's block size.
const BLOCK_SIZE: usize = 32 * 1024;

/// A copy of two bytes gives 11 bytes, one of three bytes 64.
const MAX_RATIO: usize = 22;

pub(super) struct SnappyCompressor {
    encoder: snap::raw::Encoder,
}

impl Default for SnappyCompressor {
    fn default() -> Self {
        Self { encoder: snap::raw::Encoder::new() }
    }
}

impl SnappyCompressor {
    /// Compresses `input` to the front of `output` and gives the length there.
    pub(super) fn compress(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<usize, String> {
        let blocks = input.len().div_ceil(BLOCK_SIZE);
        let room =
            MAGIC.len() + VERSIONS.len() + blocks * (4 + snap::raw::max_compress_len(input.len().min(BLOCK_SIZE)));
        let target = sized(output, room);
        let no_room = || "the output is too small".to_owned();
        let (magic, target) = target.split_first_chunk_mut().ok_or_else(no_room)?;
        let (versions, mut target) = target.split_first_chunk_mut().ok_or_else(no_room)?;
        *magic = MAGIC;
        *versions = VERSIONS;
        for block in input.chunks(BLOCK_SIZE) {
            let (length, rest) = target.split_first_chunk_mut().ok_or_else(no_room)?;
            let written = self.encoder.compress(block, rest).map_err(|error| error.to_string())?;
            *length = (written as u32).to_be_bytes();
            target = rest.get_mut(written..).ok_or_else(no_room)?;
        }
        let free = target.len();
        Ok(room - free)
    }
}

pub(super) fn decompress(input: &[u8], output: &mut Vec<u8>, limit: usize) -> Result<(), RecordError> {
    let mut blocks = SnappyBlocks::open(input)?;
    while blocks.append_next(output, limit)? {}
    Ok(())
}

/// The blocks of compressed records, one after the other.
pub(super) struct SnappyBlocks<'a> {
    reader: SliceReader<'a>,
    /// One block without a frame, which has not been read.
    raw: Option<&'a [u8]>,
}

impl<'a> SnappyBlocks<'a> {
    pub(super) fn open(input: &'a [u8]) -> Result<Self, RecordError> {
        if !input.starts_with(&MAGIC) {
            return Ok(Self { reader: SliceReader::new(&[]), raw: Some(input) });
        }
        let mut reader = SliceReader::new(input);
        skip_header(&mut reader)?;
        Ok(Self { reader, raw: None })
    }

    /// Decompresses the next block onto the end of `output`, which it lets grow to `limit` bytes. Whether there was
    /// one.
    pub(super) fn append_next(&mut self, output: &mut Vec<u8>, limit: usize) -> Result<bool, RecordError> {
        if let Some(block) = self.raw.take() {
            append_block(block, output, limit)?;
            return Ok(true);
        }
        let reader = &mut self.reader;
        // Streams may follow one another.
        while reader.rest().starts_with(&MAGIC_AS_LENGTH) {
            skip_header(reader)?;
        }
        if reader.len() == 0 {
            return Ok(false);
        }
        let block = reader
            .array()
            .map(u32::from_be_bytes)
            .and_then(|length| reader.take(length as usize))
            .ok_or_else(|| corrupt(Compression::Snappy, "a block is cut off"))?;
        append_block(block, output, limit)?;
        Ok(true)
    }
}

fn skip_header(reader: &mut SliceReader<'_>) -> Result<(), RecordError> {
    let readable = reader.array() == Some(MAGIC)
        && reader.take(4).is_some()
        // Every version so far says that version 1 can read it.
        && reader.array().is_some_and(|compatible| i32::from_be_bytes(compatible) <= 1);
    if readable { Ok(()) } else { Err(corrupt(Compression::Snappy, "invalid stream header")) }
}

/// Decompresses one raw block onto the end of `output`.
fn append_block(block: &[u8], output: &mut Vec<u8>, limit: usize) -> Result<(), RecordError> {
    let failed = |error: snap::Error| corrupt(Compression::Snappy, error);
    let length = snap::raw::decompress_len(block).map_err(failed)?;
    if length > block.len().saturating_mul(MAX_RATIO) {
        return Err(corrupt(Compression::Snappy, format_args!("a block of {} bytes announces {length}", block.len())));
    }
    let start = output.len();
    if length > limit - start {
        return Err(RecordError::DecompressedTooLarge { limit });
    }
    output.resize(start + length, 0);
    let target = output.get_mut(start..).unwrap_or_default();
    let written = snap::raw::Decoder::new().decompress(block, target).map_err(failed)?;
    output.truncate(start + written);
    Ok(())
}
