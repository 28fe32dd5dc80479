//! Filling the global stores with what is in their topics when the application starts.

use std::{collections::BTreeMap, time::Instant};

use vltava_client::{ClientError, TopicPartition, consumer::PartitionRecords};
use vltava_protocol::invariant;

use super::{GlobalThread, asking::ask, client_failed};
use crate::{
    error::{Error, Result},
    runtime::{
        kafka_streams::now_ms,
        records::{headers, input_batches},
        restore::bound,
        wait::{until_closing, wait_while_open},
    },
    topology::GlobalStore,
};

/// A partition that is being read.
struct Reading {
    end: i64,
    restored: u64,
}

impl GlobalThread {
    /// From the offsets that the stores have kept, unless they are new, or the beginnings of their topics. False if the
    /// stores have what their topics do not.
    pub(super) fn plan_offsets(&mut self, new: bool) -> Result<bool> {
        let shared = self.shared.clone();
        for global in &shared.topology.global_stores {
            let kept = if new { Some(BTreeMap::new()) } else { self.task.kept_offsets(global.factory.id)? };
            let Some(kept) = kept else { return Ok(false) };
            let partitions = self.partitions_of(&global.topic)?;
            let (beginnings, ends) = self.bounds(&partitions)?;
            for partition in &partitions {
                let failed = |error: ClientError| client_failed("looking offsets up", &error);
                let beginning = bound(&beginnings, partition).map_err(failed)?;
                let end = bound(&ends, partition).map_err(failed)?;
                let offset = kept.get(&partition.partition()).copied().unwrap_or(beginning);
                if !(beginning..=end).contains(&offset) {
                    return Ok(false);
                }
                self.task.set_offset(&global.topic, partition.partition(), offset);
            }
        }
        Ok(true)
    }

    fn bounds(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<(BTreeMap<TopicPartition, i64>, BTreeMap<TopicPartition, i64>)> {
        ask(&self.shared, "looking offsets up", async || {
            let beginnings = self.consumer.beginning_offsets(partitions).await?;
            Ok((beginnings, self.consumer.end_offsets(partitions).await?))
        })
    }

    /// Fills the stores, one after the other, with what is in their topics now. False if the application closes meanwhile.
    pub(super) fn bootstrap(&mut self) -> Result<bool> {
        let shared = self.shared.clone();
        for global in &shared.topology.global_stores {
            if !self.fill(global)? {
                return Ok(false);
            }
        }
        self.task.end_restoration()?;
        Ok(true)
    }

    fn fill(&mut self, global: &GlobalStore) -> Result<bool> {
        let partitions = self.partitions_of(&global.topic)?;
        let (_, ends) = self.bounds(&partitions)?;
        let mut reading = BTreeMap::new();
        for partition in partitions {
            let offset = self.offset(&partition)?;
            let end = bound(&ends, &partition).map_err(|error| client_failed("looking offsets up", &error))?;
            if offset < end {
                let store = &global.factory.name;
                self.shared.tell_restore(|listener| listener.on_restore_start(&partition, store, offset, end))?;
                reading.insert(partition, Reading { end, restored: 0 });
            }
        }
        if reading.is_empty() {
            return Ok(true);
        }
        if global.reprocess {
            self.task.begin_reprocessing(&self.shared.topology, global.factory.id)?;
        }
        let failed = |error: ClientError| client_failed("reading the topics", &error);
        self.consumer.assign(reading.keys().cloned()).map_err(failed)?;
        for partition in reading.keys() {
            self.consumer.seek(partition, self.offset(partition)?).map_err(failed)?;
        }
        let patience = self.shared.config.fields().task_timeout;
        let mut last = Instant::now();
        while !reading.is_empty() {
            if self.shared.is_closing() {
                return Ok(false);
            }
            let records = match wait_while_open(self.consumer.poll(self.poll_time)) {
                Ok(records) => records,
                Err(error) if error.is_retriable() => {
                    let _ = until_closing(tokio::time::sleep(self.poll_time));
                    Default::default()
                }
                Err(error) => return Err(self.poll_failed(&error)),
            };
            for part in records.partitions() {
                let count = self.take(global, part)?;
                if let Some(reading) = reading.get_mut(part.topic_partition()) {
                    reading.restored += count;
                }
                last = Instant::now();
            }
            self.end_reading(global, &mut reading)?;
            self.task.commit()?;
            if last.elapsed() > patience {
                let (topic, store) = (&global.topic, &global.factory.name);
                let source = ClientError::Timeout { what: format!("reading topic {topic}").into(), after: patience };
                return Err(Error::client(format!("filling store {store} within `task.timeout.ms`"), source));
            }
        }
        Ok(true)
    }

    /// How far the store is, which [`plan_offsets`](Self::plan_offsets) has told the task.
    fn offset(&self, partition: &TopicPartition) -> Result<i64> {
        let partitions = self.task.offsets().get(partition.topic());
        let offset = partitions.and_then(|partitions| partitions.get(&partition.partition())).copied();
        invariant!(offset.is_some(), "the offset of {partition} was planned");
        offset.ok_or_else(|| Error::internal("a partition of a global store without an offset"))
    }

    /// Puts records into the store, or has them processed. Returns how many.
    fn take(&mut self, global: &GlobalStore, part: &PartitionRecords) -> Result<u64> {
        let mut count = 0;
        if global.reprocess {
            for batch in input_batches(part) {
                count += batch.len() as u64;
                self.task.reprocess(&global.topic, part.topic_partition().partition(), batch, now_ms())?;
            }
            return Ok(count);
        }
        for record in part.iter() {
            // A record without key is none of a table's.
            let Some(key) = record.key() else { continue };
            let id = global.factory.id;
            self.task.restore(id, key, record.value(), record.timestamp(), &headers(&record))?;
            count += 1;
        }
        Ok(count)
    }

    /// Takes note of how far the partitions are. The last offset may be that of a record that is no more: compacted away,
    /// or a transaction's marker.
    fn end_reading(&mut self, global: &GlobalStore, reading: &mut BTreeMap<TopicPartition, Reading>) -> Result<()> {
        let failed = |error: ClientError| client_failed("reading the topics", &error);
        let before = reading.len();
        let mut ended = Vec::new();
        for (partition, Reading { end, restored }) in reading.iter() {
            let position = match wait_while_open(self.consumer.position(partition)) {
                Ok(position) => position,
                // `task.timeout.ms` is the limit of this too.
                Err(error) if error.is_retriable() => continue,
                Err(error) => return Err(failed(error)),
            };
            self.task.set_offset(partition.topic(), partition.partition(), position);
            if position >= *end {
                ended.push((partition.clone(), *restored));
            }
        }
        for (partition, restored) in ended {
            reading.remove(&partition);
            let store = &global.factory.name;
            self.shared.tell_restore(|listener| listener.on_restore_end(&partition, store, restored))?;
        }
        if reading.len() < before {
            self.consumer.assign(reading.keys().cloned()).map_err(failed)?;
        }
        Ok(())
    }
}
