//! The stream threads of an application: which there are, which of them run, and how they come and go (KIP-663).
//!
//! A thread has a place, whose number is in its name; a place is free again when its thread has ended, and the lowest free one
//! is taken next. A thread that is to go is alive until it has handed over its tasks, but counts neither for the state of the
//! application nor for the shares of caches.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    background,
    kafka_streams::{KafkaStreams, Shared},
    state::State,
    task_manager::TaskManager,
    wait::{Within, block_on},
};
use crate::error::{Error, Left, NotClosed, Result, ThreadLeft};

/// The request to one thread to end while the application goes on.
#[derive(Clone, Debug)]
pub(super) struct Removal {
    thread: usize,
    requested: Arc<watch::Sender<bool>>,
}

impl Removal {
    fn of(thread: usize) -> Self {
        Removal { thread, requested: Arc::new(watch::Sender::new(false)) }
    }

    /// The thread that it is for, counted from 0.
    pub(super) fn thread(&self) -> usize {
        self.thread
    }

    pub(super) fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }

    /// Ends when it is requested.
    pub(super) async fn reached(&self) {
        // It cannot fail, for the sender is ours.
        let _ = self.requested.subscribe().wait_for(|requested| *requested).await;
    }

    fn is(&self, other: &Removal) -> bool {
        Arc::ptr_eq(&self.requested, &other.requested)
    }
}

/// A stream thread that has not ended.
#[derive(Debug)]
struct Alive {
    /// Whether all its tasks are at work.
    is_running: bool,
    removal: Removal,
    /// Its tasks, for queries; nothing while they are being made.
    manager: Weak<Mutex<TaskManager>>,
}

impl Alive {
    fn new(thread: usize) -> Self {
        Alive { is_running: false, removal: Removal::of(thread), manager: Weak::new() }
    }

    fn stays(&self) -> bool {
        !self.removal.is_requested()
    }
}

/// A stream thread, as queries find it.
pub(super) struct Found {
    pub(super) thread: usize,
    /// Whether it is about to end.
    pub(super) is_leaving: bool,
    /// `None` while it is being made.
    pub(super) manager: Option<Arc<Mutex<TaskManager>>>,
}

/// The places of the stream threads.
#[derive(Debug, Default)]
pub(super) struct Threads {
    places: watch::Sender<Vec<Option<Alive>>>,
    failed: AtomicUsize,
}

impl Threads {
    /// Takes the first places.
    pub(super) fn begin(&self, count: usize) {
        self.places.send_replace((0..count).map(|thread| Some(Alive::new(thread))).collect());
    }

    /// Takes the lowest free place, if `may` says so, which is asked while no thread can end.
    fn take_place(&self, may: impl FnOnce() -> bool) -> Option<usize> {
        let mut taken = None;
        self.places.send_if_modified(|places| {
            if !may() {
                return false;
            }
            let free = places.iter().position(Option::is_none).unwrap_or(places.len());
            if free == places.len() {
                places.push(None);
            }
            if let Some(place) = places.get_mut(free) {
                *place = Some(Alive::new(free));
                taken = Some(free);
            }
            taken.is_some()
        });
        taken
    }

    /// Asks the first thread to end that is to stay, but for the one that asks: that one only where there is no other. Says
    /// which.
    fn ask_one_to_leave(&self, asking: Option<usize>) -> Option<Removal> {
        let places = self.places.borrow();
        let mut staying = places.iter().flatten().filter(|thread| thread.stays());
        let first = staying.next()?;
        let other = [first].into_iter().chain(staying).find(|thread| Some(thread.removal.thread) != asking);
        let removal = other.unwrap_or(first).removal.clone();
        // Of two that ask at once the second finds the next one.
        let is_asked = removal.requested.send_if_modified(|requested| !std::mem::replace(requested, true));
        drop(places);
        if is_asked { Some(removal) } else { self.ask_one_to_leave(asking) }
    }

    /// How many threads there are and are to stay: Kafka's live ones.
    pub(super) fn live(&self) -> usize {
        self.places.borrow().iter().flatten().filter(|thread| thread.stays()).count()
    }

    /// Whether all have ended, or none was started.
    pub(super) fn is_empty(&self) -> bool {
        self.places.borrow().iter().all(Option::is_none)
    }

    /// The numbers of those that have not ended.
    pub(super) fn alive(&self) -> Vec<usize> {
        self.places.borrow().iter().flatten().map(|thread| thread.removal.thread).collect()
    }

    /// What asks this thread to end.
    pub(super) fn removal(&self, thread: usize) -> Option<Removal> {
        Some(self.places.borrow().get(thread)?.as_ref()?.removal.clone())
    }

    /// Where queries find the tasks of a thread.
    pub(super) fn set_manager(&self, thread: usize, manager: &Arc<Mutex<TaskManager>>) {
        self.places.send_if_modified(|places| {
            if let Some(Some(alive)) = places.get_mut(thread) {
                alive.manager = Arc::downgrade(manager);
            }
            false
        });
    }

    /// Those that have not ended.
    pub(super) fn found(&self) -> Vec<Found> {
        let places = self.places.borrow();
        let found = |alive: &Alive| Found {
            thread: alive.removal.thread,
            is_leaving: !alive.stays(),
            manager: alive.manager.upgrade(),
        };
        places.iter().flatten().map(found).collect()
    }

    /// A thread has failed; it may be replaced.
    pub(super) fn count_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// How many times threads have failed.
    pub(super) fn failed(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }

    /// Waits on this thread until all have ended that there are, and those that come meanwhile.
    pub(super) fn wait_until_empty(&self) {
        let mut places = self.places.subscribe();
        let _ = block_on(places.wait_for(|places| places.iter().all(Option::is_none)));
    }

    /// Waits until this thread has ended, or `end`; never for `None`. Whether it has.
    async fn ended(&self, removal: &Removal, end: Option<Instant>) -> bool {
        let mut places = self.places.subscribe();
        let ended = places.wait_for(|places| !places.iter().flatten().any(|alive| alive.removal.is(removal)));
        match end {
            Some(end) => tokio::time::timeout_at(end.into(), ended).await.is_ok(),
            None => ended.await.is_ok(),
        }
    }
}

/// What the application is where all that stay run, or one of them does not; nothing where none stays.
fn state_of(places: &[Option<Alive>]) -> Option<State> {
    let mut staying = places.iter().flatten().filter(|thread| thread.stays()).peekable();
    staying.peek()?;
    Some(if staying.all(|thread| thread.is_running) { State::Running } else { State::Rebalancing })
}

impl Shared {
    /// The application is RUNNING while all its threads are.
    pub(super) fn set_thread_running(&self, thread: usize, running: bool) {
        self.threads.places.send_if_modified(|places| {
            match places.get_mut(thread) {
                Some(Some(known)) if known.stays() && known.is_running != running => known.is_running = running,
                _ => return false,
            }
            // Here, while no other thread can change: the application's state belongs to the threads'.
            state_of(places).map(|state| self.change_state(state));
            true
        });
        self.tell_states();
    }

    /// A stream thread has ended. The last one of an application that closes ends it, but where there are global stores: their
    /// thread is the last then.
    pub(super) fn stream_thread_ended(&self, thread: usize) {
        self.threads.places.send_modify(|places| {
            if let Some(place) = places.get_mut(thread) {
                *place = None;
            }
        });
        self.finish_if_empty();
    }

    /// Ends an application that was asked to close and that has no threads.
    pub(super) fn finish_if_empty(&self) {
        if self.is_closing() && self.globals.is_none() && self.threads.is_empty() {
            self.finish();
        }
    }

    /// A thread's part of `statestore.cache.max.bytes`. As in Kafka the thread of the global stores has one too.
    pub(super) fn share_of_caches(&self) -> u64 {
        let threads = self.threads.live() + usize::from(self.globals.is_some());
        self.config.fields().cache_max_bytes / threads.max(1) as u64
    }

    /// Has a thread end that was asked to, and says who it was; or what is left of it at `end`.
    async fn removed(&self, removal: Removal, end: Option<Instant>) -> Result<Option<String>> {
        let name = self.thread_name(removal.thread);
        let left = match self.threads.ended(&removal, end).await {
            true => self.closing.take_uncommitted(&name).map(Left::Uncommitted),
            false => Some(Left::AtWork),
        };
        match left {
            None => Ok(Some(name)),
            Some(what) => {
                Err(Box::new(Error::NotClosed(NotClosed { threads: vec![ThreadLeft { thread: name, what }] })))
            }
        }
    }

    /// Asks a thread to end. `None` where none may.
    fn ask_one_to_leave(&self) -> Option<Removal> {
        let state = self.state();
        if !state.is_running_or_rebalancing() {
            tracing::warn!("no stream thread is removed in state {state}");
            return None;
        }
        let Some(removal) = self.threads.ask_one_to_leave(Within::thread_of(&self.closing)) else {
            tracing::warn!("no stream thread is removed: there is none");
            return None;
        };
        tracing::info!(
            thread = removal.thread + 1,
            left = self.threads.live(),
            cache_bytes_per_thread = self.share_of_caches(),
            "the thread is removed"
        );
        // Those that stay may have waited for this one alone.
        self.threads.places.send_if_modified(|places| {
            if state_of(places) == Some(State::Running) {
                self.change_state(State::Running);
            }
            false
        });
        self.tell_states();
        Some(removal)
    }
}

impl KafkaStreams {
    /// Starts one more stream thread, and returns its name; it gets its share of the tasks in a rebalance. The threads share
    /// `statestore.cache.max.bytes` and `statestore.uncommitted.max.bytes` anew. Names are taken again: the new thread has the
    /// lowest number that no other one has.
    ///
    /// `None` in any other state than `RUNNING` and `REBALANCING`, and where the topology has global stores only.
    ///
    /// # Errors
    /// [`Error::Io`] if the thread cannot be made.
    pub fn add_stream_thread(&self) -> Result<Option<String>> {
        let shared = &self.shared;
        if !shared.topology.has_tasks() && shared.globals.is_some() {
            tracing::warn!("no stream thread is added: the topology has global stores only");
            return Ok(None);
        }
        let taken = shared.threads.take_place(|| shared.state().is_running_or_rebalancing());
        let Some(thread) = taken else {
            tracing::warn!("no stream thread is added in state {}", shared.state());
            return Ok(None);
        };
        tracing::info!(
            thread = thread + 1,
            threads = shared.threads.live(),
            cache_bytes_per_thread = shared.share_of_caches(),
            "a thread is added"
        );
        self.start_thread(thread).inspect_err(|_| shared.stream_thread_ended(thread))?;
        Ok(Some(shared.thread_name(thread)))
    }

    /// Ends a stream thread, and returns its name: it commits, closes its tasks and leaves the group, also as a static member
    /// (`group.instance.id`), so that others go on with them. Waits for that on this thread for at most `timeout`; without end
    /// for [`Duration::MAX`]. On a thread of the application itself, where a processor, a handler or a listener calls it, it is
    /// only asked for, and of the stream thread that asks only if it is the last one. An application may be left without
    /// stream threads.
    ///
    /// `None` in any other state than `RUNNING` and `REBALANCING`, and where there is no stream thread.
    ///
    /// # Errors
    /// [`Error::NotClosed`] if the thread has not ended by then, and does in the background; or if it has, without its last
    /// commit.
    pub fn remove_stream_thread(&self, timeout: Duration) -> Result<Option<String>> {
        let Some(removal) = self.shared.ask_one_to_leave() else { return Ok(None) };
        if Within::is_in(&self.shared.closing) {
            return Ok(Some(self.shared.thread_name(removal.thread)));
        }
        let _context = self.shared.runtime().enter();
        block_on(self.shared.removed(removal, Instant::now().checked_add(timeout)))
    }

    /// As [`remove_stream_thread`](Self::remove_stream_thread), without blocking the thread. It is asked for by the call
    /// already; dropping the future takes nothing back. Any executor will do.
    ///
    /// # Errors
    /// As [`remove_stream_thread`](Self::remove_stream_thread).
    pub fn remove_stream_thread_async(
        &self,
        timeout: Duration,
    ) -> impl Future<Output = Result<Option<String>>> + Send + use<> {
        let removal = self.shared.ask_one_to_leave();
        let end = Instant::now().checked_add(timeout);
        let (shared, waits) = (self.shared.clone(), !Within::is_in(&self.shared.closing));
        background::run(&self.shared, async move {
            match removal {
                Some(removal) if waits => shared.removed(removal, end).await,
                removal => Ok(removal.map(|removal| shared.thread_name(removal.thread))),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Threads, state_of};
    use crate::runtime::state::State;

    fn set_running(threads: &Threads, running: &[usize]) {
        threads.places.send_modify(|places| {
            for alive in places.iter_mut().flatten() {
                alive.is_running = running.contains(&alive.removal.thread());
            }
        });
    }

    fn end(threads: &Threads, thread: usize) {
        threads.places.send_modify(|places| places[thread] = None);
    }

    #[test]
    fn the_lowest_free_place_is_taken_and_none_that_is_being_left() {
        let threads = Threads::default();
        threads.begin(3);
        assert_eq!(threads.take_place(|| false), None);
        let leaving = threads.ask_one_to_leave(None).unwrap();
        assert_eq!((leaving.thread(), threads.live(), threads.alive()), (0, 2, vec![0, 1, 2]));
        assert_eq!(threads.take_place(|| true), Some(3));
        end(&threads, 0);
        end(&threads, 2);
        assert_eq!((threads.take_place(|| true), threads.take_place(|| true)), (Some(0), Some(2)));
        assert_eq!(threads.take_place(|| true), Some(4));
        assert!(!threads.removal(0).unwrap().is_requested(), "the next one there was not asked");
    }

    #[test]
    fn a_thread_that_asks_is_the_last_to_be_asked() {
        let threads = Threads::default();
        threads.begin(3);
        let asked = || threads.ask_one_to_leave(Some(0)).map(|removal| removal.thread());
        assert_eq!([(); 4].map(|()| asked()), [Some(1), Some(2), Some(0), None]);
    }

    #[test]
    fn the_application_runs_when_all_run_that_stay() {
        let threads = Threads::default();
        let state = || state_of(&threads.places.borrow());
        assert_eq!(state(), None);
        threads.begin(3);
        set_running(&threads, &[1, 2]);
        assert_eq!(state(), Some(State::Rebalancing));
        threads.ask_one_to_leave(None).unwrap();
        assert_eq!(state(), Some(State::Running));
        set_running(&threads, &[2]);
        assert_eq!(state(), Some(State::Rebalancing));
        end(&threads, 1);
        assert_eq!(state(), Some(State::Running));
        threads.ask_one_to_leave(None).unwrap();
        assert_eq!(state(), None, "nobody is left to tell");
    }
}
