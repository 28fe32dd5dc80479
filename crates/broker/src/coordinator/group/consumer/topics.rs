//! What a consumer group has to know of the cluster's topics.

use std::collections::BTreeSet;

use vltava_protocol::{ErrorCode, Uuid};

use crate::coordinator::pattern::Pattern;

/// The topics of the cluster at one moment.
pub(crate) trait TopicMetadata {
    /// Returns a number that grows with every change of the topics.
    fn version(&self) -> i64;
    /// Returns a topic's id and its number of partitions.
    fn topic(&self, name: &str) -> Option<(Uuid, i32)>;
    /// Returns a topic's name.
    fn name(&self, id: Uuid) -> Option<String>;
    /// Returns all topics' names.
    fn names(&self) -> Vec<String>;
}

/// Returns a number that changes when the topics' ids or numbers of partitions do.
///
/// It is kept in the log and compared with that of later metadata. Kafka's is another function (KIP-1101), so a group
/// that moves between the two has one rebalance.
pub(in super::super) fn metadata_hash(names: &BTreeSet<&str>, topics: &dyn TopicMetadata) -> i64 {
    // FNV-1a, 64 bits.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    let mut any = false;
    for name in names {
        if let Some((id, partitions)) = topics.topic(name) {
            any = true;
            add(name.as_bytes());
            add(id.as_bytes());
            add(&partitions.to_be_bytes());
        }
    }
    if any { hash.cast_signed() } else { 0 }
}

/// Finds the topics whose whole name an expression matches.
///
/// # Errors
///
/// `INVALID_REGULAR_EXPRESSION`.
pub(super) fn resolve(regex: &str, topics: &dyn TopicMetadata) -> Result<BTreeSet<String>, ErrorCode> {
    let pattern = Pattern::compile(regex)?;
    Ok(topics.names().into_iter().filter(|name| pattern.matches(name)).collect())
}
