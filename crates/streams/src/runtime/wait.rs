//! Waiting for a future on a thread that is not the runtime's.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future to its end on this thread; its sockets and timers are the runtime's.
///
/// Unlike `Handle::block_on` it may be called within itself: a rebalance listener, called inside of `poll`, flushes the
/// producer and commits offsets before it lets partitions go.
pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    // Called from async code, this thread has a task's budget of operations, which would not be renewed in here: once it
    // is used up, no socket and no timer is ever ready again.
    let mut future = pin!(tokio::task::unconstrained(future));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(done) => return done,
            Poll::Pending => thread::park(),
        }
    }
}
