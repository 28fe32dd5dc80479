//! One partition's log on disk, in Kafka's own formats, and the directory of many of them.
//!
//! A [`Log`] appends record batches, reads them by offset or timestamp, rolls segments, applies retention, truncates,
//! keeps the state of producers and transactions, and recovers after a crash. A [`LogManager`](manager::LogManager)
//! holds the logs of one directory. Everything here is synchronous file work driven by a clock that the caller
//! passes in: no network, no async, no thread that outlives a call.
//!
//! What is acknowledged by [`Log::append_as_leader`] is in the operating system's page cache: it survives a kill of
//! the process. As in Kafka, fsync happens when a segment is rolled, on `flush.messages` and `flush.ms`, and at a
//! clean stop.
//!
//! Reading is in two steps so that the log's lock is held for neither long nor disk: [`Log::read`] plans a read under
//! the lock, [`ReadPlan::read`] does it without.

mod append;
mod batch;
pub mod checkpoint;
mod cleaner;
mod config;
mod dynamic;
mod error;
mod file;
mod file_names;
mod index;
mod leader_epoch;
mod log;
mod log_dir;
mod log_offset;
pub mod manager;
mod now;
mod offset_index;
mod open_file;
mod producer_state;
mod segment;
#[cfg(test)]
mod testing;
mod time_index;
mod topic_partition;
mod transaction_index;
mod verify;

pub use append::{AppendContext, AppendOrigin, Appender, PreparedAppend};
pub use cleaner::{CleanerSettings, CleanerStats, Pace};
pub use config::{BrokerCompression, LogConfig, MessageTimestampType, TOPIC_SETTINGS};
pub use dynamic::DynamicLogSettings;
pub use error::{LogError, RecordError, Result};
pub use leader_epoch::{EpochEntry, LeaderEpochCache};
pub use log::{
    AppendInfo, FetchIsolation, FlushPlan, Log, LogOptions, LogStartOffsetIncrementReason, ReadPlan, RecoveryReport,
    TimestampAndOffset, TimestampQuery,
};
pub use log_dir::{FailureListener, FlushListener, LogDir};
pub use log_offset::LogOffsetMetadata;
pub use now::Now;
pub use producer_state::{ProducerStateEntry, TransactionStart, VerificationGuard, read_producer_snapshot};
pub use topic_partition::TopicPartition;
pub use transaction_index::{AbortedTransaction, read_transaction_index};
pub use verify::{Damage, find_damage};
