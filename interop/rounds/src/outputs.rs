//! Reads what came out, from its beginning, and shows it to the checker.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use vltava::client::{Consumer, ConsumerConfig, TopicPartition};

use crate::{
    check::Checker,
    names::{Names, Output},
};

/// A consumer of all outputs.
#[derive(Debug)]
pub struct Outputs {
    consumer: Consumer,
    topics: BTreeMap<String, Output>,
    read: BTreeMap<TopicPartition, i64>,
}

impl Outputs {
    /// At the beginning of every partition of every output.
    ///
    /// # Errors
    /// A setting that the client refuses.
    pub fn new(address: &str, names: &Names, partitions: i32) -> Result<Self> {
        let config = ConsumerConfig::from_properties([("bootstrap.servers", address)]);
        let consumer = Consumer::new(config?)?;
        let topics: BTreeMap<_, _> = Output::ALL.map(|output| (names.output(output), output)).into_iter().collect();
        let all = topics.keys().flat_map(|topic| (0..partitions).map(|p| TopicPartition::new(topic.as_str(), p)));
        let read: BTreeMap<_, _> = all.map(|partition| (partition, 0)).collect();
        consumer.assign(read.keys().cloned())?;
        consumer.seek_to_beginning(&[])?;
        Ok(Self { consumer, topics, read })
    }

    /// All partitions that are read.
    pub fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.read.keys()
    }

    /// Takes what comes within a time.
    ///
    /// # Errors
    /// The consumer's, but for those that it can be asked again after.
    pub async fn read(&mut self, checker: &mut Checker<'_>, within: Duration) -> Result<()> {
        let records = match self.consumer.poll(within).await {
            Ok(records) => records,
            Err(error) if error.is_retriable() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for (partition, record) in records.iter() {
            let Some(output) = self.topics.get(partition.topic()) else { continue };
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (key, value) = (record.key().map(text).unwrap_or_default(), record.value().map(text));
            checker.take(*output, &key, value.as_deref());
        }
        for (partition, next) in records.next_offsets() {
            self.read.insert(partition, next.offset);
        }
        Ok(())
    }

    /// Whether all is read up to these ends.
    pub fn is_at(&self, ends: &BTreeMap<TopicPartition, i64>) -> bool {
        self.read.iter().all(|(partition, at)| ends.get(partition).is_some_and(|end| at >= end))
    }
}
