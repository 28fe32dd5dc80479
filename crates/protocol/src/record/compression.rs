use std::fmt;
use std::str::FromStr;

use super::RecordError;

mod compressor;
mod decompressor;
mod gzip;
mod lz4;
mod snappy;
mod stream;
mod xxhash32;
mod zstd;

pub use compressor::Compressor;
pub use decompressor::Decompressor;
pub(crate) use decompressor::Walk;
pub(crate) use stream::DecompressedStream;

/// What the records of a batch are compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// GZIP.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4, in its frame format.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// All of them, by id.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The id in a batch's attributes.
    pub fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec with this id.
    ///
    /// # Errors
    ///
    /// [`RecordError::UnknownCompression`].
    pub fn from_id(id: u8) -> Result<Self, RecordError> {
        Self::ALL.get(usize::from(id)).copied().ok_or(RecordError::UnknownCompression { id })
    }

    /// The name in Kafka's configuration (`compression.type`).
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Compression {
    type Err = RecordError;

    fn from_str(name: &str) -> Result<Self, RecordError> {
        Self::ALL
            .into_iter()
            .find(|compression| compression.name() == name)
            .ok_or_else(|| RecordError::UnknownCompressionName { name: name.to_owned() })
    }
}

/// A codec and its level, to compress with. Every [`Compression`] is one with its default level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Codec {
    compression: Compression,
    level: i32,
}

/// zlib's own default, which is 6.
const GZIP_DEFAULT_LEVEL: i32 = -1;
/// Kafka's default: the fast compressor. Its other levels are LZ4's high-compression ones.
const LZ4_DEFAULT_LEVEL: i32 = 9;
/// Zstandard's default.
const ZSTD_DEFAULT_LEVEL: i32 = 3;

impl Codec {
    /// No compression.
    pub const NONE: Self = Self { compression: Compression::None, level: 0 };

    /// A codec with a level: -1 or 1 to 9 for gzip (default -1, zlib's own), 1 to 17 for lz4
    /// (default 9), -131072 to 22 for zstd (default 3).
    ///
    /// A higher level compresses more slowly and better. For lz4 every level gives what Kafka's
    /// default gives, the fast compressor: LZ4's high-compression mode is not there, and what it
    /// writes could be read the same.
    ///
    /// # Errors
    ///
    /// [`RecordError::InvalidCompressionLevel`] for a level out of range, and for a codec that has
    /// none.
    pub fn with_level(compression: Compression, level: i32) -> Result<Self, RecordError> {
        let (valid, range) = match compression {
            Compression::Gzip => {
                (level == GZIP_DEFAULT_LEVEL || (1..=9).contains(&level), "between 1 and 9 or equal to -1")
            }
            Compression::Lz4 => ((1..=17).contains(&level), "between 1 and 17"),
            Compression::Zstd => ((-131_072..=22).contains(&level), "between -131072 and 22"),
            Compression::None | Compression::Snappy => (false, "left out, it has no levels"),
        };
        if valid {
            Ok(Self { compression, level })
        } else {
            Err(RecordError::InvalidCompressionLevel { compression, level, range })
        }
    }

    /// What it compresses with.
    pub fn compression(self) -> Compression {
        self.compression
    }

    /// Its level; 0 for a codec without levels.
    pub fn level(self) -> i32 {
        self.level
    }
}

impl From<Compression> for Codec {
    fn from(compression: Compression) -> Self {
        let level = match compression {
            Compression::None | Compression::Snappy => 0,
            Compression::Gzip => GZIP_DEFAULT_LEVEL,
            Compression::Lz4 => LZ4_DEFAULT_LEVEL,
            Compression::Zstd => ZSTD_DEFAULT_LEVEL,
        };
        Self { compression, level }
    }
}

/// The error for compressed data that is damaged.
fn corrupt(compression: Compression, reason: impl fmt::Display) -> RecordError {
    RecordError::Decompression { compression, reason: reason.to_string() }
}

/// Makes `scratch` at least `length` long and gives its first `length` bytes, whatever they hold.
fn sized(scratch: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if scratch.len() < length {
        scratch.resize(length, 0);
    }
    scratch.get_mut(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests;
