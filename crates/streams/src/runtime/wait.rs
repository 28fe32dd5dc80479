//! Waiting for a future on a thread that is not the runtime's, and what cuts such a wait short.
//!
//! A thread of an application belongs to its [`Closing`]: [`wait`] ends when the time to close is over, and
//! [`wait_while_open`] as soon as the application is asked to close. So no place that waits has to know of closing, and
//! none can forget it.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use vltava_client::ClientError;

use super::{closing::Closing, threads::Removal};
use crate::error::Error;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    /// The applications that this thread works for: its own, or those whose listeners it calls. A stream thread may be asked
    /// to end before its application.
    static WITHIN: RefCell<Vec<(Arc<Closing>, Option<Removal>)>> = const { RefCell::new(Vec::new()) };
    static CUT_SHORT: Cell<Option<Cut>> = const { Cell::new(None) };
    /// How long this thread has waited since that was asked last.
    static WAITED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// What ended a wait before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The request to close, or to end this thread: it was between two pieces of work.
    Request,
    /// The time to close is over: the thread was in the middle of something.
    Deadline,
}

/// Until it is dropped, this thread works for an application.
pub(super) struct Within;

impl Within {
    pub(super) fn enter(closing: &Arc<Closing>) -> Self {
        WITHIN.with_borrow_mut(|within| within.push((closing.clone(), None)));
        Within
    }

    /// As [`enter`](Self::enter) for a stream thread, whose waits its removal cuts short as well.
    pub(super) fn enter_thread(closing: &Arc<Closing>, removal: &Removal) -> Self {
        WITHIN.with_borrow_mut(|within| within.push((closing.clone(), Some(removal.clone()))));
        Within
    }

    /// The stream thread of that application which this thread is, if it is one.
    pub(super) fn thread_of(closing: &Arc<Closing>) -> Option<usize> {
        let of = |(known, removal): &(Arc<Closing>, Option<Removal>)| {
            removal.as_ref().filter(|_| Arc::ptr_eq(known, closing)).map(Removal::thread)
        };
        WITHIN.with_borrow(|within| within.iter().find_map(of))
    }

    /// Whether this thread works for that application, and so cannot wait for its end.
    pub(super) fn is_in(closing: &Arc<Closing>) -> bool {
        WITHIN.with_borrow(|within| within.iter().any(|(known, _)| Arc::ptr_eq(known, closing)))
    }

    /// Whether this thread works for any application.
    pub(super) fn is_in_any() -> bool {
        WITHIN.with_borrow(|within| !within.is_empty())
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        WITHIN.with_borrow_mut(Vec::pop);
    }
}

/// What cut a wait of this thread short since the last time that this was asked.
pub(super) fn take_cut() -> Option<Cut> {
    CUT_SHORT.take()
}

/// How long this thread has waited for answers since this was asked last.
pub(super) fn take_waited() -> Duration {
    WAITED.take()
}

/// The result of a wait that was cut short.
pub(super) trait CutShort {
    fn cut_short(cut: Cut) -> Self;
}

impl CutShort for ClientError {
    /// Neither is retriable, nor asks a handler about one record.
    fn cut_short(cut: Cut) -> Self {
        match cut {
            Cut::Request => ClientError::Wakeup,
            Cut::Deadline => {
                ClientError::InvalidState { reason: "the time to close was over before it was done".into() }
            }
        }
    }
}

impl CutShort for Box<Error> {
    fn cut_short(cut: Cut) -> Self {
        Error::client("closing", ClientError::cut_short(cut))
    }
}

/// Runs a future to its end on this thread; its sockets and timers are the runtime's.
///
/// Unlike `Handle::block_on` it may be called within itself: a rebalance listener, called inside of `poll`, flushes the
/// producer and commits offsets before it lets partitions go.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    // Called from async code, this thread has a task's budget of operations, which would not be renewed in here: once it
    // is used up, no socket and no timer is ever ready again.
    let mut future = pin!(tokio::task::unconstrained(future));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(done) => return done,
            Poll::Pending => {
                let began = Instant::now();
                thread::park();
                WAITED.set(WAITED.get() + began.elapsed());
            }
        }
    }
}

fn wait_until<T>(cut: Cut, future: impl Future<Output = T>) -> Option<T> {
    let Some((closing, removal)) = WITHIN.with_borrow(|within| within.last().cloned()) else {
        return Some(block_on(future));
    };
    let removed = async {
        match &removal {
            Some(removal) if cut == Cut::Request => removal.reached().await,
            _ => std::future::pending().await,
        }
    };
    let done = block_on(async {
        tokio::select! {
            biased;
            done = future => Some(done),
            () = closing.reached(cut) => None,
            () = removed => None,
        }
    });
    if done.is_none() {
        CUT_SHORT.set(Some(cut));
    }
    done
}

/// Waits for what is to be done before the thread ends, as long as there is time to close.
pub(super) fn wait<T, E: CutShort>(future: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    wait_until(Cut::Deadline, future).unwrap_or_else(|| Err(E::cut_short(Cut::Deadline)))
}

/// Waits for what nobody needs any more once the application is asked to close.
pub(super) fn wait_while_open<T, E: CutShort>(future: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    until_closing(future).unwrap_or_else(|| Err(E::cut_short(Cut::Request)))
}

/// The result of a future that has it at once.
pub(super) fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

/// How often a wait looks whether its condition holds.
const LOOK: Duration = Duration::from_millis(50);

/// What comes of a future as long as a condition holds; nothing if that ends first.
pub(super) async fn as_long_as<T>(holds: impl Fn() -> bool, future: impl Future<Output = T>) -> Option<T> {
    let over = async {
        while holds() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        biased;
        done = future => Some(done),
        () = over => None,
    }
}

/// As [`wait_while_open`] for what has no error. `None` once the application is asked to close.
pub(super) fn until_closing<T>(future: impl Future<Output = T>) -> Option<T> {
    wait_until(Cut::Request, future)
}
