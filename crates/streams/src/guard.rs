//! Panics of application code, as errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Result};

/// Turns a panic into [`Error::Panic`]. Every hop from node to node is guarded, so that a panic ends at the node of the
/// code that panicked and unwinds no other; there it goes to the processing exception handler as an error would.
#[inline(always)] // Nothing but a landing pad as long as nobody panics.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(panicked(&*payload)))
}

#[cold]
#[inline(never)]
pub(crate) fn panicked(payload: &(dyn std::any::Any + Send)) -> Box<Error> {
    Box::new(Error::Panic(panic_message(payload)))
}

/// What a panic said.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
