//! What members and leader of a group tell each other, as the JVM writes it.

use bytes::{Buf, TryGetError};
use thiserror::Error;

mod assignment_info;
mod subscription_info;

pub(super) use self::{assignment_info::AssignmentInfo, subscription_info::SubscriptionInfo};
use crate::task::TaskId;

/// The newest version that is known here.
pub(super) const LATEST: i32 = 11;
/// From here on a member that is told an older version uses that.
pub(super) const EARLIEST_PROBEABLE: i32 = 3;
/// From here on a task has the name of its topology.
const NAMED_TOPOLOGIES: i32 = 10;
/// What stands for a version that was not told.
pub(super) const UNKNOWN: i32 = -1;

/// Bytes that are none of these messages.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum Malformed {
    #[error("it ends too early: {0}")]
    Short(#[from] TryGetError),
    #[error("a text is not UTF-8")]
    Text,
    #[error("version {0} is not known, the newest is {LATEST}")]
    Version(i32),
    #[error("a count of {0}")]
    Count(i32),
    #[error("a task of a named topology, of which there are none here")]
    NamedTopology,
    #[error("topic {0} is not in the dictionary")]
    Topic(i32),
    #[error("sub-topology {0}")]
    Task(i32),
}

type Result<T> = std::result::Result<T, Malformed>;

fn task(subtopology: i32, partition: i32) -> Result<TaskId> {
    let subtopology = u32::try_from(subtopology).map_err(|_| Malformed::Task(subtopology))?;
    Ok(TaskId { subtopology, partition })
}

/// A count of elements each of which takes at least `least` bytes.
fn count(bytes: &mut &[u8], least: usize) -> Result<usize> {
    let count = bytes.try_get_i32()?;
    match usize::try_from(count) {
        Ok(known) if known <= bytes.len() / least => Ok(known),
        _ => Err(Malformed::Count(count)),
    }
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (taken, rest) = bytes
        .split_at_checked(length)
        .ok_or(Malformed::Short(TryGetError { requested: length, available: bytes.len() }))?;
    *bytes = rest;
    Ok(taken)
}

fn text(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Malformed::Text)
}
