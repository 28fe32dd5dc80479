//! The transaction coordinator: the transactions of producers with a transactional id, kept in `__transaction_state`.
//!
//! ```text
//!  InitProducerId      a partition is added        EndTxn, a time-out, another producer of the id
//!      Empty ────────────▶ Ongoing ──────────────▶ PrepareCommit or PrepareAbort
//!        ▲                    ▲                          │ all partitions have their marker
//!        │                    │                          ▼
//!        └── InitProducerId ──┴──────────────── CompleteCommit or CompleteAbort
//! ```
//!
//! An id belongs to the partition that it hashes to. [`shard`] is the state machine of one partition, on the
//! [runtime](super::runtime) of coordinators: operations (`init_producer_id`, `add_partitions`, `end_transaction`, …) change
//! a [`metadata`] and emit it as a record. The end of a transaction is decided when the record of its `Prepare` state is
//! committed: then the client is answered, and the markers are an effect of the shard that [`service`] has written by
//! [`markers`], again and again until all are, and after a restart from the record. So a decision is never taken back, and
//! what a partition or a group makes of the marker is the only thing that readers see of it.
//!
//! There is no state for what is decided and not committed yet, as Kafka has: whoever sees it waits for the commit, too.

mod add_partitions;
mod config;
mod describe;
mod end_transaction;
mod init_producer_id;
mod jobs;
mod markers;
mod metadata;
mod records;
mod service;
mod shard;
mod state;

pub(crate) use config::{TransactionCoordinatorConfig, TransactionVersion};
pub(crate) use init_producer_id::InitProducerId;
pub(crate) use markers::TransactionMarkers;
pub(crate) use metadata::EPOCH_BUMP_VERSION;
pub(crate) use service::{Effects, EndRequest, TransactionCoordinator, TransactionShards, shards};

#[cfg(test)]
mod tests;
