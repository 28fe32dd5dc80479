//! Record batches (magic 2): what producers send, logs store and consumers fetch.
//!
//! A batch is a 61-byte header followed by records that may be compressed as a whole. The types
//! here follow that shape, and none of them copies a record:
//!
//! - [`RecordBatches`] walks concatenated batches by their headers alone.
//! - [`RecordBatch`] is one batch, a view over [`Bytes`](bytes::Bytes); [`RecordBatchHeader`] is
//!   its header, also readable from the first 61 bytes of a batch in a file.
//! - [`RecordBatch::records`] gives [`RecordView`]s that borrow from the batch, or from the scratch
//!   buffer of a [`Decompressor`]; [`RecordBatch::decode`] gives a [`DecodedBatch`] that owns its
//!   decompressed bytes, whose records can outlive it as [`OwnedRecord`]s without a copy.
//! - [`RecordBatch::outlines`] gives [`RecordOutline`]s, without keys and values, and holds little of
//!   a large batch in memory.
//! - [`RecordBatchBuilder`] writes records in place into one buffer and closes it as a batch.
//! - [`BatchPatch`] changes the header fields that a broker or a producer sets after the fact.
//! - [`validate`] is what a leader does with a produced batch before it appends it.
//! - [`control`] is the records that Kafka writes itself, [`partition_for_key`] the default
//!   partitioner's hash.
//!
//! Sizes are bytes, timestamps are milliseconds since the epoch, offsets are absolute unless
//! called relative. Message sets older than batch v2 (magic 0 and 1) are refused with
//! [`RecordError::UnsupportedMagic`].

mod attributes;
mod batch;
mod batches;
mod builder;
mod compression;
pub mod control;
mod crc;
mod decoded;
mod error;
mod estimator;
mod header;
mod murmur2;
mod outline;
mod patch;
mod producer_state;
mod records;
mod scan;
pub mod validate;
mod varint;
mod view;

pub use attributes::{Attributes, TimestampType};
pub use batch::RecordBatch;
pub use batches::RecordBatches;
pub use builder::RecordBatchBuilder;
pub use compression::{Codec, Compression, Compressor, Decompressor};
pub use decoded::{DecodedBatch, OwnedRecord, OwnedRecords};
pub use error::RecordError;
pub use estimator::CompressionRatioEstimator;
pub use header::RecordBatchHeader;
pub use murmur2::{murmur2, partition_for_key};
pub use outline::{RecordOutline, RecordOutlines};
pub use patch::BatchPatch;
pub use producer_state::{ProducerState, decrement_sequence, increment_sequence};
pub use records::Records;
pub use scan::{RecordScanner, RecordSpan};
pub use varint::{put_varint, split_varint};
pub use view::{HeaderView, Headers, RecordView};

/// The only magic (format version) that is read and written: record batch v2.
pub const MAGIC_V2: i8 = 2;

/// Size of a batch's header, the bytes in front of its records.
pub const BATCH_OVERHEAD: usize = 61;

/// Size of the base offset and length fields in front of every batch of every version; the length
/// field does not count them.
pub const LOG_OVERHEAD: usize = 12;

/// A timestamp that is not there.
pub const NO_TIMESTAMP: i64 = -1;

/// The producer id of a batch without one.
pub const NO_PRODUCER_ID: i64 = -1;

/// The producer epoch of a batch without a producer id.
pub const NO_PRODUCER_EPOCH: i16 = -1;

/// The base sequence of a batch without one.
pub const NO_SEQUENCE: i32 = -1;

/// The leader epoch of a batch that no leader has appended.
pub const NO_PARTITION_LEADER_EPOCH: i32 = -1;

#[cfg(test)]
mod tests;
