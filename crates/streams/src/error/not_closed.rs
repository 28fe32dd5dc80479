//! What is left of an application that was closed.

use std::{fmt, sync::Arc};

use super::Error;

/// What closing an application could not do; see [`KafkaStreams::close`](crate::KafkaStreams::close).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NotClosed {
    /// The threads that are left, or that left something; all others have committed and ended.
    pub threads: Vec<ThreadLeft>,
}

/// A thread of an application that was closed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ThreadLeft {
    /// Its name, as in metrics and logs.
    pub thread: String,
    /// What is left of it.
    pub what: Left,
}

/// What closing has left of a thread.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Left {
    /// It has not ended yet, and will in the background: it is in code of the application (a processor, a handler, a
    /// listener), works on files, or was not waited for.
    AtWork,
    /// It has ended, and its last commit is missing: what was processed since the one before is processed again.
    Uncommitted(Arc<Error>),
}

impl NotClosed {
    /// Why the first of the threads that have not committed has not.
    pub(crate) fn first_cause(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.threads.iter().find_map(|left| match &left.what {
            Left::Uncommitted(why) => Some(&**why as &(dyn std::error::Error + 'static)),
            Left::AtWork => None,
        })
    }
}

impl fmt::Display for NotClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_work = self.threads.iter().any(|left| matches!(left.what, Left::AtWork));
        f.write_str(if at_work { "not closed yet" } else { "closed, but not all was committed" })?;
        for (index, ThreadLeft { thread, what }) in self.threads.iter().enumerate() {
            f.write_str(if index == 0 { ": " } else { "; " })?;
            match what {
                Left::AtWork => write!(f, "{thread} is still at work")?,
                Left::Uncommitted(why) => write!(f, "{thread} has not committed: {why}")?,
            }
        }
        Ok(())
    }
}
