use super::{BATCH_OVERHEAD, Compression};
use crate::ErrorCode;

/// What can be wrong with a record batch, or with a request to build one.
///
/// None is retriable: the same bytes fail again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The bytes end before the batch does.
    #[error("record batch of {needed} bytes is truncated to {available} bytes")]
    Truncated {
        /// Size of the whole batch, or of its header where not even that is there.
        needed: usize,
        /// Bytes that are there.
        available: usize,
    },
    /// The length field is smaller than a header.
    #[error("record batch of {size} bytes is smaller than its header of {BATCH_OVERHEAD} bytes")]
    BatchTooSmall {
        /// Size by the length field, header included.
        size: i64,
    },
    /// A message set of Kafka 0.10 or older.
    #[error("message set with magic {magic} is older than record batch v2 and is not supported")]
    UnsupportedMagic {
        /// 0 or 1.
        magic: i8,
    },
    /// A magic that no version of Kafka has.
    #[error("invalid magic {magic} in record batch")]
    InvalidMagic {
        /// The magic found.
        magic: i8,
    },
    /// Compression bits in the attributes that name no codec.
    #[error("unknown compression type id {id}")]
    UnknownCompression {
        /// The id found.
        id: u8,
    },
    /// A compression name that Kafka does not have.
    #[error("unknown compression name {name:?}, expected none, gzip, snappy, lz4 or zstd")]
    UnknownCompressionName {
        /// The name given.
        name: String,
    },
    /// A level that the codec does not have.
    #[error("invalid {compression} compression level {level}: must be {range}")]
    InvalidCompressionLevel {
        /// The codec.
        compression: Compression,
        /// The level given.
        level: i32,
        /// The levels allowed, in words.
        range: &'static str,
    },
    /// The stored CRC-32C is not that of the bytes.
    #[error("record batch is corrupt: stored crc {stored}, computed crc {computed}")]
    CrcMismatch {
        /// The CRC in the header.
        stored: u32,
        /// The CRC of the bytes from the attributes on.
        computed: u32,
    },
    /// The header counts a negative number of records.
    #[error("invalid record count {count} in record batch")]
    InvalidRecordCount {
        /// The count found.
        count: i32,
    },
    /// A record does not parse.
    #[error("invalid record {index} of the batch: {reason}")]
    InvalidRecord {
        /// Its position in the batch, from 0.
        index: i32,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Bytes are left after the last record that the header counts.
    #[error("{remaining} bytes remain in the batch after its {count} records")]
    TrailingBytes {
        /// Bytes left.
        remaining: usize,
        /// Records that the header counts.
        count: i32,
    },
    /// The compressed records do not decompress.
    #[error("{compression} data is corrupt: {reason}")]
    Decompression {
        /// The codec.
        compression: Compression,
        /// What is wrong with the data.
        reason: String,
    },
    /// The records decompress to more than the limit of the decompressor.
    #[error("records decompress to more than the limit of {limit} bytes")]
    DecompressedTooLarge {
        /// The limit.
        limit: usize,
    },
    /// A codec failed to compress.
    #[error("{compression} failed to compress: {reason}")]
    Compression {
        /// The codec.
        compression: Compression,
        /// What the codec says.
        reason: String,
    },
    /// A record, or a batch with it, is larger than a batch can say (2 GiB).
    #[error("record of {size} bytes does not fit into a batch")]
    RecordTooLarge {
        /// Size of the record.
        size: u64,
    },
    /// A record's offset is before the base offset or before its predecessor's, or too far from
    /// the base offset.
    #[error("offset {offset} does not follow in a batch with base offset {base_offset}")]
    InvalidOffset {
        /// The offset given.
        offset: i64,
        /// Base offset of the batch.
        base_offset: i64,
    },
    /// A negative timestamp other than -1.
    #[error("invalid record timestamp {timestamp}: must be >= 0, or -1 for none")]
    InvalidTimestamp {
        /// The timestamp given.
        timestamp: i64,
    },
    /// Producer id, epoch and sequence that do not go together.
    #[error("invalid producer state: {reason}")]
    InvalidProducerState {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A batch without records was to be built.
    #[error("a record batch without records cannot be built")]
    EmptyBatch,
    /// A control record whose key or value does not parse.
    #[error("invalid control record: {reason}")]
    InvalidControlRecord {
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl RecordError {
    /// Whether the same operation may succeed when tried again: never.
    pub fn is_retriable(&self) -> bool {
        false
    }

    /// The code with which Kafka's broker answers a request that has such a batch.
    ///
    /// Only what can have happened on the way is CORRUPT_MESSAGE: a producer sends that again until its delivery
    /// time-out. What the producer made wrong itself, and would send the same again, is final. Kafka has no code of its
    /// own for compressed data that does not decompress, and answers UNKNOWN_SERVER_ERROR.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Truncated { .. }
            | Self::BatchTooSmall { .. }
            | Self::InvalidMagic { .. }
            | Self::CrcMismatch { .. } => ErrorCode::CorruptMessage,
            Self::Decompression { .. } | Self::UnknownCompression { .. } => ErrorCode::UnknownServerError,
            Self::DecompressedTooLarge { .. } | Self::RecordTooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::InvalidTimestamp { .. } => ErrorCode::InvalidTimestamp,
            Self::UnsupportedMagic { .. } => ErrorCode::UnsupportedForMessageFormat,
            Self::UnknownCompressionName { .. } | Self::InvalidCompressionLevel { .. } => {
                ErrorCode::UnsupportedCompressionType
            }
            Self::InvalidRecordCount { .. }
            | Self::InvalidRecord { .. }
            | Self::TrailingBytes { .. }
            | Self::Compression { .. }
            | Self::InvalidOffset { .. }
            | Self::InvalidProducerState { .. }
            | Self::EmptyBatch
            | Self::InvalidControlRecord { .. } => ErrorCode::InvalidRecord,
        }
    }
}
