//! The runtime: a topology's tasks on threads of this process, fed by consumers and writing through producers.
//!
//! In reading order: [`KafkaStreams`] (what an application starts and closes), `setup` and `internal_topics` (what must
//! be there before the first record), `assignor` (who runs which task), `thread` (the loop), `task_manager` (a thread's
//! tasks: made, restored, committed, closed), `collector` (where they write), `directory` (where their stores are).
//!
//! A thread is an operating-system thread; the sockets of its clients live on one small tokio runtime of the process,
//! or of the application. The tasks themselves know of none of this: see [`crate::task`].

mod assignor;
mod background;
mod callbacks;
mod caught_up;
mod changelog_ids;
mod clients;
mod close_options;
mod closing;
mod cluster;
mod collector;
mod directory;
mod failures;
mod global;
mod internal_topics;
mod kafka_streams;
mod metrics;
mod offset_metadata;
mod offset_sum;
mod pausing;
mod queries;
mod records;
mod refusal;
mod replacing;
mod resets;
mod restore;
mod setup;
mod standby_listener;
mod state;
mod streams_group;
mod summary;
mod task_manager;
mod thread;
mod thread_producer;
mod threads;
mod verdict;
mod wait;

pub use close_options::{CloseOptions, GroupMembershipOperation};
pub use kafka_streams::{KafkaStreams, StreamThreadExceptionResponse};
pub use restore::StateRestoreListener;
pub use standby_listener::{LoadedBatch, StandbyUpdateListener, SuspendReason, SuspendedUpdate};
pub use state::State;
