//! Settings of all logs of a broker that may change while it runs.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

/// Settings that the logs of a broker share and look at whenever they matter (KIP-226). Each stands for itself: a reader may
/// see one that is new beside one that is old.
#[derive(Debug)]
pub struct DynamicLogSettings {
    producer_id_expiration_ms: AtomicI64,
    verifies_transactions: AtomicBool,
    recovery_threads: AtomicUsize,
}

impl Default for DynamicLogSettings {
    /// Kafka's.
    fn default() -> Self {
        Self {
            producer_id_expiration_ms: AtomicI64::new(24 * 60 * 60 * 1000),
            verifies_transactions: AtomicBool::new(true),
            recovery_threads: AtomicUsize::new(2),
        }
    }
}

impl DynamicLogSettings {
    /// `producer.id.expiration.ms`: a producer that writes nothing for this long is forgotten, in ms. Default 1 day.
    pub fn producer_id_expiration_ms(&self) -> i64 {
        self.producer_id_expiration_ms.load(Ordering::Relaxed)
    }

    /// From now on producers are kept for this long, in ms.
    pub fn set_producer_id_expiration_ms(&self, ms: i64) {
        self.producer_id_expiration_ms.store(ms, Ordering::Relaxed);
    }

    /// `transaction.partition.verification.enable`: whether a transactional batch is refused of which the transaction was
    /// not asked for. Default true.
    pub fn verifies_transactions(&self) -> bool {
        self.verifies_transactions.load(Ordering::Relaxed)
    }

    /// From now on transactions are asked for, or not.
    pub fn set_verifies_transactions(&self, verifies: bool) {
        self.verifies_transactions.store(verifies, Ordering::Relaxed);
    }

    /// `num.recovery.threads.per.data.dir`: how many logs of a directory are opened, recovered or closed at a time. Default
    /// 2.
    pub fn recovery_threads(&self) -> usize {
        self.recovery_threads.load(Ordering::Relaxed)
    }

    /// From now on this many logs of a directory are opened, recovered or closed at a time; 0 is as good as 1.
    pub fn set_recovery_threads(&self, threads: usize) {
        self.recovery_threads.store(threads, Ordering::Relaxed);
    }
}
