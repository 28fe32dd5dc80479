//! Panics in what runs in the background: its own, and those of a log's subscriber or another's code that it calls.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::error::ClientError;

/// Does the work to its end. A task that panicked would be gone, and whoever waits for it would wait for ever: so a panic
/// becomes an error, for the caller to tell.
///
/// # Errors
/// [`ClientError::Panicked`].
pub(crate) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, ClientError> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(done) => done.map(Ok),
        Err(payload) => Poll::Ready(Err(panicked(&*payload))),
    })
    .await
}

fn panicked(payload: &(dyn Any + Send)) -> ClientError {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    ClientError::Panicked { message: text.unwrap_or("no message").into() }
}
