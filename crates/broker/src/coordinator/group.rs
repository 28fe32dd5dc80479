//! The group coordinator: members of groups and their committed offsets, kept in `__consumer_offsets`.
//!
//! A group belongs to the partition that its id hashes to. [`shard`] is the state machine of one partition, without
//! I/O and without a clock: operations (`join`, `sync`, `offset_commit`, …) emit records and answers, `replay` folds
//! records into the same state after a restart. `service` puts it on the [runtime](super::runtime) of coordinators, which
//! loads the shards from the log, appends their records, lets answers go, and wakes them at their deadlines.
//!
//! Served are the classic protocol (`classic`) and the consumer protocol of KIP-848 (`consumer`); a group changes from
//! one to the other when it has no members. Streams groups of KIP-1071 (`streams`) come from empty classic groups and
//! become such. What those two have in common is in `modern`. Share groups (KIP-932) are not served; their records, left
//! by another broker, are passed over when a partition is loaded.

mod classic;
mod classic_records;
mod config;
mod consumer;
mod describe;
mod join;
mod kind;
mod member;
mod modern;
mod offset_commit;
mod offset_fetch;
mod offsets;
mod rebalance;
mod records;
mod records_of_members;
mod service;
mod shard;
mod streams;
mod sync;
mod timer_key;
mod transactional_commit;

pub(crate) use config::{ConsumerGroupConfig, DynamicGroupSettings, GroupCoordinatorConfig, StreamsGroupConfig};
pub(crate) use consumer::TopicMetadata;
pub(crate) use service::GroupCoordinator;
#[cfg(test)]
pub(crate) use shard::GroupCoordinatorShard;
pub(crate) use shard::{Caller, GroupCounts};
pub(crate) use streams::{InternalTopic, StatusCode, StreamsHeartbeat};

#[cfg(test)]
mod tests;
