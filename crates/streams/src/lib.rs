//! Kafka Streams as a Rust library: a typed DSL, processors, state stores, and a test driver that needs no broker.
//!
//! An application describes its work with a [`StreamsBuilder`]; the [`Topology`] it builds runs in a
//! [`TopologyTestDriver`], or as [`task::Task`]s that are fed by a runtime. Names, internal topics and the bytes in them
//! are those of Kafka Streams, so that an application can move from the one to the other. This crate knows the protocol
//! by its client alone; tasks read no clock and open no socket.
//!
//! Reading order: [`record`] and [`data`] (what flows), [`serdes`] (its bytes), [`state`] and [`store`] (what is kept), [`task`]
//! (what runs), [`topology`] (what tasks are made from), `builder` and [`dsl`] (what is described), `runtime`.

mod builder;
pub mod config;
pub mod data;
pub mod dsl;
mod error;
mod guard;
pub mod handler;
mod metrics;
mod murmur3;
mod options;
mod processing;
pub mod processor;
pub mod query;
pub mod record;
mod runtime;
pub mod serdes;
pub mod state;
pub mod store;
pub mod task;
mod task_id;
mod test_driver;
pub mod topology;
mod windowed;

pub use builder::StreamsBuilder;
pub use config::{StreamsConfig, StreamsConfigBuilder};
pub use data::{Data, DefaultSerde, Flow, Nullable};
pub use dsl::{
    Branched, BranchedKStream, BufferConfig, CogroupedKStream, Consumed, EmitStrategy, GlobalKTable, Grouped,
    JoinWindows, Joined, KGroupedStream, KGroupedTable, KStream, KTable, Materialized, Named, Printed, Produced,
    Repartitioned, SessionWindowedCogroupedKStream, SessionWindowedKStream, SessionWindows, SlidingWindows,
    StreamJoined, Suppressed, TableJoined, TimeWindowedCogroupedKStream, TimeWindowedKStream, TimeWindows,
    UnlimitedWindows,
};
pub use error::{Error, Left, NotClosed, Result, SerdeError, SerdeOrigin, ThreadLeft};
pub use metrics::GROUPS as METRIC_GROUPS;
pub use processor::{Context, FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, Processor};
pub use record::{AggregationWithHeaders, Change, Header, Headers, Record, ValueAndTimestamp, ValueTimestampHeaders};
pub use runtime::{
    CloseOptions, GroupMembershipOperation, KafkaStreams, LoadedBatch, StandbyUpdateListener, State,
    StateRestoreListener, StreamThreadExceptionResponse, SuspendReason, SuspendedUpdate,
};
pub use serdes::{Json, Serde, SerdeRef};
pub use store::{
    GlobalStoreRef, KeyValueStore, OwnStore, SessionStore, SessionStoreWithHeaders, StateStore, StoreBuilder, StoreRef,
    TimestampedKeyValueStore, TimestampedKeyValueStoreWithHeaders, TimestampedWindowStore,
    TimestampedWindowStoreWithHeaders, VersionedKeyValueStore, VersionedPut, VersionedRecord, WindowStore,
};
pub use task::{Cancellable, PunctuationType};
pub use test_driver::{
    SentRecord, TestInputTopic, TestKeyValueStore, TestOutputTopic, TestRecord, TestWindowStore, TopologyTestDriver,
};
pub use topology::{AutoOffsetReset, StoreInput, Topology, TopologyDescription};
pub use vltava_metrics::{MetricName, MetricValue, Snapshot};
pub use windowed::{Window, Windowed, WindowedKey};
