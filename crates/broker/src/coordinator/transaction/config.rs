//! The settings of the transaction coordinator.

use std::sync::Arc;
use std::sync::atomic::{AtomicI16, Ordering};

use crate::metadata::features::TRANSACTION_VERSION;
use crate::metadata::image::MetadataImage;

/// The settings of the transaction coordinator.
#[derive(Clone, Debug)]
pub(crate) struct TransactionCoordinatorConfig {
    /// `transaction.max.timeout.ms`: the longest transaction that a producer may ask for. Default 900000.
    pub(crate) max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`: how long an id without transactions is kept. Default seven days.
    pub(crate) id_expiration_ms: i64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`: how often transactions are looked through that took
    /// too long. Default 10000.
    pub(crate) abort_interval_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`: how often ids are looked through that expired.
    /// Default 3600000.
    pub(crate) expiration_interval_ms: i64,
    /// `transaction.two.phase.commit.enable`: whether producers may leave the decision to somebody else. Default false.
    pub(crate) two_phase_commit: bool,
    /// `transaction.state.log.load.buffer.size`: how much of a partition is read at once when it is loaded, bytes.
    /// Default 5242880.
    pub(crate) load_buffer_bytes: usize,
    /// `message.max.bytes`: the most that one batch of tombstones may take. Default 1048588.
    pub(crate) max_batch_bytes: usize,
    /// The cluster's `transaction.version`.
    pub(crate) version: TransactionVersion,
}

#[cfg(test)]
impl Default for TransactionCoordinatorConfig {
    fn default() -> Self {
        crate::config::BrokerConfig::of_defaults().transactions
    }
}

/// The level of the feature `transaction.version`, as the metadata has it now; all copies are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct TransactionVersion(Arc<AtomicI16>);

impl TransactionVersion {
    pub(crate) fn get(&self) -> i16 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes the level that the metadata has; 0 where it has none.
    pub(crate) fn follow(&self, image: &MetadataImage) {
        self.set(image.feature_level(TRANSACTION_VERSION));
    }

    pub(crate) fn set(&self, level: i16) {
        self.0.store(level, Ordering::Relaxed);
    }
}
