//! The async faces: what waits for an application does so on the application's own runtime, and is awaited anywhere.

use std::{future::Future, panic::resume_unwind, sync::Arc};

use tokio::task::JoinHandle;

use super::kafka_streams::Shared;

/// Ends the work with whoever waits for it.
struct Work<T>(JoinHandle<T>);

impl<T> Drop for Work<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs `work`, which has timers, where it has a runtime: the caller's executor may be another one, or have no timers.
/// Dropping what this gives ends it.
pub(super) fn run<T, W>(shared: &Arc<Shared>, work: W) -> impl Future<Output = T> + Send + use<T, W>
where
    T: Send + 'static,
    W: Future<Output = T> + Send + 'static,
{
    let mut work = Work(shared.runtime().spawn(work));
    async move {
        match (&mut work.0).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime outlives what it runs: it is the application's, and that is held by the work.
                Err(_aborted) => std::future::pending().await,
            },
        }
    }
}
