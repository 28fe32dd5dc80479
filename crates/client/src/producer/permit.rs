//! Whether what was given to the producer may still be sent.
//!
//! A process can be stopped at any instruction and go on later, when others have taken its work over: then nothing that it
//! was about to write may be written. So a request is looked at when it is made, and again right before each write of its
//! bytes to the socket. There are two reasons to refuse one: whoever uses the producer says that [it may not
//! send](Permit::may_send) now, or the request's records were discarded, which ends an *era*.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The permit of one producer.
#[derive(Default)]
pub(crate) struct Permit {
    condition: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,
    era: AtomicU64,
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("era", &self.era()).finish_non_exhaustive()
    }
}

impl Permit {
    /// Sets the condition, once. Whether this was the first time.
    pub(crate) fn set(&self, condition: impl Fn() -> bool + Send + Sync + 'static) -> bool {
        self.condition.set(Box::new(condition)).is_ok()
    }

    /// Whether requests may be sent now.
    pub(crate) fn may_send(&self) -> bool {
        self.condition.get().is_none_or(|condition| condition())
    }

    /// Whether a request with records of this era may be sent now.
    pub(crate) fn may_send_of(&self, era: u64) -> bool {
        self.era() == era && self.may_send()
    }

    pub(crate) fn era(&self) -> u64 {
        self.era.load(Ordering::Acquire)
    }

    /// Begins the next era, and returns it.
    pub(crate) fn end_era(&self) -> u64 {
        self.era.fetch_add(1, Ordering::AcqRel) + 1
    }
}
