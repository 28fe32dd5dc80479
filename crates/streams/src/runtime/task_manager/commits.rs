//! Commits: the records written, the offsets that led to them, and what the stores cover.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use vltava_client::{ClientError, OffsetAndMetadata, TopicPartition};

use super::{ActiveTask, TaskManager, anew::Anew, client_failed, failed::Failed, machine::Event};
use crate::{
    error::{Error, Result},
    runtime::{
        kafka_streams::now_ms,
        offset_metadata,
        verdict::{self, Verdict},
        wait::{as_long_as, wait},
    },
    task::{Task, TaskId},
};

/// Exactly once a rebalance may take as many intervals of commits until one is made in it: who reads what is committed would wait
/// for its end, and most end before.
const INTERVALS: u32 = 5;

impl TaskManager {
    /// What the tasks wrote is acknowledged before the offsets that led to it are committed, exactly once both in one
    /// transaction, and only then do the stores keep the changelog offsets they cover. False if it has to be tried again
    /// soon.
    pub(in crate::runtime) fn commit(&mut self) -> Result<bool> {
        let longest = self.shared.config.fields().commit_interval.saturating_mul(INTERVALS);
        let (began, before) = (Instant::now(), self.committed);
        let done = self.on(Event::Commit { session: self.session(), urgent: self.producer.is_open_for(longest) });
        self.metrics.committed(began.elapsed(), self.committed - before, now_ms());
        done?;
        Ok(!self.machine.owes_commit())
    }

    pub(super) fn flush_caches(&mut self, tasks: &[TaskId]) -> Result<Event> {
        let mut anew = Anew::default();
        for id in tasks {
            let Some(active) = self.tasks.get_mut(id) else { continue };
            // Nothing of it would be sent; in a transaction it may.
            if !self.producer.is_exactly_once() && !self.consumer.is_in_session() {
                break;
            }
            anew.note(*id, active.task.flush())?;
        }
        Ok(Event::Flushed(anew))
    }

    /// Waits until all is acknowledged, what handlers write about failures, too. Not for longer than the session: while
    /// that is over nothing is sent, and only `poll` tells what comes of it.
    pub(super) fn deliver(&mut self) -> Result<Event> {
        if self.producer.is_exactly_once() {
            return self.deliver_in_transaction();
        }
        let (mut anew, producer) = (Anew::default(), self.producer.get());
        loop {
            let in_session = || self.consumer.is_in_session();
            let flushed = wait(async { as_long_as(in_session, producer.flush()).await.transpose() });
            match self.settle_failures()? {
                Failed::None => {
                    if let Ok(None) = flushed {
                        return Ok(Event::OutOfSession(anew));
                    }
                    flushed.map_err(|error| client_failed("sending records", &error))?;
                    return Ok(Event::Delivered(anew));
                }
                Failed::Records(tasks) => {
                    for id in tasks.ids() {
                        // What it has written to changelogs and what may not be durable yet is not to be.
                        self.tasks.get_mut(&id).into_iter().for_each(|active| active.task.collector_mut().discard());
                    }
                    anew.extend(tasks);
                    // It is decided what becomes of them: what was held back behind them may go.
                    producer.barrier();
                }
                Failed::Migrated => return Ok(Event::Migrated),
            }
        }
    }

    /// A transaction in which anything has failed is not committed.
    fn deliver_in_transaction(&mut self) -> Result<Event> {
        let flushed = wait(self.producer.get().flush());
        match (self.settle_failures()?, flushed) {
            (Failed::Migrated, _) => Ok(Event::Migrated),
            (Failed::Records(tasks), _) => Ok(Event::Delivered(tasks)),
            (Failed::None, Ok(())) => Ok(Event::Delivered(Anew::default())),
            (Failed::None, Err(error)) => self.not_committed(error, "sending records"),
        }
    }

    /// What follows from an error in a transaction.
    fn not_committed(&mut self, error: ClientError, doing: &str) -> Result<Event> {
        self.uncommitted = Some(error.clone());
        match verdict::of_transaction(&error) {
            // The group has gone on to the next generation; whether with this member says the answer to its join.
            Verdict::Migrated if self.machine.is_rebalancing() && verdict::is_of_generation(&error) => {
                Ok(Event::NotCommitted(None))
            }
            Verdict::Retry | Verdict::Rebalance => Ok(Event::NotCommitted(Some(error))),
            Verdict::Migrated => {
                tracing::warn!("the thread was fenced, its tasks are lost and it joins again: {error}");
                Ok(Event::Migrated)
            }
            Verdict::OtherGroup | Verdict::Fatal => Err(client_failed(doing, &error)),
        }
    }

    /// What was given since the last commit, and is not committed, is never to be.
    pub(super) fn discard(&self) {
        if self.producer.is_exactly_once() {
            self.producer.abort();
            // With the transaction its failures are over.
            drop(self.failures.take(&self.producer.get()));
        } else {
            self.producer.get().discard_all();
        }
    }

    pub(super) fn commit_offsets(&mut self, tasks: &[TaskId]) -> Result<Event> {
        let active = tasks.iter().filter_map(|id| Some((*id, self.tasks.get(id)?.offsets_to_commit())));
        let by_task: Vec<_> = active.filter(|(_, offsets)| !offsets.is_empty()).collect();
        let advanced: BTreeSet<TaskId> = by_task.iter().map(|(id, _)| *id).collect();
        let offsets: BTreeMap<_, _> = by_task.into_iter().flat_map(|(_, offsets)| offsets).collect();
        if self.producer.is_exactly_once() {
            if self.shared.config.is_of_streams_group() {
                // The member's epoch grows with the group's, whether or not it is assigned something.
                self.know_member();
            }
            let Some(member) = &self.member else { return Err(Error::internal("tasks without an assignment")) };
            if let Err(error) = self.producer.commit(offsets.clone(), member) {
                return self.not_committed(error, "committing a transaction");
            }
            return Ok(self.committed_as(offsets, advanced));
        }
        if !offsets.is_empty()
            && let Err(error) = wait(self.consumer.commit_sync_offsets(offsets.clone()))
        {
            self.uncommitted = Some(error.clone());
            return match verdict::of_commit(&error) {
                Verdict::Retry => Ok(Event::NotCommitted(Some(error))),
                Verdict::Rebalance => {
                    tracing::info!("offsets were not committed, a rebalance is under way: {error}");
                    Ok(Event::NotCommitted(None))
                }
                Verdict::Migrated => {
                    tracing::warn!(
                        "the thread has dropped out of its group, its tasks are lost and it joins again: {error}"
                    );
                    Ok(Event::Migrated)
                }
                Verdict::OtherGroup | Verdict::Fatal => Err(client_failed("committing offsets", &error)),
            };
        }
        Ok(self.committed_as(offsets, advanced))
    }

    fn committed_as(
        &mut self,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
        advanced: BTreeSet<TaskId>,
    ) -> Event {
        self.offered = offsets;
        self.committed += advanced.len();
        Event::Committed { advanced }
    }

    /// What was committed is what the stores of these tasks cover.
    pub(super) fn checkpoint(&mut self, tasks: &[TaskId]) -> Result<Event> {
        let mut anew = Anew::default();
        for id in tasks {
            if let Some(active) = self.tasks.get_mut(id) {
                anew.note(*id, active.committed_now(&self.offered))?;
                self.offset_sums.committed(&self.shared.directory, &active.task, &active.covered);
            }
        }
        self.shared.committed(&self.setup, &self.offered);
        Ok(Event::BeginAnew(anew))
    }
}

/// Brings back the times that were committed with offsets, by the queues of their partitions. If all are known, the time of the
/// stores goes no further.
pub(super) fn take_times(task: &mut Task, committed: Vec<(usize, &OffsetAndMetadata)>) {
    let mut times_known = true;
    for (queue, offset) in committed {
        match offset_metadata::decode(&offset.metadata) {
            Some(times) => {
                task.set_partition_time(queue, times.partition);
                task.restore_processor_times(times.processors);
            }
            None => times_known = false,
        }
    }
    if times_known {
        task.limit_store_times();
    }
}

impl ActiveTask {
    pub(super) fn take_committed(&mut self, committed: &BTreeMap<TopicPartition, Option<OffsetAndMetadata>>) {
        let mut known = Vec::new();
        for (partition, offset) in committed {
            let (Some(queue), Some(offset)) = (self.inputs.get(partition), offset) else { continue };
            known.push((*queue, offset));
            self.committed.insert(partition.clone(), offset.offset);
        }
        take_times(&mut self.task, known);
    }

    /// Where each input goes on: behind the last record that was processed, or, if none waits, behind all that was read.
    /// There may be markers of transactions, or gaps, which nobody would ever have read.
    fn offsets_to_commit(&self) -> Vec<(TopicPartition, OffsetAndMetadata)> {
        let processed: BTreeMap<&str, i64> =
            self.task.consumed_offsets().map(|(topic, consumed)| (topic, consumed.offset)).collect();
        let inputs = self.inputs.iter().filter_map(|(partition, queue)| {
            let processed = processed.get(partition.topic()).copied();
            let read = self.read.get(partition).copied().filter(|_| self.task.buffered(*queue) == 0);
            let offset = processed.max(read).filter(|offset| self.committed.get(partition) != Some(offset))?;
            let metadata = offset_metadata::encode(self.task.partition_time(*queue), self.task.processor_times());
            Some((partition.clone(), OffsetAndMetadata::new(offset).with_metadata(metadata)))
        });
        inputs.collect()
    }

    /// The stores now cover what their changelogs have, and what was committed of source topics that serve as one.
    fn committed_now(&mut self, offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>) -> Result<()> {
        for partition in self.inputs.keys() {
            if let Some(offset) = offsets.get(partition) {
                self.committed.insert(partition.clone(), offset.offset);
            }
        }
        let written = self.task.collector_mut().take_changelog_offsets();
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
