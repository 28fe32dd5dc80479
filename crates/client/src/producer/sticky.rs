//! The partition that records without a key go to for a while (KIP-480, KIP-794).

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use super::accumulator::{PartitionQueue, TopicQueues};

/// The current sticky partition of a topic: changed after `batch.size` bytes, so that batches are full and all partitions
/// get the same number of bytes; with adaptive partitioning, those with a long queue get fewer.
#[derive(Debug)]
pub(crate) struct StickyPartition {
    partition: AtomicI32,
    bytes: AtomicUsize,
    adaptive: bool,
}

impl StickyPartition {
    pub(crate) fn new(adaptive: bool) -> Self {
        Self { partition: AtomicI32::new(-1), bytes: AtomicUsize::new(0), adaptive }
    }

    /// The partition for the next record.
    #[inline]
    pub(crate) fn current(&self, topic: &TopicQueues) -> i32 {
        match self.partition.load(Ordering::Relaxed) {
            -1 => self.switch(-1, topic),
            partition => partition,
        }
    }

    /// Takes in a record that went to `partition`. `is_batch_start` is whether it began a batch: only then is it time to
    /// change, or the batch before would stay half empty; unless it is twice the size overdue.
    #[inline]
    pub(crate) fn record(
        &self,
        topic: &TopicQueues,
        partition: i32,
        size: usize,
        batch_size: usize,
        is_batch_start: bool,
    ) {
        if self.partition.load(Ordering::Relaxed) != partition {
            // It went there by its key.
            return;
        }
        let bytes = self.bytes.fetch_add(size, Ordering::Relaxed) + size;
        if bytes >= batch_size && (is_batch_start || bytes >= batch_size.saturating_mul(2)) {
            self.switch(partition, topic);
        }
    }

    #[cold]
    fn switch(&self, from: i32, topic: &TopicQueues) -> i32 {
        let next = choose(&topic.partitions, self.adaptive, fastrand::u64(..));
        // Two threads may come here at once; the second one finds another partition and leaves it.
        match self.partition.compare_exchange(from, next, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                self.bytes.store(0, Ordering::Relaxed);
                next
            }
            Err(other) => other,
        }
    }
}

/// A partition by chance: all available ones alike, or, if adaptive, each by how much shorter its queue is than the
/// longest.
pub(crate) fn choose(partitions: &[std::sync::Arc<PartitionQueue>], adaptive: bool, random: u64) -> i32 {
    let usable = |one: &&std::sync::Arc<PartitionQueue>| one.available.load(Ordering::Relaxed);
    let available = partitions.iter().filter(usable).count();
    // Without a single leader one is as good as another.
    let considered = || partitions.iter().filter(|one| available == 0 || usable(one));
    let waiting = |one: &PartitionQueue| u64::from(one.waiting.load(Ordering::Relaxed));
    let longest = considered().map(|one| waiting(one)).max().unwrap_or(0);
    let weight = |one: &PartitionQueue| if adaptive { (longest + 1).saturating_sub(waiting(one)).max(1) } else { 1 };
    let total: u64 = considered().map(|one| weight(one)).sum();
    let mut left = if total == 0 { 0 } else { random % total };
    for one in considered() {
        let weight = weight(one);
        if left < weight {
            return one.partition;
        }
        left -= weight;
    }
    0
}
