//! The committed offsets of a shard's groups, and those of transactions that are still open.

use std::collections::{BTreeMap, BTreeSet};

use vltava_protocol::Uuid;
use vltava_protocol::records::group::{OffsetCommitKey, OffsetCommitValue};

use crate::coordinator::record::NO_PRODUCER_ID;

/// An offset that a group has committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    pub(crate) offset: i64,
    /// The leader epoch of the record before `offset`, or -1.
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
    pub(crate) commit_timestamp_ms: i64,
    /// When the offset expires, if its client said so; ms since the epoch.
    pub(crate) expire_timestamp_ms: Option<i64>,
    /// The topic's id, or zero in records older than that field.
    pub(crate) topic_id: Uuid,
}

impl From<OffsetCommitValue> for CommittedOffset {
    fn from(value: OffsetCommitValue) -> Self {
        Self {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata,
            commit_timestamp_ms: value.commit_timestamp,
            expire_timestamp_ms: (value.expire_timestamp != -1).then_some(value.expire_timestamp),
            topic_id: value.topic_id,
        }
    }
}

/// An offset and the place of its record among the others, which decides between two for one partition.
#[derive(Clone, Debug)]
struct Stored {
    offset: CommittedOffset,
    position: i64,
}

/// Values by group, topic and partition.
#[derive(Debug)]
struct PartitionMap<T>(BTreeMap<String, Topics<T>>);

type Topics<T> = BTreeMap<String, BTreeMap<i32, T>>;

impl<T> Default for PartitionMap<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> PartitionMap<T> {
    fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&T> {
        self.0.get(group)?.get(topic)?.get(&partition)
    }

    fn entry(&mut self, group: &str, topic: &str, partition: i32) -> std::collections::btree_map::Entry<'_, i32, T> {
        let topics = self.0.entry(group.to_owned()).or_default();
        topics.entry(topic.to_owned()).or_default().entry(partition)
    }

    fn insert(&mut self, group: &str, topic: &str, partition: i32, value: T) {
        if let Some(partitions) = self.0.get_mut(group).and_then(|topics| topics.get_mut(topic)) {
            partitions.insert(partition, value);
        } else {
            let topics = self.0.entry(group.to_owned()).or_default();
            topics.entry(topic.to_owned()).or_default().insert(partition, value);
        }
    }

    fn remove(&mut self, group: &str, topic: &str, partition: i32) -> Option<T> {
        let topics = self.0.get_mut(group)?;
        let partitions = topics.get_mut(topic)?;
        let removed = partitions.remove(&partition);
        if partitions.is_empty() {
            topics.remove(topic);
        }
        if topics.is_empty() {
            self.0.remove(group);
        }
        removed
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str, i32, &T)> {
        self.0.iter().flat_map(|(group, topics)| {
            topics.iter().flat_map(move |(topic, partitions)| {
                partitions.iter().map(move |(partition, value)| (group.as_str(), topic.as_str(), *partition, value))
            })
        })
    }
}

/// The offsets of a shard.
#[derive(Debug, Default)]
pub(super) struct OffsetStore {
    committed: PartitionMap<Stored>,
    /// By producer id: what becomes committed if its transaction does.
    pending: BTreeMap<i64, PartitionMap<Stored>>,
    /// The producers with an open transaction that has an offset for the partition.
    open: PartitionMap<BTreeSet<i64>>,
    position: i64,
}

impl OffsetStore {
    /// Moves on to the place of a record of the log.
    pub(super) fn advance(&mut self, position: i64) {
        self.position = self.position.max(position);
    }

    /// Returns the place after all that are taken.
    pub(super) fn next_position(&self) -> i64 {
        self.position.saturating_add(1)
    }

    /// Stores an offset, for as long as its transaction is open aside.
    pub(super) fn put(&mut self, producer_id: i64, key: OffsetCommitKey, offset: CommittedOffset) {
        let stored = Stored { offset, position: self.position };
        if producer_id == NO_PRODUCER_ID {
            self.committed.insert(&key.group, &key.topic, key.partition, stored);
            return;
        }
        self.open.entry(&key.group, &key.topic, key.partition).or_default().insert(producer_id);
        self.pending.entry(producer_id).or_default().insert(&key.group, &key.topic, key.partition, stored);
    }

    /// Removes what is known of a partition, committed or not.
    pub(super) fn remove(&mut self, group: &str, topic: &str, partition: i32) {
        self.committed.remove(group, topic, partition);
        for producer_id in self.open.remove(group, topic, partition).unwrap_or_default() {
            if let Some(pending) = self.pending.get_mut(&producer_id) {
                pending.remove(group, topic, partition);
            }
        }
    }

    /// Ends a producer's transaction: what it stored is committed, unless a later commit is there, or dropped.
    pub(super) fn end_transaction(&mut self, producer_id: i64, committed: bool) {
        let Some(pending) = self.pending.remove(&producer_id) else { return };
        for (group, topic, partition, stored) in pending.iter() {
            if let Some(producers) =
                self.open.0.get_mut(group).and_then(|topics| topics.get_mut(topic)?.get_mut(&partition))
            {
                producers.remove(&producer_id);
                if producers.is_empty() {
                    self.open.remove(group, topic, partition);
                }
            }
            let current = self.committed.get(group, topic, partition);
            if committed && current.is_none_or(|current| current.position < stored.position) {
                self.committed.insert(group, topic, partition, stored.clone());
            }
        }
    }

    pub(super) fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.committed.get(group, topic, partition).map(|stored| &stored.offset)
    }

    /// Returns whether an open transaction has an offset for the partition.
    pub(super) fn is_unstable(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.open.get(group, topic, partition).is_some()
    }

    /// Returns whether an open transaction has an offset for the group.
    pub(super) fn has_open_transaction(&self, group: &str) -> bool {
        self.open.0.contains_key(group)
    }

    /// Returns the committed offsets of a group by topic and partition.
    pub(super) fn topics_of(
        &self,
        group: &str,
    ) -> impl Iterator<Item = (&str, impl Iterator<Item = (i32, &CommittedOffset)>)> {
        self.committed.0.get(group).into_iter().flatten().map(|(topic, partitions)| {
            (topic.as_str(), partitions.iter().map(|(partition, stored)| (*partition, &stored.offset)))
        })
    }

    /// Returns the partitions for which a group has an offset, committed or not.
    pub(super) fn partitions_of(&self, group: &str) -> BTreeSet<(String, i32)> {
        let committed = self
            .committed
            .0
            .get(group)
            .into_iter()
            .flatten()
            .flat_map(|(topic, partitions)| partitions.keys().map(move |partition| (topic.clone(), *partition)));
        let open = self
            .open
            .0
            .get(group)
            .into_iter()
            .flatten()
            .flat_map(|(topic, partitions)| partitions.keys().map(move |partition| (topic.clone(), *partition)));
        committed.chain(open).collect()
    }

    /// Returns the group and partition of every offset of a topic, whose id is this one or was not stored.
    pub(super) fn groups_with(&self, topic: &str, topic_id: Uuid) -> BTreeSet<(String, i32)> {
        let mut found = BTreeSet::new();
        for offsets in std::iter::once(&self.committed).chain(self.pending.values()) {
            for (group, topics) in &offsets.0 {
                for (partition, stored) in topics.get(topic).into_iter().flatten() {
                    if stored.offset.topic_id == topic_id || stored.offset.topic_id == Uuid::ZERO {
                        found.insert((group.clone(), *partition));
                    }
                }
            }
        }
        found
    }

    /// How many are committed.
    pub(super) fn count(&self) -> usize {
        self.committed.0.values().flat_map(BTreeMap::values).map(BTreeMap::len).sum()
    }

    /// Returns all committed offsets.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str, i32, &CommittedOffset)> {
        self.committed.iter().map(|(group, topic, partition, stored)| (group, topic, partition, &stored.offset))
    }
}
