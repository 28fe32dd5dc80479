//! File descriptors: how many this process may have, and what they are for.
//!
//! A disk fails for good where a file cannot be opened, so there have to be descriptors left whenever one is. Three are
//! counted for a partition (its active segment with two indexes) and one for a connection; a part is kept for what is
//! opened beside: checkpoints, rolled segments that are read, deletions, and what else the process was doing when the
//! broker was started. What would go beyond is refused: new partitions with an error, connections by being closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::seldom::Seldom;

/// What the files of a partition that is written to take: a segment, its offset index and its time index.
const PER_PARTITION: usize = 3;

/// Kept for files that are opened for a moment, for the runtime, and for segments that are not the last.
const LARGEST_RESERVE: usize = 512;

/// The descriptors of this process.
#[derive(Debug)]
pub(crate) struct Descriptors {
    /// None where the system sets no limit.
    limit: Option<usize>,
    /// What is neither for partitions nor for connections.
    reserved: usize,
    connections: AtomicUsize,
    /// Tells that connections are refused.
    pub(crate) refusals: Mutex<Seldom>,
}

/// A connection's descriptor, given back when dropped.
#[derive(Debug)]
pub(crate) struct Held(Arc<Descriptors>);

/// Why there are not enough descriptors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{partitions} partitions and {connections} connections need {needed} file descriptors with a reserve of {reserved}, \
     and the process may have {limit}: raise its limit (`ulimit -n`)"
)]
pub struct TooFewDescriptors {
    /// The partitions that there would be.
    pub partitions: usize,
    /// The connections that are open.
    pub connections: usize,
    /// What all of it needs.
    pub needed: usize,
    /// What is kept for other files, out of `needed`.
    pub reserved: usize,
    /// The process's limit.
    pub limit: usize,
}

impl Descriptors {
    /// Raises the process's soft limit to its hard one, and counts what is open already.
    pub(crate) fn of_process() -> Self {
        Self::new(raise_limit(), open_now())
    }

    fn new(limit: Option<usize>, open: usize) -> Self {
        // A small limit is not given away to the reserve.
        let reserve = limit.map_or(0, |limit| LARGEST_RESERVE.min(limit / 8));
        Self { limit, reserved: open + reserve, connections: AtomicUsize::new(0), refusals: Mutex::default() }
    }

    /// Whether that many partitions can have their files open.
    ///
    /// # Errors
    /// [`TooFewDescriptors`].
    pub(crate) fn check(&self, partitions: usize) -> Result<(), TooFewDescriptors> {
        self.check_with(partitions, self.connections.load(Ordering::Relaxed))
    }

    /// A descriptor for one more connection beside that many partitions, if there is one.
    pub(crate) fn connect(self: &Arc<Self>, partitions: usize) -> Result<Held, TooFewDescriptors> {
        let connections = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let held = Held(Arc::clone(self));
        self.check_with(partitions, connections).map(|()| held)
    }

    fn check_with(&self, partitions: usize, connections: usize) -> Result<(), TooFewDescriptors> {
        let Some(limit) = self.limit else { return Ok(()) };
        let reserved = self.reserved;
        let needed = partitions.saturating_mul(PER_PARTITION).saturating_add(connections).saturating_add(reserved);
        if needed <= limit {
            return Ok(());
        }
        Err(TooFewDescriptors { partitions, connections, needed, reserved, limit })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Raises the soft limit to the hard one; gives what holds then.
fn raise_limit() -> Option<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: before.maximum, maximum: before.maximum };
    let after = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) if before.current != before.maximum => {
            tracing::info!(from = ?before.current, to = ?wanted.current, "raised the limit of file descriptors");
            wanted
        }
        Ok(()) => before,
        Err(error) => {
            tracing::warn!(%error, limit = ?before.current, "the limit of file descriptors cannot be raised");
            before
        }
    };
    after.current.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// How many descriptors this process has open; a usual number where the system does not tell.
pub(crate) fn open_now() -> usize {
    const USUAL: usize = 64;
    let directory = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    std::fs::read_dir(directory).map_or(USUAL, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_and_connections_share_what_is_not_reserved() {
        let descriptors = Arc::new(Descriptors::new(Some(1024), 24));
        // 1024 - 24 - 128.
        assert_eq!(descriptors.check(290), Ok(()));
        let expected = TooFewDescriptors { partitions: 291, connections: 0, needed: 1025, reserved: 152, limit: 1024 };
        assert_eq!(descriptors.check(291), Err(expected));
        let held: Vec<_> = (0..3).map(|_| descriptors.connect(289).unwrap()).collect();
        assert!(descriptors.check(290).is_err());
        drop(held);
        assert_eq!(descriptors.check(290), Ok(()));
    }

    #[test]
    fn a_connection_refused_holds_nothing() {
        let descriptors = Arc::new(Descriptors::new(Some(100), 10));
        let partitions = 25;
        assert!(descriptors.connect(partitions).is_ok());
        assert!(descriptors.connect(partitions + 1).is_err());
        assert_eq!(descriptors.connections.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn without_a_limit_everything_is_allowed() {
        assert_eq!(Descriptors::new(None, 10).check(usize::MAX), Ok(()));
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        use rustix::process::{Resource, getrlimit};
        let descriptors = Descriptors::of_process();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(descriptors.limit.map(|limit| limit as u64), limit.current);
        assert!(open_now() > 2);
    }
}
