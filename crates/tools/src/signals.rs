//! The signals that end a tool.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// What a shell reports for a program that an interrupt ended.
pub(crate) const INTERRUPTED: i32 = 130;
/// The same for a termination.
const TERMINATED: i32 = 143;

/// What comes of `work`, or of a signal that is there first: `by_signal` gets the status that a shell reports for it.
pub(crate) async fn unless_signalled<T>(
    work: impl Future<Output = Result<T, Failure>>,
    by_signal: impl FnOnce(i32) -> T,
) -> Result<T, Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = work => done,
        _ = interrupt.recv() => Ok(by_signal(INTERRUPTED)),
        _ = terminate.recv() => Ok(by_signal(TERMINATED)),
    }
}
