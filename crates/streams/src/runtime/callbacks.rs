//! Listeners and handlers of the application: called without a lock, one after the other, and their panics caught.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

use super::{
    kafka_streams::{Shared, StreamThreadExceptionResponse},
    restore::StateRestoreListener,
    standby_listener::StandbyUpdateListener,
    state::State,
    wait::Within,
};
use crate::{
    error::{Error, Result},
    guard::guarded,
};

type StateListener = Arc<dyn Fn(State, State) + Send + Sync>;
type UncaughtHandler = Arc<dyn Fn(&Error) -> StreamThreadExceptionResponse + Send + Sync>;

/// What the application wants to be told or asked.
#[derive(Default)]
pub(super) struct Callbacks {
    pub(super) state: Mutex<Option<StateListener>>,
    pub(super) uncaught: Mutex<Option<UncaughtHandler>>,
    pub(super) restore: Mutex<Option<Arc<dyn StateRestoreListener>>>,
    pub(super) standby: Mutex<Option<Arc<dyn StandbyUpdateListener>>>,
    changes: Mutex<Changes>,
}

/// Changes of state that are to be told, in their order.
#[derive(Default)]
struct Changes {
    /// To which state from which.
    waiting: VecDeque<(State, State)>,
    /// Whether a thread is telling, further below on its stack it may be this one.
    telling: bool,
}

impl Callbacks {
    /// To be called while no other change is possible.
    pub(super) fn changed(&self, state: State, before: State) {
        self.changes.lock().waiting.push_back((state, before));
    }

    fn next_change(&self) -> Option<(State, State)> {
        let mut changes = self.changes.lock();
        let next = if changes.telling { None } else { changes.waiting.pop_front() };
        changes.telling |= next.is_some();
        next
    }
}

impl Shared {
    /// Calls code of the application, which may panic, and may close the application.
    fn call<T>(&self, callback: &'static str, code: impl FnOnce() -> T) -> Result<T> {
        let _within = Within::enter(&self.closing);
        guarded(|| Ok(code())).map_err(|source| Box::new(Error::Callback { callback, source }))
    }

    /// Tells the listener of the changes of state, unless another call is about it: that one goes on with these.
    pub(super) fn tell_states(&self) {
        while let Some((state, before)) = self.callbacks.next_change() {
            tracing::info!("state transition from {before} to {state}");
            let listener = self.callbacks.state.lock().clone();
            let told = listener.map_or(Ok(()), |listener| self.call("the state listener", || listener(state, before)));
            self.callbacks.changes.lock().telling = false;
            if let Err(error) = told {
                tracing::error!("{error}");
                self.fail(error);
            }
        }
    }

    /// Calls the restore listener, if there is one.
    ///
    /// # Errors
    /// [`Error::Callback`] if it panics.
    pub(super) fn tell_restore(&self, tell: impl FnOnce(&dyn StateRestoreListener)) -> Result<()> {
        let listener = self.callbacks.restore.lock().clone();
        listener.map_or(Ok(()), |listener| self.call("the state restore listener", || tell(&*listener)))
    }

    /// Calls the standby update listener, if there is one.
    ///
    /// # Errors
    /// [`Error::Callback`] if it panics.
    pub(super) fn tell_standby(&self, tell: impl FnOnce(&dyn StandbyUpdateListener)) -> Result<()> {
        let listener = self.callbacks.standby.lock().clone();
        listener.map_or(Ok(()), |listener| self.call("the standby update listener", || tell(&*listener)))
    }

    /// What the application's handler wants done about a thread's failure. A handler that panics wants the application to
    /// close.
    pub(super) fn response_to(&self, error: &Error) -> StreamThreadExceptionResponse {
        let handler = self.callbacks.uncaught.lock().clone();
        let Some(handler) = handler else { return StreamThreadExceptionResponse::ShutdownClient };
        self.call("the uncaught exception handler", || handler(error)).unwrap_or_else(|panic| {
            tracing::error!("{panic}, when it was asked about: {error}");
            StreamThreadExceptionResponse::ShutdownClient
        })
    }
}
