//! The typed DSL: streams, tables, and what lies between them.
//!
//! Every operator has the same forms, with its arguments in the same order:
//!
//! | Form | |
//! |---|---|
//! | `op(args)` | Nothing is chosen; mappers and joiners see values alone. |
//! | `op_with(options, args)` | [Options] come first: a name, a store, serdes; mappers and joiners see the key too. |
//! | `try_op(options, args)` | As `op_with`, with functions that may fail. |
//!
//! Options are one object ([`Named`], [`Grouped`], [`Joined`] …) or a tuple of those the operator knows
//! ([`TableOptions`], [`ProcessorOptions`], [`TransformOptions`]); `()` chooses nothing. What has nothing to choose has no
//! `_with`, what takes no function no `try_`.
//!
//! A name is an option and not a method of the result, for names are made when an operator is described: with one counter
//! for nodes, stores and topics, of which some operators take a number less when they have a name. What a name given
//! afterwards should change, as names of branches, repartition topics and changelogs, would have been told to others by
//! then; and an application must have the JVM's names to go on with its topics.

pub(crate) mod aggregate;
pub(crate) mod cogrouped;
pub(crate) mod global_ktable;
pub(crate) mod grouped;
pub(crate) mod grouped_table;
pub(crate) mod join_windows;
pub(crate) mod kstream;
pub(crate) mod ktable;
pub(crate) mod materialized;
pub(crate) mod options;
pub(crate) mod printed;
pub(crate) mod source;
pub(crate) mod stream_joined;
pub(crate) mod suppressed;
pub(crate) mod table_joined;
pub(crate) mod windowed;
pub(crate) mod windows;

pub use crate::state::StoreSupplier;
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
pub use materialized::{KeyValueStores, Materialized, SessionStores, StoreFamily, StoreType, WindowStores};
pub use options::{Named, Options, ProcessorOptions, TableOptions, TransformOptions};
pub use printed::Printed;
pub use source::Topics;
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

/// The result of a closure that cannot fail.
#[inline]
pub(crate) const fn sure<T>(value: T) -> std::result::Result<T, std::convert::Infallible> {
    Ok(value)
}

/// The error of a fallible closure, on its way to the processing handler.
#[cold]
pub(crate) fn user(error: impl Into<UserError>) -> Box<crate::Error> {
    crate::Error::user(error)
}
