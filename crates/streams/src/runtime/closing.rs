//! Closing: a request that every wait of the application's threads sees, and what came of it.
//!
//! ```text
//! close(timeout)    request ──────────── commit ── clients ── timeout
//! waits for work    end at once
//! flush, commit     go on until ─────────┘
//! the clients' last words until ──────────────────┘
//! ```
//!
//! Whoever asks last may only give more time, for whoever waits longer wants the commit more.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    close_options::{CloseOptions, GroupMembershipOperation},
    kafka_streams::{KafkaStreams, Shared},
    state::State,
    wait::{Cut, Within, block_on},
};
use crate::error::{Error, Left, NotClosed, Result, ThreadLeft};

/// What the threads may take where nobody waits for them: the application was dropped, has failed, or was asked to close
/// without waiting.
const IN_BACKGROUND: Duration = Duration::from_secs(30);

/// What a drop waits at most, where waiting is allowed.
const DROP_PATIENCE: Duration = Duration::from_secs(1);

/// What the clients of a thread may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// By when which step of closing is given up; `None` for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Deadlines {
    commit: Option<Instant>,
    clients: Option<Instant>,
}

impl Deadlines {
    /// So that a thread which is cut short has ended, and can say why, before `timeout` is over.
    fn within(timeout: Duration, now: Instant) -> Self {
        let before_end = |share: u32, most: Duration| {
            let end = now.checked_add(timeout)?;
            end.checked_sub((timeout / share).min(most))
        };
        Deadlines { commit: before_end(5, Duration::from_secs(2)), clients: before_end(20, Duration::from_millis(500)) }
    }

    fn or_later(self, other: Self) -> Self {
        let later = |one: Option<Instant>, other: Option<Instant>| Some(one?.max(other?));
        Deadlines { commit: later(self.commit, other.commit), clients: later(self.clients, other.clients) }
    }
}

/// Whether an application was asked to close.
#[derive(Default)]
pub(super) struct Closing {
    requested: AtomicBool,
    request: watch::Sender<Option<Deadlines>>,
    /// What becomes of the threads' memberships, as the first one has said who asked.
    operation: OnceLock<GroupMembershipOperation>,
    /// The threads that ended without their last commit, and why.
    uncommitted: Mutex<BTreeMap<String, Arc<Error>>>,
}

impl Closing {
    pub(super) fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }

    /// Has the threads end within `timeout`; zero is no time to end in, but means that nobody waits.
    pub(super) fn request(&self, timeout: Duration) {
        let timeout = if timeout.is_zero() { IN_BACKGROUND } else { timeout };
        let asked = Deadlines::within(timeout, Instant::now());
        self.requested.store(true, Ordering::Release);
        self.request.send_modify(|known| *known = Some(known.map_or(asked, |known| known.or_later(asked))));
    }

    /// As a thread closes its consumer.
    pub(super) fn operation(&self) -> GroupMembershipOperation {
        self.operation.get().copied().unwrap_or_default()
    }

    pub(super) fn request_in_background(&self) {
        self.operation.get_or_init(GroupMembershipOperation::default);
        self.request(IN_BACKGROUND);
    }

    /// Ends when a wait is to be cut short.
    pub(super) async fn reached(&self, cut: Cut) {
        let mut request = self.request.subscribe();
        loop {
            let known = *request.borrow_and_update();
            // It cannot fail, for the sender is ours.
            let changed = async { request.changed().await.unwrap_or(()) };
            match (known, cut) {
                (Some(_), Cut::Request) => return,
                (Some(Deadlines { commit: Some(at), .. }), Cut::Deadline) => {
                    if tokio::time::timeout_at(at.into(), changed).await.is_err() {
                        return;
                    }
                }
                (None, _) | (Some(_), Cut::Deadline) => changed.await,
            }
        }
    }

    /// How long the clients of a thread may take to close.
    pub(super) fn time_for_clients(&self) -> Duration {
        let at = self.request.borrow().and_then(|deadlines| deadlines.clients);
        at.map_or(GOODBYE, |at| at.saturating_duration_since(Instant::now()).min(GOODBYE))
    }

    /// A thread ends without its last commit.
    pub(super) fn not_committed(&self, thread: String, why: Box<Error>) {
        tracing::warn!(thread, "closes without its last commit, what it did since the one before is done again: {why}");
        self.uncommitted.lock().insert(thread, Arc::from(why));
    }

    /// Why a thread that was removed has ended without its last commit, told once.
    pub(super) fn take_uncommitted(&self, thread: &str) -> Option<Arc<Error>> {
        self.uncommitted.lock().remove(thread)
    }

    fn uncommitted(&self) -> Vec<ThreadLeft> {
        let uncommitted = self.uncommitted.lock();
        let left = uncommitted.iter().map(|(thread, why)| (thread.clone(), Left::Uncommitted(why.clone())));
        left.map(|(thread, what)| ThreadLeft { thread, what }).collect()
    }
}

impl Shared {
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_requested()
    }

    /// Asks all threads to end. An application that was not started is closed by that.
    fn ask_to_close(&self, options: CloseOptions) {
        // The state first: a thread that only waits ends at once, and the last one to end leads on from it.
        let before = self.change_state(State::PendingShutdown);
        self.closing.operation.get_or_init(|| options.operation);
        self.closing.request(options.timeout);
        if before == Some(State::Created) {
            self.finish();
        }
        self.finish_if_empty();
        self.tell_states();
    }

    /// Waits until all threads have ended, or `end`; never for `None`.
    async fn closed_until(&self, end: Option<Instant>) -> Result<()> {
        let mut states = self.watch_state();
        let mut at_work = self.threads_at_work.subscribe();
        let ended = async {
            let _ = states.wait_for(|state| state.has_completed_shutdown()).await;
            // The last one has to tell of it.
            let _ = at_work.wait_for(|left| *left == 0).await;
        };
        match end {
            Some(end) => {
                let _ = tokio::time::timeout_at(end.into(), ended).await;
            }
            None => ended.await,
        }
        self.what_is_left()
    }

    fn what_is_left(&self) -> Result<()> {
        let mut threads = self.closing.uncommitted();
        if !self.state().has_completed_shutdown() {
            let at_work = self.threads_that_work().into_iter();
            threads.extend(at_work.map(|thread| ThreadLeft { thread, what: Left::AtWork }));
        }
        if threads.is_empty() { Ok(()) } else { Err(Box::new(Error::NotClosed(NotClosed { threads }))) }
    }
}

impl KafkaStreams {
    /// Commits and closes all tasks; dynamic members leave the group, and static ones remain. Waits on this thread for at most
    /// `timeout`; without end for [`Duration::MAX`], not at all for zero, and never on a thread of the application itself,
    /// where a processor, a handler or a listener calls it: then it is only asked for. Async code calls
    /// [`close_async`](Self::close_async).
    ///
    /// Whatever the threads wait for ends at once, and commits when the time is nearly over; what was not committed is
    /// processed again by whoever gets the partitions. A thread that is in code of the application ends when it comes back
    /// from there. Any number of calls is allowed, in every state; a later one may give more time. An application that was
    /// asked to close without waiting, has failed or was dropped gives its threads 30 seconds to commit.
    ///
    /// # Errors
    /// [`Error::NotClosed`] says which threads are still at work in the background, and which have ended without their
    /// last commit, and why.
    pub fn close(&self, timeout: Duration) -> Result<()> {
        self.close_with(CloseOptions::timeout(timeout))
    }

    /// As [`close`](Self::close), with what becomes of the memberships in the group (KIP-1153); what the first call has said
    /// counts.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub fn close_with(&self, options: CloseOptions) -> Result<()> {
        let timeout = options.timeout;
        self.shared.ask_to_close(options);
        if timeout.is_zero() || Within::is_in(&self.shared.closing) {
            return self.shared.what_is_left();
        }
        let end = Instant::now().checked_add(timeout);
        let _context = self.shared.runtime().enter();
        block_on(self.shared.closed_until(end))
    }

    /// As [`close`](Self::close), without blocking the thread. It is asked for by the call already; dropping the future
    /// takes nothing back. Any executor will do.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub fn close_async(&self, timeout: Duration) -> impl Future<Output = Result<()>> + Send + use<> {
        self.close_async_with(CloseOptions::timeout(timeout))
    }

    /// As [`close_async`](Self::close_async) and [`close_with`](Self::close_with).
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub fn close_async_with(&self, options: CloseOptions) -> impl Future<Output = Result<()>> + Send + use<> {
        let timeout = options.timeout;
        self.shared.ask_to_close(options);
        let waits = !timeout.is_zero() && !Within::is_in(&self.shared.closing);
        let end = if waits { Instant::now().checked_add(timeout) } else { Some(Instant::now()) };
        let shared = self.shared.clone();
        super::background::run(&self.shared, async move { shared.closed_until(end).await })
    }
}

impl Drop for KafkaStreams {
    /// Asks an application that was not closed to close, and waits for a second at most; not at all in async code, on a
    /// thread of an application, and while a panic unwinds. The threads go on in the background.
    fn drop(&mut self) {
        if self.state().has_completed_shutdown() {
            return;
        }
        self.shared.ask_to_close(CloseOptions::timeout(Duration::ZERO));
        let is_async = tokio::runtime::Handle::try_current().is_ok();
        if is_async || Within::is_in_any() || std::thread::panicking() {
            return;
        }
        let _context = self.shared.runtime().enter();
        if let Err(left) = block_on(self.shared.closed_until(Some(Instant::now() + DROP_PATIENCE))) {
            tracing::warn!("an application was dropped: {left}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, Instant},
    };

    use vltava_client::ClientError;

    use super::{Closing, Deadlines};
    use crate::runtime::wait::{Cut, Within, take_cut, until_closing, wait, wait_while_open};

    #[test]
    fn every_timeout_leaves_time_to_say_what_was_not_done() {
        let now = Instant::now();
        for ms in [1, 10, 500, 10_000, 60_000] {
            let Deadlines { commit, clients } = Deadlines::within(Duration::from_millis(ms), now);
            let (commit, clients, end) = (commit.unwrap(), clients.unwrap(), now + Duration::from_millis(ms));
            assert!(now <= commit && commit < clients && clients < end, "{ms}");
            assert!(commit.duration_since(now).as_millis() >= u128::from(ms / 2), "{ms}");
        }
        assert_eq!(Deadlines::within(Duration::MAX, now), Deadlines { commit: None, clients: None });
    }

    #[test]
    fn a_later_request_gives_more_time_and_never_less() {
        let (now, closing) = (Instant::now(), Closing::default());
        closing.request(Duration::from_secs(100));
        closing.request(Duration::from_secs(1));
        let known = closing.request.borrow().unwrap();
        assert!(known.commit.unwrap() > now + Duration::from_secs(90));
        closing.request(Duration::MAX);
        assert_eq!(closing.request.borrow().unwrap().commit, None);
        closing.request(Duration::from_secs(1));
        assert_eq!(closing.request.borrow().unwrap().commit, None);
    }

    #[test]
    fn every_wait_of_a_thread_is_cut_short_by_the_request_or_by_its_deadline() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _context = runtime.enter();
        let closing = Arc::new(Closing::default());
        let within = Within::enter(&closing);
        assert_eq!(wait(async { Ok::<_, ClientError>(1) }).unwrap(), 1);
        let asks = closing.clone();
        let never = || std::future::pending::<Result<(), ClientError>>();
        let asking = std::thread::spawn(move || asks.request(Duration::from_millis(50)));
        assert!(matches!(wait_while_open(never()), Err(ClientError::Wakeup)));
        assert_eq!((take_cut(), take_cut()), (Some(Cut::Request), None));
        assert_eq!(until_closing(std::future::pending::<()>()), None);
        assert!(matches!(wait(never()), Err(ClientError::InvalidState { .. })));
        assert_eq!(take_cut(), Some(Cut::Deadline));
        // What is ready counts all the same.
        assert_eq!(wait_while_open(async { Ok::<_, ClientError>(2) }).unwrap(), 2);
        asking.join().unwrap();
        assert!(Within::is_in(&closing) && !Within::is_in(&Arc::default()));
        drop(within);
        assert!(!Within::is_in_any());
    }
}
