//! LZ4 frames as Kafka writes and reads them: independent blocks of 64 KiB, no checksum but the
//! frame descriptor's. Other block sizes and block checksums are read; blocks that depend on their
//! predecessors are refused, as every Java consumer would refuse them.

use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};

use super::xxhash32::xxhash32;
use super::{Compression, RecordError, corrupt, sized};
use crate::record::varint::SliceReader;

const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();

/// Version 1, independent blocks.
const FLAGS: u8 = 0x60;

/// Blocks of 64 KiB.
const BLOCK_DESCRIPTOR: u8 = 0x40;
const BLOCK_SIZE: usize = 64 * 1024;

/// The second byte of the hash of the two bytes above.
const DESCRIPTOR_CHECKSUM: u8 = 0x82;

/// In a block's length: it is stored as it is.
const STORED: u32 = 0x8000_0000;

const END_MARK: [u8; 4] = [0; 4];

/// One more byte of input can lengthen a match by at most this.
const MAX_RATIO: usize = 255;

pub(super) struct Lz4Compressor {
    table: CompressTable,
}

impl Default for Lz4Compressor {
    fn default() -> Self {
        Self { table: CompressTable::small() }
    }
}

impl Lz4Compressor {
    /// Compresses `input` to the front of `output` and gives the length there.
    pub(super) fn compress(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<usize, String> {
        const HEADER: usize = 7;
        let blocks = input.len().div_ceil(BLOCK_SIZE);
        let largest = get_maximum_output_size(input.len().min(BLOCK_SIZE));
        let room = HEADER + blocks * (4 + largest) + END_MARK.len();
        let target = sized(output, room);
        let no_room = || "the output is too small".to_owned();
        let (header, mut target) = target.split_first_chunk_mut::<HEADER>().ok_or_else(no_room)?;
        let [m0, m1, m2, m3] = MAGIC;
        *header = [m0, m1, m2, m3, FLAGS, BLOCK_DESCRIPTOR, DESCRIPTOR_CHECKSUM];
        for block in input.chunks(BLOCK_SIZE) {
            let (length, rest) = target.split_first_chunk_mut().ok_or_else(no_room)?;
            let mut written =
                compress_into_with_table(block, rest, &mut self.table).map_err(|error| error.to_string())?;
            let mut stored = 0;
            if written >= block.len() {
                rest.get_mut(..block.len()).ok_or_else(no_room)?.copy_from_slice(block);
                written = block.len();
                stored = STORED;
            }
            *length = (written as u32 | stored).to_le_bytes();
            target = rest.get_mut(written..).ok_or_else(no_room)?;
        }
        let (end, rest) = target.split_first_chunk_mut().ok_or_else(no_room)?;
        *end = END_MARK;
        let free = rest.len();
        Ok(room - free)
    }
}

pub(super) fn decompress(input: &[u8], output: &mut Vec<u8>, limit: usize) -> Result<(), RecordError> {
    let mut blocks = Lz4Blocks::open(input)?;
    while blocks.append_next(output, limit)? {}
    Ok(())
}

fn failed(reason: &'static str) -> RecordError {
    corrupt(Compression::Lz4, reason)
}

/// The blocks of a frame, one after the other.
pub(super) struct Lz4Blocks<'a> {
    reader: SliceReader<'a>,
    frame: FrameDescriptor,
}

impl<'a> Lz4Blocks<'a> {
    pub(super) fn open(input: &'a [u8]) -> Result<Self, RecordError> {
        let mut reader = SliceReader::new(input);
        let frame = FrameDescriptor::read(&mut reader).map_err(failed)?;
        Ok(Self { reader, frame })
    }

    /// Decompresses the next block onto the end of `output`, which it lets grow to `limit` bytes. Whether there was
    /// one; it is not to be called again if there was none.
    pub(super) fn append_next(&mut self, output: &mut Vec<u8>, limit: usize) -> Result<bool, RecordError> {
        let Self { reader, frame } = self;
        let length = reader.array().map(u32::from_le_bytes).ok_or_else(|| failed("a block length is cut off"))?;
        let stored = length & STORED != 0;
        let length = (length & !STORED) as usize;
        if length == 0 {
            // A content checksum may follow; Kafka does not look at it, the batch has its CRC.
            return Ok(false);
        }
        if length > frame.max_block_size {
            return Err(failed("a block is larger than the frame allows"));
        }
        let block = reader.take(length).ok_or_else(|| failed("a block is cut off"))?;
        if frame.has_block_checksums {
            let checksum = reader.array().map(u32::from_le_bytes);
            if checksum != Some(xxhash32(block)) {
                return Err(failed("a block checksum does not match"));
            }
        }
        if !stored {
            append_block(block, frame.max_block_size, output, limit)?;
        } else if block.len() > limit - output.len() {
            return Err(RecordError::DecompressedTooLarge { limit });
        } else {
            output.extend_from_slice(block);
        }
        Ok(true)
    }
}

/// Decompresses one block onto the end of `output`.
fn append_block(block: &[u8], max_block_size: usize, output: &mut Vec<u8>, limit: usize) -> Result<(), RecordError> {
    let start = output.len();
    let expected = max_block_size.min(block.len().saturating_mul(MAX_RATIO));
    let room = expected.min(limit - start);
    output.resize(start + room, 0);
    let target = output.get_mut(start..).unwrap_or_default();
    let written = decompress_into(block, target).map_err(|error| {
        use lz4_flex::block::DecompressError::OutputTooSmall;
        match error {
            OutputTooSmall { .. } if room < expected => RecordError::DecompressedTooLarge { limit },
            error => corrupt(Compression::Lz4, error),
        }
    })?;
    output.truncate(start + written);
    Ok(())
}

struct FrameDescriptor {
    max_block_size: usize,
    has_block_checksums: bool,
}

impl FrameDescriptor {
    fn read(reader: &mut SliceReader<'_>) -> Result<Self, &'static str> {
        const VERSION: u8 = 0xc0;
        const VERSION_1: u8 = 0x40;
        const INDEPENDENT: u8 = 0x20;
        const BLOCK_CHECKSUMS: u8 = 0x10;
        const CONTENT_SIZE: u8 = 0x08;
        const RESERVED: u8 = 0x03;
        const CUT_OFF: &str = "the frame header is cut off";

        if reader.array().ok_or(CUT_OFF)? != MAGIC {
            return Err("it does not start with an LZ4 frame");
        }
        let described = reader.rest();
        let [flags, block_descriptor] = reader.array().ok_or(CUT_OFF)?;
        if flags & VERSION != VERSION_1 {
            return Err("the frame version is not supported");
        }
        if flags & RESERVED != 0 {
            // One of these bits announces a dictionary, which Kafka has not.
            return Err("reserved bits of the frame header are set");
        }
        if flags & INDEPENDENT == 0 {
            return Err("blocks that depend on their predecessors are not supported");
        }
        let max_block_size = match block_descriptor {
            0x40 => 64 * 1024,
            0x50 => 256 * 1024,
            0x60 => 1024 * 1024,
            0x70 => 4 * 1024 * 1024,
            _ => return Err("the block size is invalid"),
        };
        if flags & CONTENT_SIZE != 0 {
            reader.take(8).ok_or(CUT_OFF)?;
        }
        let described = described.get(..described.len() - reader.len()).unwrap_or_default();
        let checksum = (xxhash32(described) >> 8) as u8;
        if reader.byte().ok_or(CUT_OFF)? != checksum {
            return Err("the frame header's checksum does not match");
        }
        Ok(Self { max_block_size, has_block_checksums: flags & BLOCK_CHECKSUMS != 0 })
    }
}
