//! Where partitions without an offset that is good are read from: what their source says, else what the application's
//! `auto.offset.reset` says. No I/O.

use std::collections::BTreeSet;
use std::sync::Arc;

use vltava_client::{ClientError, TopicPartition, config};

use crate::{
    error::{Error, Result},
    topology::{AutoOffsetReset, Topology},
};

/// Where to read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seek {
    /// Where the policy says.
    ByPolicy(TopicPartition, config::AutoOffsetReset),
    /// At the first record that is another than what was read (KIP-320).
    To(TopicPartition, i64),
}

/// The policies of a topology's sources, and the application's.
pub(super) struct Resets {
    topology: Arc<Topology>,
    otherwise: config::AutoOffsetReset,
}

impl Resets {
    pub(super) fn new(topology: Arc<Topology>, otherwise: config::AutoOffsetReset) -> Self {
        Resets { topology, otherwise }
    }

    fn of_topic(&self, topic: &str) -> config::AutoOffsetReset {
        match self.topology.offset_reset(topic) {
            Some(AutoOffsetReset::Earliest) => config::AutoOffsetReset::Earliest,
            Some(AutoOffsetReset::Latest) => config::AutoOffsetReset::Latest,
            Some(AutoOffsetReset::None) => config::AutoOffsetReset::None,
            Some(AutoOffsetReset::ByDuration(back)) => config::AutoOffsetReset::ByDuration(back),
            None => self.otherwise,
        }
    }

    /// What is to be done about an error of `poll`; nothing if it does not tell of offsets.
    ///
    /// # Errors
    /// If the policy of one of the topics is none.
    pub(super) fn answer(&self, error: &ClientError) -> Result<Vec<Seek>> {
        let (partitions, divergent) = match error {
            ClientError::NoOffsetForPartition { partitions } => (partitions.as_slice(), None),
            ClientError::OffsetOutOfRange { partition, .. } => (std::slice::from_ref(partition), None),
            ClientError::LogTruncated { partition, divergent, .. } => (std::slice::from_ref(partition), *divergent),
            _ => return Ok(Vec::new()),
        };
        let policies = partitions.iter().map(|partition| (partition, self.of_topic(partition.topic())));
        let (without, with): (Vec<_>, Vec<_>) =
            policies.partition(|(_, policy)| *policy == config::AutoOffsetReset::None);
        if !without.is_empty() {
            let topics: BTreeSet<_> = without.iter().map(|(partition, _)| partition.topic()).collect();
            let topics = topics.into_iter().collect::<Vec<_>>().join(", ");
            let doing = format!(
                "reading {topics}, of which no offset is committed that is good, and whose reset policy is none (set \
                 `auto.offset.reset`, or `Consumed::with_offset_reset_policy` of the source)"
            );
            return Err(Error::client(doing, error.clone()));
        }
        let seek = |(partition, policy): (&TopicPartition, _)| match divergent {
            Some(offset) => Seek::To(partition.clone(), offset),
            None => Seek::ByPolicy(partition.clone(), policy),
        };
        Ok(with.into_iter().map(seek).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Consumed, StreamsBuilder};

    fn resets(otherwise: config::AutoOffsetReset) -> Resets {
        let builder = StreamsBuilder::new();
        let consumed = |reset| Consumed::<String, String>::new().with_offset_reset_policy(reset);
        let hour = Duration::from_secs(3600);
        builder.stream_with::<String, String>(&["new"], consumed(AutoOffsetReset::Latest)).to("out");
        builder.stream_with::<String, String>(&["kept"], consumed(AutoOffsetReset::None)).to("out");
        builder.stream_pattern::<String, String>("log-.*", consumed(AutoOffsetReset::ByDuration(hour))).to("out");
        builder.stream::<String, String>("plain").to("out");
        Resets::new(Arc::new(builder.build().unwrap()), otherwise)
    }

    fn missing(topics: &[&str]) -> ClientError {
        let partitions = topics.iter().map(|topic| TopicPartition::new(*topic, 0)).collect();
        ClientError::NoOffsetForPartition { partitions }
    }

    #[test]
    fn each_partition_is_reset_as_its_source_says_and_the_rest_as_the_application_says() {
        let by = |topic: &str, policy| Seek::ByPolicy(TopicPartition::new(topic, 0), policy);
        let seeks = resets(config::AutoOffsetReset::Earliest).answer(&missing(&["new", "plain", "log-a"])).unwrap();
        let hour = Duration::from_secs(3600);
        assert_eq!(
            seeks,
            [
                by("new", config::AutoOffsetReset::Latest),
                by("plain", config::AutoOffsetReset::Earliest),
                by("log-a", config::AutoOffsetReset::ByDuration(hour))
            ]
        );
        let partition = TopicPartition::new("new", 0);
        let out_of_range = ClientError::OffsetOutOfRange { partition, offset: 7 };
        let seeks = resets(config::AutoOffsetReset::None).answer(&out_of_range).unwrap();
        assert_eq!(seeks, [by("new", config::AutoOffsetReset::Latest)]);
    }

    #[test]
    fn a_policy_of_none_is_an_error_that_names_the_topics() {
        let resets = resets(config::AutoOffsetReset::None);
        let error = resets.answer(&missing(&["new", "kept", "plain"])).unwrap_err().to_string();
        assert!(error.contains("reading kept, plain, of which"), "{error}");
    }

    #[test]
    fn other_errors_are_not_about_offsets() {
        assert_eq!(resets(config::AutoOffsetReset::None).answer(&ClientError::Closed).unwrap(), []);
    }
}
