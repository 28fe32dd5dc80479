//! One partition of a coordinator without tasks and clocks, for simulations: everything happens when it is called.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use vltava_log::VerificationGuard;
use vltava_protocol::record::ProducerState;

use super::context::{CoordinatorContext, Outcome, Pending};
use super::{RuntimeConfig, Shared};
use crate::coordinator::log::CoordinatorLog;
use crate::coordinator::record::RecordBytes;
use crate::coordinator::shard::{Now, Shard};
use crate::partition::EndTransaction;

/// The partition, always 0.
const PARTITION: i32 = 0;

/// Effects that were given out, with the leader epochs they were of.
type Performed<E> = Arc<Mutex<Vec<(i32, E)>>>;

/// A partition of a coordinator, and the effects that it gave out.
pub(in crate::coordinator) struct ByHand<S: Shard> {
    context: CoordinatorContext<S>,
    shared: Arc<Shared<S>>,
    performed: Performed<S::Effect>,
}

impl<S: Shard> ByHand<S> {
    /// Makes a partition that is not loaded.
    pub(in crate::coordinator) fn new(
        config: RuntimeConfig,
        shard_config: Arc<S::Config>,
        log: Arc<dyn CoordinatorLog>,
    ) -> Self {
        let performed: Performed<S::Effect> = Arc::default();
        let perform = {
            let performed = Arc::clone(&performed);
            Box::new(move |leader_epoch, effect| performed.lock().push((leader_epoch, effect)))
        };
        let shared = Arc::new(Shared { config, shard_config, log, perform });
        let context = CoordinatorContext::new(shared.clone(), PARTITION, Arc::new(Notify::new()));
        Self { context, shared, performed }
    }

    /// Starts the process anew, on the same log.
    pub(in crate::coordinator) fn restart(&mut self) {
        self.context = CoordinatorContext::new(self.shared.clone(), PARTITION, Arc::new(Notify::new()));
        self.performed.lock().clear();
    }

    /// Loads the shard, if that is to be done.
    pub(in crate::coordinator) fn load(&mut self, now: Now) {
        if let Ok(Some(load)) = self.context.begin_load() {
            let loaded = load.replay(0);
            self.context.finish_load(&load, loaded, now);
        }
    }

    pub(in crate::coordinator) fn run<T>(&mut self, now: Now, operation: impl FnOnce(&mut S, Now) -> T) -> Outcome<T> {
        self.context.run(now, operation)
    }

    pub(in crate::coordinator) fn run_transactional<T>(
        &mut self,
        now: Now,
        producer: ProducerState,
        operation: impl FnOnce(&S, Now) -> (T, Vec<(RecordBytes, S::Record)>),
    ) -> Outcome<T> {
        self.context.run_transactional(now, producer, VerificationGuard::SENTINEL, operation)
    }

    pub(in crate::coordinator) fn end_transaction(&mut self, now: Now, end: &EndTransaction) -> Outcome<()> {
        self.context.end_transaction(now, end)
    }

    pub(in crate::coordinator) fn advance(&mut self, now: Now) {
        self.context.advance(now);
    }

    pub(in crate::coordinator) fn next_deadline(&self) -> Option<i64> {
        self.context.next_deadline()
    }

    pub(in crate::coordinator) fn take_effects(&mut self) -> Vec<(i32, S::Effect)> {
        std::mem::take(&mut *self.performed.lock())
    }

    /// The shard that is served, if one is.
    pub(in crate::coordinator) fn shard(&mut self) -> Option<&S> {
        self.context.shard()
    }
}

/// Whether what an operation gave may be told: none while it is not known.
pub(in crate::coordinator) fn is_committed(pending: &mut Pending<()>) -> Option<bool> {
    use tokio::sync::oneshot::error::TryRecvError;
    match pending.try_recv() {
        Ok(told) => Some(told.is_ok()),
        Err(TryRecvError::Empty) => None,
        Err(TryRecvError::Closed) => Some(false),
    }
}

/// What has to be waited for before a value may be told.
pub(in crate::coordinator) type Commit = Pending<()>;
