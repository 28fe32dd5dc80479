//! Reads what came out, from its beginning, and shows it to the checker.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use vltava::client::{Consumer, ConsumerConfig, TopicPartition, config::IsolationLevel};

use crate::{
    check::Checker,
    names::{Names, Output},
};

/// A consumer of all outputs.
#[derive(Debug)]
pub struct Outputs {
    consumer: Consumer,
    topics: BTreeMap<String, Output>,
    partitions: Vec<TopicPartition>,
}

impl Outputs {
    /// At the beginning of every partition of every output.
    ///
    /// # Errors
    /// A setting that the client refuses.
    pub fn new(address: &str, names: &Names, partitions: i32, isolation: IsolationLevel) -> Result<Self> {
        let builder = ConsumerConfig::builder().bootstrap_servers(address).isolation_level(isolation);
        let config = builder.build();
        let consumer = Consumer::new(config?)?;
        let topics: BTreeMap<_, _> = Output::ALL.map(|output| (names.output(output), output)).into_iter().collect();
        let all = topics.keys().flat_map(|topic| (0..partitions).map(|p| TopicPartition::new(topic.as_str(), p)));
        let partitions: Vec<_> = all.collect();
        consumer.assign(partitions.iter().cloned())?;
        consumer.seek_to_beginning(&[])?;
        Ok(Self { consumer, topics, partitions })
    }

    /// All partitions that are read.
    pub fn partitions(&self) -> &[TopicPartition] {
        &self.partitions
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
        Ok(())
    }

    /// Whether all is read up to these ends.
    ///
    /// # Errors
    /// The consumer's.
    pub async fn is_at(&self, ends: &BTreeMap<TopicPartition, i64>) -> Result<bool> {
        for partition in &self.partitions {
            let at = self.consumer.position(partition).await?;
            if ends.get(partition).is_none_or(|end| at < *end) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
