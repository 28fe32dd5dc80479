//! Commits: the records written, the offsets that led to them, and what the stores cover.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
};

use vltava_client::{ClientError, OffsetAndMetadata, TopicPartition};
use vltava_protocol::ErrorCode;

use super::{ActiveTask, TaskManager, client_failed, machine::Event};
use crate::{
    error::Result,
    runtime::{collector::ProducerCollector, kafka_streams::now_ms, offset_metadata, wait::wait},
    task::TaskId,
};

impl TaskManager {
    /// At least once: what the tasks wrote is acknowledged before the offsets that led to it are committed, and only
    /// then do the stores keep the changelog offsets they cover.
    pub(in crate::runtime) fn commit(&mut self) -> Result<()> {
        self.on(Event::Commit)
    }

    pub(super) fn flush_caches(&mut self, tasks: &[TaskId]) -> Result<()> {
        for id in tasks {
            if let Some(active) = self.tasks.get_mut(id) {
                active.task.flush()?;
            }
        }
        Ok(())
    }

    /// Waits until all is acknowledged, what handlers write about failures, too. Returns the tasks that have to begin anew.
    pub(super) fn deliver(&mut self) -> Result<BTreeSet<TaskId>> {
        let mut anew = BTreeSet::new();
        loop {
            wait(self.producer.flush()).map_err(|error| client_failed("sending records", &error))?;
            match self.settle_failures()? {
                Some(tasks) => anew.extend(tasks),
                None => return Ok(anew),
            }
        }
    }

    /// Whether the offsets are committed; a rebalance may have come in between.
    pub(super) fn commit_offsets(&mut self, tasks: &[TaskId]) -> Result<bool> {
        let active = tasks.iter().filter_map(|id| self.tasks.get(id));
        let offsets: BTreeMap<_, _> = active.flat_map(ActiveTask::offsets_to_commit).collect();
        if !offsets.is_empty()
            && let Err(error) = wait(self.consumer.commit_sync_offsets(offsets.clone()))
        {
            if self.machine.is_assigned() && !is_rebalance(&error) {
                return Err(client_failed("committing offsets", &error));
            }
            tracing::info!("offsets were not committed, a rebalance is under way: {error}");
            return Ok(false);
        }
        self.offered = offsets;
        Ok(true)
    }

    /// What was committed is what the stores of these tasks cover.
    pub(super) fn checkpoint(&mut self, tasks: &[TaskId]) -> Result<()> {
        for id in tasks {
            if let Some(active) = self.tasks.get_mut(id) {
                active.committed_now(&self.offered)?;
            }
        }
        self.shared.committed(&self.setup, &self.offered);
        self.counters.committed(now_ms());
        Ok(())
    }
}

impl ActiveTask {
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
