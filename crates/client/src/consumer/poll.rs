//! `poll`: one step after the other until there is something to return.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Consumer;
use super::inner::{Inner, State, Task};
use super::membership::classic::Step;
use super::offset_commit::Completion;
use super::records::ConsumerRecords;
use crate::ClientError;

/// What `poll` does next.
enum Next {
    Records(ConsumerRecords),
    Fail(ClientError),
    Task(Task),
    Completions(Vec<Completion>),
    /// Nothing until something happens.
    Wait,
}

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
        // A timeout that reaches beyond time is one that does not end.
        let deadline = started.checked_add(timeout);
        let mut now = started;
        loop {
            if inner.woken.swap(false, Ordering::AcqRel) {
                return Err(ClientError::Wakeup);
            }
            let may_wait = deadline.is_none_or(|at| now < at);
            match inner.step(now, may_wait) {
                Next::Records(records) => return Ok(records),
                Next::Fail(error) => return Err(error),
                Next::Task(task) => self.run_task(task).await,
                Next::Completions(completions) => {
                    for completion in completions {
                        (completion.callback)(&completion.offsets, completion.result);
                    }
                }
                Next::Wait => {
                    if !may_wait {
                        return Ok(ConsumerRecords::default());
                    }
                    let changed = inner.changed.notified();
                    match deadline.into_iter().chain(inner.next_step_at()).min() {
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

impl Inner {
    /// When the membership can go on without anything happening.
    fn next_step_at(&self) -> Option<Instant> {
        let state = self.state.lock();
        let prepare = state.prepare_deadline;
        let membership = state.membership.as_ref().filter(|_| state.subscription.is_subscribed());
        [prepare, membership.and_then(|m| m.next_deadline())].into_iter().flatten().min()
    }

    fn step(self: &Arc<Self>, now: Instant, may_wait: bool) -> Next {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.subscription.is_idle() {
            return Next::Fail(ClientError::state("the consumer is not subscribed to topics or assigned partitions"));
        }
        if let Some(error) = self.cluster.fatal() {
            return Next::Fail(error);
        }
        if let Some(fenced) = &state.commits.fenced {
            return Next::Fail(fenced.clone());
        }
        if !state.commits.completions.is_empty() {
            return Next::Completions(state.commits.completions.drain(..).collect());
        }
        self.take_metadata(state);
        if state.subscription.is_subscribed() && state.tasks.is_empty() {
            if let Some(error) = state.task_error.take() {
                return Next::Fail(error);
            }
            if let Err(error) = self.step_membership(state, now) {
                return Next::Fail(error);
            }
        }
        if let Some(task) = state.tasks.pop_front() {
            return Next::Task(task);
        }
        if let Some(error) = state.errors.pop_front() {
            return Next::Fail(error);
        }
        self.maybe_auto_commit(state, now);
        let State { fetcher, subscription, .. } = state;
        let collected = fetcher.collect(subscription);
        state.fetch_wanted |= state.fetcher.take_made_room();
        match collected {
            Ok(records) if !records.partitions().is_empty() => {
                if state.fetch_wanted {
                    self.drive(state, now);
                }
                Next::Records(records)
            }
            Ok(_) => {
                if may_wait {
                    state.fetcher.on_wait(now, &state.subscription);
                }
                self.drive(state, now);
                Next::Wait
            }
            Err(error) => Next::Fail(error),
        }
    }

    /// Lets the membership go on, as far as that needs `poll`.
    fn step_membership(self: &Arc<Self>, state: &mut State, now: Instant) -> Result<(), ClientError> {
        let topics = state.subscription.subscription();
        // A pattern means nothing before the topics are known.
        let unknown = state.subscription.has_pattern() && state.metadata_version == 0;
        let Some(membership) = state.membership.as_mut().filter(|_| !unknown) else { return Ok(()) };
        membership.polled(now);
        if state.joined_topics.as_ref().is_some_and(|joined| *joined != topics) {
            membership.request_rejoin_if_necessary("subscription has changed");
        }
        let step = membership.next_step(now);
        let result = match step {
            Step::Wait | Step::Stable => Ok(()),
            Step::Prepare { lost } => {
                self.prepare_join(state, lost, now);
                Ok(())
            }
            Step::Join => {
                state.tasks.push_back(Task::Join);
                Ok(())
            }
            Step::Assign { protocol, members, skip } => {
                state.tasks.push_back(Task::Assign { protocol, members, skip });
                Ok(())
            }
            Step::Complete { generation, assignment } => self.complete_join(state, &generation, &assignment, now),
            Step::Fail(error) => Err(error),
        };
        self.send_group_requests(state);
        result
    }
}
