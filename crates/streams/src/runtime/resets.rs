//! Where partitions without an offset that is good are read from: what their source says, else what the application's
//! `auto.offset.reset` says. No I/O.

use std::collections::{BTreeMap, BTreeSet};
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
    /// At the first record that is another than what was read (KIP-320), or where reading had come to.
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

    /// Whether a partition that is read anew without a committed offset may begin behind what was not read. Not where all
    /// begin at their first record.
    pub(super) fn may_skip(&self) -> bool {
        self.topology.has_offset_resets() || self.otherwise != config::AutoOffsetReset::Earliest
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

    /// What is to be done about an error of `poll`; nothing if it does not tell of offsets. `begun` is where partitions
    /// of which nothing is committed were to be read on before a rebalance: what came meanwhile is not to be skipped.
    ///
    /// # Errors
    /// If the policy of one of the topics is none.
    pub(super) fn answer(&self, error: &ClientError, begun: &BTreeMap<TopicPartition, i64>) -> Result<Vec<Seek>> {
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
        let is_new = matches!(error, ClientError::NoOffsetForPartition { .. });
        let before = |partition: &TopicPartition| begun.get(partition).copied().filter(|_| is_new);
        let seek = |(partition, policy): (&TopicPartition, _)| match divergent.or_else(|| before(partition)) {
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
        builder.stream_with::<String, String>(consumed(AutoOffsetReset::Latest), "new").to("out");
        builder.stream_with::<String, String>(consumed(AutoOffsetReset::None), "kept").to("out");
        builder.stream_pattern_with::<String, String>(consumed(AutoOffsetReset::ByDuration(hour)), "log-.*").to("out");
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
        let seeks = resets(config::AutoOffsetReset::Earliest)
            .answer(&missing(&["new", "plain", "log-a"]), &BTreeMap::new())
            .unwrap();
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
        let out_of_range = ClientError::OffsetOutOfRange { partition: partition.clone(), offset: 7 };
        let seeks = resets(config::AutoOffsetReset::None).answer(&out_of_range, &[(partition, 5)].into()).unwrap();
        assert_eq!(seeks, [by("new", config::AutoOffsetReset::Latest)]);
    }

    #[test]
    fn what_comes_during_a_rebalance_before_anything_is_committed_is_not_skipped() {
        let partition = |topic: &str| TopicPartition::new(topic, 0);
        let begun = [(partition("new"), 5)].into();
        let seeks = resets(config::AutoOffsetReset::Latest).answer(&missing(&["new", "plain"]), &begun).unwrap();
        let plain = Seek::ByPolicy(partition("plain"), config::AutoOffsetReset::Latest);
        assert_eq!(seeks, [Seek::To(partition("new"), 5), plain]);
    }

    #[test]
    fn a_policy_of_none_is_an_error_that_names_the_topics() {
        let resets = resets(config::AutoOffsetReset::None);
        let error = resets.answer(&missing(&["new", "kept", "plain"]), &BTreeMap::new()).unwrap_err().to_string();
        assert!(error.contains("reading kept, plain, of which"), "{error}");
    }

    #[test]
    fn other_errors_are_not_about_offsets() {
        assert_eq!(resets(config::AutoOffsetReset::None).answer(&ClientError::Closed, &BTreeMap::new()).unwrap(), []);
    }
}
