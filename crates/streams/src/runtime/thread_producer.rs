//! The producer of a thread, and where it is in its transaction.
//!
//! At least once it is one producer for the thread's life. Exactly once it is one as long as it knows where its
//! transactions stand: where an abort fails, or the end of a commit is not known, another one of the same
//! `transactional.id` takes its place, and what was open is ended before that can begin.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use vltava_client::{
    ClientError, Producer, ProducerConfig,
    consumer::{ConsumerGroupMetadata, Offsets},
};
use vltava_metrics::Snapshot;

use super::wait::{block_on, wait};
use crate::config::Guarantee;

/// How long an abort is waited for before the producer is replaced, which ends the transaction too.
const ABORT: Duration = Duration::from_secs(10);
/// How long one attempt to make the producer ready may take.
const READY: Duration = Duration::from_secs(10);

/// Between two transactions.
const NONE: u64 = 0;
/// At least once everything is given outside of transactions, and that never ends.
const NEVER_ENDS: u64 = u64::MAX;

/// Shared by a thread and the collectors of its tasks.
pub(super) struct ThreadProducer {
    guarantee: Guarantee,
    settings: ProducerConfig,
    current: Mutex<Producer>,
    /// Whether the current one may begin transactions.
    is_ready: AtomicBool,
    /// The number of the transaction that is open, or [`NONE`].
    transaction: AtomicU64,
    /// That of the last one.
    last: AtomicU64,
    /// When that began.
    begun: Mutex<Instant>,
    /// Why none could be begun since the last abort: not every record has to wait for that.
    failure: Mutex<Option<ClientError>>,
}

impl fmt::Debug for ThreadProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadProducer").field("transaction", &self.transaction).finish_non_exhaustive()
    }
}

impl ThreadProducer {
    /// Within the tokio runtime's context. Connects to nobody yet.
    pub(super) fn new(guarantee: Guarantee, settings: ProducerConfig) -> Result<Arc<Self>, ClientError> {
        let transaction = match guarantee {
            Guarantee::AtLeastOnce => NEVER_ENDS,
            Guarantee::ExactlyOnce => NONE,
        };
        Ok(Arc::new(ThreadProducer {
            guarantee,
            current: Mutex::new(Producer::new(settings.clone())?),
            settings,
            is_ready: AtomicBool::new(guarantee == Guarantee::AtLeastOnce),
            transaction: AtomicU64::new(transaction),
            last: AtomicU64::new(NONE),
            begun: Mutex::new(Instant::now()),
            failure: Mutex::default(),
        }))
    }

    pub(super) fn is_exactly_once(&self) -> bool {
        self.guarantee == Guarantee::ExactlyOnce
    }

    /// The producer as it is now.
    pub(super) fn get(&self) -> Producer {
        self.current.lock().clone()
    }

    /// What the producer has counted.
    pub(super) fn metrics(&self) -> Snapshot {
        self.get().metrics()
    }

    /// The number of the transaction that is open, which changes with the producer, and is never [`None`] at least once.
    /// It costs a load per record.
    #[inline]
    pub(super) fn transaction(&self) -> Option<u64> {
        Some(self.transaction.load(Ordering::Relaxed)).filter(|number| *number != NONE)
    }

    pub(super) fn is_in_transaction(&self) -> bool {
        self.is_exactly_once() && self.transaction().is_some()
    }

    /// Whether a transaction has been open for that long, or for half of `transaction.timeout.ms`: at the end of that the
    /// coordinator aborts it and fences the producer.
    pub(super) fn is_open_for(&self, time: Duration) -> bool {
        let most = time.min(self.settings.transaction_timeout() / 2);
        self.is_in_transaction() && self.begun.lock().elapsed() >= most
    }

    /// Ends what a producer before this one has left open, if that was not done yet: offsets and changelogs that are read
    /// after it have all that the thread has committed, and never more.
    ///
    /// # Errors
    /// As [`Producer::init_transactions`]; a time-out may pass.
    pub(super) fn make_ready(&self) -> Result<(), ClientError> {
        if self.is_ready.load(Ordering::Relaxed) {
            return Ok(());
        }
        let producer = self.get();
        let timed_out = |_| ClientError::Timeout { what: "beginning with transactions".into(), after: READY };
        // What is not over goes on, and is waited for by the next attempt.
        let ready = async { tokio::time::timeout(READY, producer.init_transactions()).await.map_err(timed_out)? };
        wait(ready)?;
        self.is_ready.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Begins a transaction, which the next records belong to.
    ///
    /// # Errors
    /// If the producer cannot be made ready, or has failed.
    #[cold]
    pub(super) fn begin(&self) -> Result<u64, ClientError> {
        if let Some(error) = &*self.failure.lock() {
            return Err(error.clone());
        }
        let begun = self.make_ready().and_then(|()| wait(self.get().begin_transaction()));
        match begun {
            Ok(transaction) => transaction.detach(),
            Err(error) => {
                *self.failure.lock() = Some(error.clone());
                return Err(error);
            }
        }
        *self.begun.lock() = Instant::now();
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.transaction.store(number, Ordering::Relaxed);
        Ok(number)
    }

    /// Commits what was written and these offsets, as one. Nothing is done where there is neither.
    ///
    /// # Errors
    /// Whatever it is, the transaction is to be [aborted](Self::abort). It may be committed all the same where that is not
    /// said otherwise.
    pub(super) fn commit(&self, offsets: Offsets, group: &ConsumerGroupMetadata) -> Result<(), ClientError> {
        if !self.is_in_transaction() {
            if offsets.is_empty() {
                return Ok(());
            }
            self.begin()?;
        }
        let producer = self.get();
        wait(async {
            producer.send_offsets_to_transaction(offsets, group).await?;
            producer.commit_transaction().await
        })?;
        self.transaction.store(NONE, Ordering::Relaxed);
        Ok(())
    }

    /// Nothing of what was written since the last commit will be committed; unless it is already, which is not always known.
    pub(super) fn abort(&self) {
        let failure = self.failure.lock().take();
        if failure.is_some_and(|error| !error.is_retriable()) {
            return self.replace();
        }
        if !self.is_in_transaction() {
            return;
        }
        self.transaction.store(NONE, Ordering::Relaxed);
        let producer = self.get();
        let aborted = wait(async {
            let timed_out = |_| ClientError::Timeout { what: "aborting a transaction".into(), after: ABORT };
            tokio::time::timeout(ABORT, producer.abort_transaction()).await.map_err(timed_out)?
        });
        if let Err(error) = aborted {
            tracing::info!("a transaction is left to the thread's next producer, which ends it: {error}");
            self.replace();
        }
    }

    /// Another producer takes the place of the current one, of which nothing is waited for.
    fn replace(&self) {
        self.is_ready.store(false, Ordering::Relaxed);
        self.transaction.store(NONE, Ordering::Relaxed);
        let mut current = self.current.lock();
        current.discard_all();
        match Producer::new(self.settings.clone()) {
            Ok(next) => {
                let last = std::mem::replace(&mut *current, next);
                let closed = async move {
                    if let Err(error) = last.close(Duration::ZERO).await {
                        tracing::debug!("closing a producer that was replaced: {error}");
                    }
                };
                tokio::spawn(closed);
            }
            // The one that is there tells its failure again to whoever wants to begin a transaction.
            Err(error) => tracing::warn!("another producer cannot be made: {error}"),
        }
    }

    /// Waits for what is still to be sent, at least once; what is in a transaction is aborted.
    pub(super) fn close(&self, patience: Duration) -> Result<(), ClientError> {
        let producer = self.get();
        block_on(producer.close(patience))
    }
}
