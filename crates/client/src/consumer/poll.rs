//! `poll`: one step after the other until there is something to return.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Consumer;
use super::core::{Completion, Core, Next};
use super::records::ConsumerRecords;
use crate::ClientError;

/// Only one `poll` at a time.
struct Guard<'a>(&'a AtomicBool);

impl<'a> Guard<'a> {
    fn enter(flag: &'a AtomicBool) -> Result<Self, ClientError> {
        if flag.swap(true, Ordering::AcqRel) {
            return Err(ClientError::state("the consumer is polled or closed by another task already"));
        }
        Ok(Self(flag))
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Consumer {
    pub(super) async fn poll_until(&self, timeout: Duration) -> Result<ConsumerRecords, ClientError> {
        let inner = self.inner();
        inner.check_open()?;
        let _guard = Guard::enter(&inner.polling)?;
        let started = Instant::now();
        let since_last = inner.metrics.poll_begun(started);
        let result = self.poll_from(started, timeout).await;
        inner.metrics.poll_ended(started, since_last, Instant::now());
        result
    }

    async fn poll_from(&self, started: Instant, timeout: Duration) -> Result<ConsumerRecords, ClientError> {
        let inner = self.inner();
        // A timeout that reaches beyond time is one that does not end.
        let deadline = started.checked_add(timeout);
        let mut now = started;
        loop {
            if inner.woken.swap(false, Ordering::AcqRel) {
                return Err(ClientError::Wakeup);
            }
            let may_wait = deadline.is_none_or(|at| now < at);
            if let Some(error) = inner.cluster.fatal()
                && !inner.read(Core::is_idle)
            {
                return Err(error);
            }
            match inner.turn(|core, now| core.step(now, may_wait)) {
                Next::Records(records) => return Ok(records),
                Next::Fail(error) => return Err(error),
                Next::Task(task) => self.run_task(task).await,
                Next::Completions(completions) => completions.into_iter().for_each(Completion::call),
                Next::Again => {}
                Next::Wait => {
                    if !may_wait {
                        return Ok(ConsumerRecords::default());
                    }
                    let changed = inner.changed.notified();
                    match deadline.into_iter().chain(inner.read(Core::next_step_at)).min() {
                        Some(until) => {
                            // Either is a reason to look again.
                            let _ = tokio::time::timeout_at(until.into(), changed).await;
                        }
                        None => changed.await,
                    }
                }
            }
            inner.check_open()?;
            now = Instant::now();
        }
    }

    /// Keeps `poll` out while the consumer is closed or unsubscribed.
    pub(super) fn exclude_poll(&self) -> Result<impl Drop + '_, ClientError> {
        Guard::enter(&self.inner().polling)
    }
}
