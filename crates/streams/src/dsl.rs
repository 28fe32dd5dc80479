//! The typed DSL: streams, tables, and what lies between them.

pub(crate) mod aggregate;
pub(crate) mod cogrouped;
pub(crate) mod global_ktable;
pub(crate) mod grouped;
pub(crate) mod grouped_table;
pub(crate) mod join_windows;
pub(crate) mod kstream;
pub(crate) mod ktable;
pub(crate) mod materialized;
pub(crate) mod printed;
pub(crate) mod source;
pub(crate) mod stream_joined;
pub(crate) mod suppressed;
pub(crate) mod table_joined;
pub(crate) mod windowed;
pub(crate) mod windows;

pub use cogrouped::CogroupedKStream;
pub use global_ktable::GlobalKTable;
pub use grouped::KGroupedStream;
pub use grouped_table::KGroupedTable;
pub use join_windows::JoinWindows;
pub use kstream::{
    KStream,
    split::{Branched, BranchedKStream},
};
pub use ktable::{KTable, TransformerContext, ValueTransformerWithKey};
pub use materialized::{
    KeyValueStores, Materialized, SessionStores, StoreFamily, StoreSupplier, StoreType, WindowStores,
};
pub use printed::Printed;
pub use stream_joined::StreamJoined;
pub use suppressed::{BufferConfig, Eager, Strict, SuppressUntil, Suppressed, TimeLimit, WindowCloses};
pub use table_joined::TableJoined;
pub use windowed::{
    SessionWindowedCogroupedKStream, SessionWindowedKStream, TimeWindowedCogroupedKStream, TimeWindowedKStream,
    TimeWindowsOf,
};
pub use windows::{EmitStrategy, SessionWindows, SlidingWindows, TimeWindows, UnlimitedWindows};

pub use crate::{
    options::{Consumed, Grouped, Joined, Produced, Repartitioned},
    processing::{RecordMetadata, StreamPartitioner, TopicNameExtractor},
};

/// What application code may return as its error.
pub(crate) type UserError = Box<dyn std::error::Error + Send + Sync>;

/// The error of a fallible closure, on its way to the processing handler.
#[cold]
pub(crate) fn user(error: impl Into<UserError>) -> Box<crate::Error> {
    crate::Error::user(error)
}
