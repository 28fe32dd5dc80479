//! What a task writes, on its way into the producer.

use std::{collections::HashMap, sync::Arc};

use vltava_client::{
    ClientError, Producer,
    producer::{Delivery, HeaderView, ProducerRecord as ClientRecord, RecordTag},
};

use super::{
    failures::{Failures, Origin},
    wait::wait,
};
use crate::{
    error::{Error, Result},
    record::Headers,
    task::{ProducerRecord, RecordCollector, RecordOrigin, TaskId},
};

/// Hands records to a thread's producer, and remembers of every changelog the last one sent. A record that cannot be sent
/// is among the thread's [`Failures`], whether that shows at once or later.
pub(super) struct ProducerCollector {
    producer: Producer,
    task: TaskId,
    failures: Arc<Failures>,
    /// The origins of this task's records with their numbers; the last one is mostly the next one.
    owners: Vec<(Origin, u32)>,
    changelogs: HashMap<Arc<str>, Option<Delivery>>,
    partitions: HashMap<String, i32>,
}

impl ProducerCollector {
    pub(super) fn new(
        producer: Producer,
        task: TaskId,
        failures: Arc<Failures>,
        changelogs: impl IntoIterator<Item = Arc<str>>,
    ) -> Self {
        let changelogs = changelogs.into_iter().map(|topic| (topic, None)).collect();
        ProducerCollector { producer, task, failures, owners: Vec::new(), changelogs, partitions: HashMap::new() }
    }

    /// The offset after the last record of every changelog that was written since the last call. Everything must have
    /// been flushed.
    pub(super) fn take_changelog_offsets(&mut self) -> Vec<(Arc<str>, i64)> {
        let mut offsets = Vec::new();
        for (topic, last) in &mut self.changelogs {
            let Some(delivery) = last.take() else { continue };
            // What failed is known as a failure. A broker that has forgotten where it put a duplicate leaves the offset as
            // it was, too: more is restored.
            let offset = wait(delivery).ok().and_then(|written| written.offset);
            offsets.extend(offset.map(|offset| (topic.clone(), offset + 1)));
        }
        offsets
    }

    fn owner(&mut self, node: Option<&Arc<str>>, topic: Option<&Arc<str>>, partition: i32) -> u32 {
        let same = |a: &Option<Arc<str>>, b: Option<&Arc<str>>| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        let known = self.owners.iter().position(|(origin, _)| {
            origin.partition == partition && same(&origin.node, node) && same(&origin.topic, topic)
        });
        if let Some((_, owner)) = known.and_then(|at| self.owners.get(at)) {
            return *owner;
        }
        let (node, topic) = (node.cloned(), topic.cloned());
        let origin = Origin { task: self.task, node, topic, partition, is_dead_letter: false };
        let owner = self.failures.owner(origin.clone());
        self.owners.push((origin, owner));
        owner
    }

    fn place(&mut self, record: ProducerRecord<'_>, tag: RecordTag) {
        let headers = views(record.headers);
        let client_record = ClientRecord {
            topic: record.topic,
            partition: record.partition,
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: &headers,
        };
        if let Some(error) = self.failures.still_missing(&self.producer, record.topic) {
            return self.failures.refuse(&client_record, tag, error);
        }
        let sent = match self.changelogs.get_mut(record.topic) {
            Some(last) => {
                let sent = match self.producer.try_send_tagged(client_record, tag) {
                    Err(ClientError::WouldBlock { .. }) => wait(self.producer.send_tagged(client_record, tag)),
                    sent => sent,
                };
                sent.map(|delivery| *last = Some(delivery))
            }
            None => match self.producer.send_nowait_tagged(client_record, tag) {
                Err(ClientError::WouldBlock { .. }) => wait(self.producer.send_tagged(client_record, tag)).map(drop),
                sent => sent,
            },
        };
        if let Err(error) = sent {
            self.failures.refuse(&client_record, tag, error);
        }
    }
}

pub(super) fn views(headers: &Headers) -> Vec<HeaderView<'_>> {
    headers.iter().map(|header| HeaderView::new(&header.key, header.value.as_deref())).collect()
}

impl RecordCollector for ProducerCollector {
    fn send(&mut self, record: ProducerRecord<'_>) -> Result<()> {
        let owner = self.owner(None, None, -1);
        self.place(record, RecordTag { owner, position: -1 });
        Ok(())
    }

    fn send_from(&mut self, origin: RecordOrigin<'_>, record: ProducerRecord<'_>) -> Result<()> {
        let owner = self.owner(Some(origin.node), origin.topic, origin.partition);
        self.place(record, RecordTag { owner, position: origin.offset });
        Ok(())
    }

    fn partitions_for(&mut self, topic: &str) -> Result<i32> {
        if let Some(count) = self.partitions.get(topic) {
            return Ok(*count);
        }
        let known = match self.failures.still_missing(&self.producer, topic) {
            Some(error) => Err(error),
            None => wait(self.producer.partitions_for(topic)),
        };
        let partitions = known.map_err(|source| {
            self.failures.note_missing(topic, &source);
            Box::new(Error::Production { topic: topic.to_owned(), source })
        })?;
        let count = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
        self.partitions.insert(topic.to_owned(), count);
        Ok(count)
    }
}
