//! The id of a process, in Java's order.

use std::{cmp::Ordering, fmt};

use uuid::Uuid;
use vltava_protocol::java::long_hash;

/// Which instance of the application a member of the group belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::runtime) struct ProcessId(pub(in crate::runtime) Uuid);

impl ProcessId {
    fn halves(self) -> (i64, i64) {
        let (most, least) = self.0.as_u64_pair();
        (most.cast_signed(), least.cast_signed())
    }

    /// `UUID.hashCode()`.
    pub(super) fn java_hash(self) -> i32 {
        let (most, least) = self.halves();
        long_hash(most ^ least)
    }
}

/// `UUID.compareTo`, which takes both halves for signed numbers.
impl Ord for ProcessId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.halves().cmp(&other.halves())
    }
}

impl PartialOrd for ProcessId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
