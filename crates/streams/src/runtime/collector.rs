//! What a task writes, on its way into the producer.

use std::{collections::HashMap, sync::Arc};

use vltava_client::{
    ClientError, Producer,
    producer::{Delivery, HeaderView, ProducerRecord as ClientRecord},
};

use super::wait::wait;
use crate::{
    error::{Error, Result},
    record::Headers,
    task::{ProducerRecord, RecordCollector},
};

/// Hands records to a thread's producer, and remembers of every changelog the last one sent.
pub(super) struct ProducerCollector {
    producer: Producer,
    changelogs: HashMap<Arc<str>, Option<Delivery>>,
    partitions: HashMap<String, i32>,
}

impl ProducerCollector {
    pub(super) fn new(producer: Producer, changelogs: impl IntoIterator<Item = Arc<str>>) -> Self {
        let changelogs = changelogs.into_iter().map(|topic| (topic, None)).collect();
        ProducerCollector { producer, changelogs, partitions: HashMap::new() }
    }

    /// The offset after the last record of every changelog that was written since the last call. Everything must have
    /// been flushed.
    pub(super) fn take_changelog_offsets(&mut self) -> Result<Vec<(Arc<str>, i64)>> {
        let mut offsets = Vec::new();
        for (topic, last) in &mut self.changelogs {
            let Some(delivery) = last.take() else { continue };
            let written = wait(delivery).map_err(|error| failed(topic, &error))?;
            // A broker that has forgotten where it put a duplicate leaves the offset as it was: more is restored.
            offsets.extend(written.offset.map(|offset| (topic.clone(), offset + 1)));
        }
        Ok(offsets)
    }

    fn place(&mut self, record: ClientRecord<'_>, topic: &Arc<str>) -> std::result::Result<(), ClientError> {
        match self.changelogs.get_mut(topic) {
            Some(last) => {
                let delivery = match self.producer.try_send(record) {
                    Err(ClientError::WouldBlock { .. }) => wait(self.producer.send(record))?,
                    sent => sent?,
                };
                *last = Some(delivery);
                Ok(())
            }
            None => match self.producer.send_nowait(record) {
                Err(ClientError::WouldBlock { .. }) => {
                    // Unobserved like `send_nowait`: the flush before the commit reports its failure.
                    let producer = self.producer.clone();
                    wait(async { producer.send(record).await.map(drop) })
                }
                sent => sent,
            },
        }
    }
}

fn failed(topic: &str, error: &ClientError) -> Box<Error> {
    Box::new(Error::Production { topic: topic.to_owned(), message: error.to_string() })
}

fn views(headers: &Headers) -> Vec<HeaderView<'_>> {
    headers.iter().map(|header| HeaderView::new(&header.key, header.value.as_deref())).collect()
}

impl RecordCollector for ProducerCollector {
    fn send(&mut self, record: ProducerRecord<'_>) -> Result<()> {
        let headers = views(record.headers);
        let client_record = ClientRecord {
            topic: record.topic,
            partition: record.partition,
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: &headers,
        };
        self.place(client_record, record.topic).map_err(|error| failed(record.topic, &error))
    }

    fn partitions_for(&mut self, topic: &str) -> Result<i32> {
        if let Some(count) = self.partitions.get(topic) {
            return Ok(*count);
        }
        let partitions = wait(self.producer.partitions_for(topic)).map_err(|error| failed(topic, &error))?;
        let count = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
        self.partitions.insert(topic.to_owned(), count);
        Ok(count)
    }
}
