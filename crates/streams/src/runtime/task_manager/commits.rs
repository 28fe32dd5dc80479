//! Commits: the records written, the offsets that led to them, and what the stores cover.

use std::{any::Any, collections::BTreeMap};

use vltava_client::{ClientError, OffsetAndMetadata, TopicPartition};
use vltava_protocol::ErrorCode;

use super::{ActiveTask, Phase, TaskManager, client_failed, corrupted};
use crate::{
    error::Result,
    runtime::{collector::ProducerCollector, kafka_streams::now_ms, offset_metadata, wait::wait},
};

impl TaskManager {
    /// At least once: what the tasks wrote is acknowledged before the offsets that led to it are committed, and only
    /// then do the stores keep the changelog offsets they cover. False if a rebalance came in between.
    pub(in crate::runtime) fn commit(&mut self, give_up: bool) -> Result<bool> {
        let running = |active: &&mut ActiveTask| active.phase == Phase::Running;
        let mut damaged = Vec::new();
        for active in self.tasks.values_mut().filter(running) {
            corrupted::noted(&mut damaged, active.task.id(), active.task.flush())?;
        }
        self.restore_damaged(std::mem::take(&mut damaged))?;
        loop {
            let flushed = wait(self.producer.flush());
            // What the handlers write about failures has to be there as well, and what was held back behind them.
            if !self.settle_failures()? {
                flushed.map_err(|error| client_failed("sending records", &error))?;
                break;
            }
        }
        let mut offsets = BTreeMap::new();
        for active in self.tasks.values().filter(|active| active.phase == Phase::Running) {
            offsets.extend(active.offsets_to_commit());
        }
        if !offsets.is_empty()
            && let Err(error) = wait(self.consumer.commit_sync_offsets(offsets.clone()))
        {
            if !give_up && !is_rebalance(&error) {
                return Err(client_failed("committing offsets", &error));
            }
            tracing::info!("offsets were not committed, a rebalance is under way: {error}");
            return Ok(false);
        }
        for active in self.tasks.values_mut().filter(running) {
            let id = active.task.id();
            corrupted::noted(&mut damaged, id, active.committed_now(&offsets))?;
        }
        self.restore_damaged(damaged)?;
        self.shared.committed(&self.setup, &offsets);
        self.counters.committed(now_ms());
        Ok(true)
    }
}

impl ActiveTask {
    /// Whether every store that has a changelog is as far as it was read.
    pub(super) fn covered_is_known(&self) -> bool {
        self.task.is_initialized()
    }

    pub(super) fn take_committed(&mut self, committed: &BTreeMap<TopicPartition, Option<OffsetAndMetadata>>) {
        for (partition, offset) in committed {
            let (Some(queue), Some(offset)) = (self.inputs.get(partition), offset) else { continue };
            if let Some(times) = offset_metadata::decode(&offset.metadata) {
                self.task.set_partition_time(*queue, times.partition);
                self.task.restore_processor_times(times.processors);
            }
            self.committed.insert(partition.clone(), offset.offset);
        }
    }

    fn offsets_to_commit(&self) -> Vec<(TopicPartition, OffsetAndMetadata)> {
        let partition = self.task.id().partition;
        let consumed = self.task.consumed_offsets().map(|(topic, consumed)| {
            let metadata = offset_metadata::encode(consumed.partition_time, self.task.processor_times());
            let offset = OffsetAndMetadata::new(consumed.offset).with_metadata(metadata);
            (TopicPartition::new(topic, partition), offset)
        });
        consumed.filter(|(partition, offset)| self.committed.get(partition) != Some(&offset.offset)).collect()
    }

    /// The stores now cover what their changelogs have, and what was committed of source topics that serve as one.
    fn committed_now(&mut self, offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>) -> Result<()> {
        for partition in self.inputs.keys() {
            if let Some(offset) = offsets.get(partition) {
                self.committed.insert(partition.clone(), offset.offset);
            }
        }
        let collector: &mut dyn Any = self.task.collector_mut();
        let written = match collector.downcast_mut::<ProducerCollector>() {
            Some(collector) => collector.take_changelog_offsets(),
            None => Vec::new(),
        };
        for (changelog, covered) in self.covered.values_mut() {
            if let Some((_, offset)) = written.iter().find(|(topic, _)| **topic == *changelog.topic()) {
                *covered = *offset;
            } else if let Some(offset) = self.committed.get(changelog) {
                *covered = *offset;
            }
        }
        let covered = &self.covered;
        self.task.commit_stores(|store| covered.get(store).map(|(_, offset)| *offset))
    }
}

/// Whether offsets could not be committed because the group has moved on; the next `poll` tells what came of it.
fn is_rebalance(error: &ClientError) -> bool {
    let moved = [
        ErrorCode::RebalanceInProgress,
        ErrorCode::IllegalGeneration,
        ErrorCode::UnknownMemberId,
        ErrorCode::StaleMemberEpoch,
    ];
    error.code().is_some_and(|code| moved.contains(&code))
}
