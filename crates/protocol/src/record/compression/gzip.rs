//! GZIP members (RFC 1952), one after the other.

use flate2::{Compress, Crc, Decompress, FlushCompress, FlushDecompress, Status};

use super::stream::CHUNK;
use super::{Compression, RecordError, corrupt, sized};
use crate::record::varint::SliceReader;

/// Deflate's largest window, 32 KiB.
const WINDOW_BITS: u8 = 15;

/// Deflate cannot do better than this.
const MAX_RATIO: usize = 1032;

pub(super) struct GzipCompressor {
    level: i32,
    deflate: Compress,
}

impl GzipCompressor {
    /// The compressor kept in `slot`, made anew if it is of another level.
    pub(super) fn with_level(slot: &mut Option<Self>, level: i32) -> &mut Self {
        let kept = slot.take().filter(|kept| kept.level == level);
        slot.insert(kept.unwrap_or_else(|| {
            let deflate_level = match u32::try_from(level) {
                Ok(level) => flate2::Compression::new(level),
                Err(_) => flate2::Compression::default(),
            };
            Self { level, deflate: Compress::new_gzip(deflate_level, WINDOW_BITS) }
        }))
    }

    /// Compresses `input` to the front of `output` and gives the length there.
    pub(super) fn compress(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<usize, String> {
        self.deflate.reset();
        // Stored blocks add 5 bytes per 16 KiB, the frame 18.
        let mut room = input.len() + input.len() / 1024 + 64;
        loop {
            let consumed = self.deflate.total_in() as usize;
            let written = self.deflate.total_out() as usize;
            let target = sized(output, room).get_mut(written..).unwrap_or_default();
            let rest = input.get(consumed..).unwrap_or_default();
            let status =
                self.deflate.compress(rest, target, FlushCompress::Finish).map_err(|error| error.to_string())?;
            if status == Status::StreamEnd {
                return Ok(self.deflate.total_out() as usize);
            }
            room += room / 2;
        }
    }
}

pub(super) struct GzipDecompressor {
    inflate: Decompress,
}

impl Default for GzipDecompressor {
    fn default() -> Self {
        Self { inflate: Decompress::new(false) }
    }
}

impl GzipDecompressor {
    pub(super) fn decompress(&mut self, input: &[u8], output: &mut Vec<u8>, limit: usize) -> Result<(), RecordError> {
        output.reserve(expected_size(input).min(limit));
        let mut reader = SliceReader::new(input);
        loop {
            skip_member_header(&mut reader).ok_or_else(|| corrupt(Compression::Gzip, "invalid member header"))?;
            let start = output.len();
            self.inflate(&mut reader, output, limit)?;
            let member = output.get(start..).unwrap_or_default();
            let mut crc = Crc::new();
            crc.update(member);
            check_member_trailer(&mut reader, &crc)?;
            if reader.len() == 0 {
                return Ok(());
            }
        }
    }

    /// Inflates one member from `reader` onto the end of `output`.
    fn inflate(&mut self, reader: &mut SliceReader<'_>, output: &mut Vec<u8>, limit: usize) -> Result<(), RecordError> {
        const STEP: usize = 16 * 1024;
        self.inflate.reset(false);
        loop {
            if output.len() == output.capacity() {
                if output.len() >= limit {
                    return self.check_end_at_limit(reader, limit);
                }
                // Doubles at most, so that what is allocated follows what was there to inflate.
                let step = output.len().max(STEP).min(limit - output.len());
                output.reserve_exact(step);
            }
            let consumed = self.inflate.total_in();
            let before = output.len();
            let status = self
                .inflate
                .decompress_vec(reader.rest(), output, FlushDecompress::None)
                .map_err(|error| corrupt(Compression::Gzip, error))?;
            let consumed = (self.inflate.total_in() - consumed) as usize;
            reader.take(consumed);
            if output.len() > limit {
                return Err(RecordError::DecompressedTooLarge { limit });
            }
            match status {
                Status::StreamEnd => return Ok(()),
                // Room was left and nothing came: the input has ended.
                _ if consumed == 0 && output.len() == before => {
                    return Err(corrupt(Compression::Gzip, "the data is cut off"));
                }
                _ => {}
            }
        }
    }

    /// With the limit reached to the byte, only the end of the member may follow.
    fn check_end_at_limit(&mut self, reader: &mut SliceReader<'_>, limit: usize) -> Result<(), RecordError> {
        let consumed = self.inflate.total_in();
        let mut probe = [0];
        let written = self.inflate.total_out();
        let status = self
            .inflate
            .decompress(reader.rest(), &mut probe, FlushDecompress::None)
            .map_err(|error| corrupt(Compression::Gzip, error))?;
        reader.take((self.inflate.total_in() - consumed) as usize);
        if self.inflate.total_out() > written {
            return Err(RecordError::DecompressedTooLarge { limit });
        }
        match status {
            Status::StreamEnd => Ok(()),
            _ => Err(corrupt(Compression::Gzip, "the data is cut off")),
        }
    }
}

/// Members inflated piece by piece.
pub(super) struct GzipStream<'a> {
    reader: SliceReader<'a>,
    inflate: Decompress,
    /// Of the member that is being read; `None` between two.
    crc: Option<Crc>,
    any_member: bool,
}

impl<'a> GzipStream<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self { reader: SliceReader::new(input), inflate: Decompress::new(false), crc: None, any_member: false }
    }

    /// Inflates what fits into `chunk`, which is empty. Whether it was not the end.
    pub(super) fn fill(&mut self, chunk: &mut Vec<u8>) -> Result<bool, RecordError> {
        let mut crc = match self.crc.take() {
            Some(crc) => crc,
            None if self.any_member && self.reader.len() == 0 => return Ok(false),
            None => {
                skip_member_header(&mut self.reader)
                    .ok_or_else(|| corrupt(Compression::Gzip, "invalid member header"))?;
                self.inflate.reset(false);
                self.any_member = true;
                Crc::new()
            }
        };
        chunk.reserve_exact(CHUNK);
        let before = self.inflate.total_in();
        let status = self
            .inflate
            .decompress_vec(self.reader.rest(), chunk, FlushDecompress::None)
            .map_err(|error| corrupt(Compression::Gzip, error))?;
        let consumed = (self.inflate.total_in() - before) as usize;
        self.reader.take(consumed);
        crc.update(chunk);
        match status {
            Status::StreamEnd => check_member_trailer(&mut self.reader, &crc)?,
            _ if consumed == 0 && chunk.is_empty() => return Err(corrupt(Compression::Gzip, "the data is cut off")),
            _ => self.crc = Some(crc),
        }
        Ok(true)
    }
}

/// Reads a member's trailer, and compares it with what was inflated.
fn check_member_trailer(reader: &mut SliceReader<'_>, crc: &Crc) -> Result<(), RecordError> {
    let stored_crc = reader.array().map(u32::from_le_bytes);
    let stored_size = reader.array().map(u32::from_le_bytes);
    if stored_crc == Some(crc.sum()) && stored_size == Some(crc.amount()) {
        Ok(())
    } else {
        Err(corrupt(Compression::Gzip, "invalid member trailer"))
    }
}

/// The size in the trailer of the last member, where deflate could reach it.
fn expected_size(input: &[u8]) -> usize {
    input
        .last_chunk::<4>()
        .map(|size| u32::from_le_bytes(*size) as usize)
        .unwrap_or_default()
        .min(input.len().saturating_mul(MAX_RATIO))
}

/// Reads past a member's header: ten bytes, and what its flags announce.
fn skip_member_header(reader: &mut SliceReader<'_>) -> Option<()> {
    const HEADER_CRC: u8 = 0x02;
    const EXTRA: u8 = 0x04;
    const NAME: u8 = 0x08;
    const COMMENT: u8 = 0x10;
    const DEFLATE: u8 = 8;
    let [0x1f, 0x8b, DEFLATE, flags, ..] = reader.array::<10>()? else {
        return None;
    };
    if flags & EXTRA != 0 {
        let length = u16::from_le_bytes(reader.array()?);
        reader.take(usize::from(length))?;
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            while reader.byte()? != 0 {}
        }
    }
    if flags & HEADER_CRC != 0 {
        reader.take(2)?;
    }
    Some(())
}
