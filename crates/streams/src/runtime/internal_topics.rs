//! How many partitions every internal topic needs, from those of the topics that exist. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    error::{Error, Result},
    topology::{InternalTopicConfig, TopicsInfo},
};

/// What the topology says of its topics.
#[derive(Debug)]
pub(super) struct TopicsPlan<'a> {
    pub(super) subtopologies: &'a BTreeMap<u32, TopicsInfo>,
    /// Topics that must have equally many partitions.
    pub(super) copartitioned: &'a [BTreeSet<String>],
    /// The partitions of topics that exist.
    pub(super) existing: &'a BTreeMap<String, i32>,
}

/// An internal topic that must exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequiredTopic {
    pub(super) partitions: i32,
    pub(super) config: BTreeMap<String, String>,
}

/// Groups of topics that have one in common become one: what two groups demand of it, each demands of all.
pub(super) fn merged(groups: Vec<BTreeSet<String>>) -> Vec<BTreeSet<String>> {
    groups.into_iter().fold(Vec::new(), |groups, topics| {
        let (touched, mut apart): (Vec<_>, Vec<_>) = groups.into_iter().partition(|group| !topics.is_disjoint(group));
        apart.push(touched.iter().fold(topics, |all, group| &all | group));
        apart
    })
}

impl TopicsPlan<'_> {
    /// The source topics that the application does not make itself and that do not exist.
    pub(super) fn missing_source_topics(&self) -> BTreeSet<String> {
        let repartition = self.repartition_topics();
        let sources = self.subtopologies.values().flat_map(|info| &info.source_topics);
        let missing = |topic: &&String| !repartition.contains_key(*topic) && !self.existing.contains_key(*topic);
        sources.filter(missing).cloned().collect()
    }

    /// All internal topics, with the number of partitions each must have.
    ///
    /// # Errors
    /// If co-partitioned topics have different numbers, if a number cannot be found, or if a topic of the name exists with
    /// another number.
    pub(super) fn required(&self) -> Result<BTreeMap<String, RequiredTopic>> {
        let partitions = self.repartition_partitions()?;
        let mut required = BTreeMap::new();
        for (topic, config) in self.repartition_topics() {
            let count = partitions.get(&topic).copied();
            let count = count.ok_or_else(|| Error::internal("a repartition topic without a number of partitions"))?;
            required.insert(topic, RequiredTopic { partitions: count, config: config.config.clone() });
        }
        for info in self.subtopologies.values() {
            let tasks = self.tasks(info, &partitions);
            for (topic, config) in &info.changelog_topics {
                // A source topic may serve as the changelog of its table; it is not ours to make.
                if !info.source_topics.contains(topic) {
                    // The largest topic of a pattern may have gone: what its tasks have kept stays where it is.
                    let kept = self.existing.get(topic).filter(|_| !info.source_patterns.is_empty());
                    let tasks = kept.map_or(tasks, |kept| tasks.max(*kept));
                    required.insert(topic.clone(), RequiredTopic { partitions: tasks, config: config.config.clone() });
                }
            }
        }
        for (topic, needed) in &required {
            let exists = self.existing.get(topic);
            if let Some(exists) = exists.filter(|exists| **exists != needed.partitions) {
                return Err(Error::streams(self.wrong_size(topic, *exists, needed.partitions)));
            }
        }
        Ok(required)
    }

    fn wrong_size(&self, topic: &str, exists: i32, needed: i32) -> String {
        let of = |topic: &String| Some((self.existing.get(topic).copied()?, topic.clone()));
        let infos = self.subtopologies.values();
        let feeding =
            infos.filter(|info| info.changelog_topics.contains_key(topic) || info.sink_topics.contains(topic));
        let largest = feeding.flat_map(|info| &info.source_topics).filter_map(of).max();
        let because =
            largest.map_or_else(String::new, |(count, source)| format!(" (source topic {source} has {count})"));
        format!(
            "internal topic {topic} exists with {exists} partitions, and {needed} are needed{because}: partitions cannot \
             be added to what an application has built its state from. Reset the application with \
             kafka-streams-application-reset, which has it build its state anew from its source topics, or go on under \
             another `application.id`"
        )
    }

    /// How many tasks a sub-topology has: as many as the largest of its source topics has partitions.
    pub(super) fn tasks(&self, info: &TopicsInfo, repartition: &BTreeMap<String, i32>) -> i32 {
        let of = |topic: &String| repartition.get(topic).or_else(|| self.existing.get(topic)).copied();
        info.source_topics.iter().filter_map(of).max().unwrap_or_default()
    }

    fn repartition_topics(&self) -> BTreeMap<String, &InternalTopicConfig> {
        let topics = self.subtopologies.values().flat_map(|info| &info.repartition_topics);
        topics.map(|(topic, config)| (topic.clone(), config)).collect()
    }

    /// Fixed by the topology, or by what it is co-partitioned with, or as many as the sub-topology that writes it has
    /// tasks. One may depend on another, so this goes on until nothing new is learnt.
    fn repartition_partitions(&self) -> Result<BTreeMap<String, i32>> {
        let topics = self.repartition_topics();
        let mut known: BTreeMap<String, i32> =
            topics.iter().filter_map(|(topic, config)| Some((topic.clone(), config.partitions?))).collect();
        let fixed = known.clone();
        loop {
            let before = known.clone();
            for topic in topics.keys().filter(|topic| !fixed.contains_key(*topic)) {
                if let Some(count) = self.partitions_of_writer(topic, &topics, &before) {
                    known.insert(topic.clone(), count);
                }
            }
            self.copartition(&topics, &fixed, &mut known)?;
            if known == before {
                break;
            }
        }
        match topics.keys().find(|topic| !known.contains_key(*topic)) {
            Some(topic) => {
                let message = format!(
                    "the number of partitions of repartition topic {topic} cannot be found: what is written to it is read \
                     from no topic yet (every pattern above it has to match at least one)"
                );
                Err(Box::new(Error::Streams(message)))
            }
            None => Ok(known),
        }
    }

    /// As many as the largest source topic of the sub-topology that writes it; `None` while one of them is not known.
    fn partitions_of_writer(
        &self,
        topic: &str,
        repartition: &BTreeMap<String, &InternalTopicConfig>,
        known: &BTreeMap<String, i32>,
    ) -> Option<i32> {
        let mut writers = self.subtopologies.values().filter(|info| info.sink_topics.contains(topic));
        let counts = writers.by_ref().flat_map(|info| &info.source_topics).map(|source| {
            if repartition.contains_key(source) {
                known.get(source).copied()
            } else {
                self.existing.get(source).copied()
            }
        });
        counts.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Brings the topics of every co-partition group to one number: that of the topics whose number is fixed, else the
    /// largest.
    fn copartition(
        &self,
        repartition: &BTreeMap<String, &InternalTopicConfig>,
        fixed: &BTreeMap<String, i32>,
        known: &mut BTreeMap<String, i32>,
    ) -> Result<()> {
        for group in self.copartitioned {
            let mut agreed: Option<(&String, i32)> = None;
            for topic in group {
                let outer = self.existing.get(topic).filter(|_| !repartition.contains_key(topic));
                let Some(count) = outer.or_else(|| fixed.get(topic)).copied() else { continue };
                match agreed {
                    Some((other, others)) if others != count => {
                        let message =
                            format!("topics not co-partitioned: {other} has {others} partitions, {topic} has {count}");
                        return Err(Box::new(Error::Topology(message)));
                    }
                    _ => agreed = Some((topic, count)),
                }
            }
            let largest = group.iter().filter_map(|topic| known.get(topic)).max().copied();
            let Some(count) = agreed.map(|(_, count)| count).or(largest) else { continue };
            for topic in group.iter().filter(|topic| repartition.contains_key(*topic) && !fixed.contains_key(*topic)) {
                known.insert(topic.clone(), count);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::{TopicsPlan, merged};
    use crate::{StreamsBuilder, StreamsConfig};

    fn plan<T>(builder: &StreamsBuilder, existing: &[(&str, i32)], test: impl FnOnce(TopicsPlan<'_>) -> T) -> T {
        let config = StreamsConfig::builder("app").build().unwrap();
        let topology = builder.build().unwrap();
        let subtopologies = topology.subtopologies(&config);
        let copartitioned = merged(topology.copartition_groups("app"));
        let existing: BTreeMap<String, i32> = existing.iter().map(|(t, n)| ((*t).to_owned(), *n)).collect();
        test(TopicsPlan { subtopologies: &subtopologies, copartitioned: &copartitioned, existing: &existing })
    }

    fn word_count() -> StreamsBuilder {
        let builder = StreamsBuilder::new();
        let lines = builder.stream::<Option<String>, String>("lines");
        lines.group_by(|_, word| word.clone()).count();
        builder
    }

    #[test]
    fn repartition_topics_have_the_partitions_of_what_is_read() {
        plan(&word_count(), &[("lines", 3)], |plan| {
            let required = plan.required().unwrap();
            let counts: Vec<_> =
                required.iter().map(|(topic, required)| (topic.as_str(), required.partitions)).collect();
            assert_eq!(
                counts,
                [
                    ("app-KSTREAM-AGGREGATE-STATE-STORE-0000000002-changelog", 3),
                    ("app-KSTREAM-AGGREGATE-STATE-STORE-0000000002-repartition", 3)
                ]
            );
        });
    }

    /// Each of both topics is read where the other one is written: neither number is known before the other.
    #[test]
    fn the_topics_of_a_foreign_key_join_have_the_partitions_of_their_tables() {
        let builder = StreamsBuilder::new();
        let (left, right) = (builder.table::<String, String>("left"), builder.table::<String, String>("right"));
        left.left_join_by_foreign_key(&right, String::clone, |a, _| a.clone());
        plan(&builder, &[("left", 3), ("right", 5)], |plan| {
            let required = plan.required().unwrap();
            let counts: Vec<_> = required.values().map(|topic| topic.partitions).collect();
            let names: Vec<_> = required.keys().map(|topic| topic.trim_start_matches("app-")).collect();
            let expected = [
                "KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-0000000006-topic",
                "KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-0000000014-topic",
                "KTABLE-FK-JOIN-SUBSCRIPTION-STATE-STORE-0000000010-changelog",
                "left-STATE-STORE-0000000000-changelog",
                "right-STATE-STORE-0000000003-changelog",
            ];
            assert_eq!((names, counts), (expected.to_vec(), vec![5, 3, 5, 3, 5]));
        });
    }

    /// The changelog was made for three tasks; the topic with three partitions has gone.
    #[test]
    fn a_changelog_keeps_its_partitions_when_the_largest_topic_of_a_pattern_goes() {
        let builder = StreamsBuilder::new();
        builder.stream_pattern::<String, String>("log-.*").group_by_key().count();
        let (topology, config) = (builder.build().unwrap(), StreamsConfig::builder("app").build().unwrap());
        let matched = topology.matched(["log-small".to_owned()], "app").unwrap();
        let subtopologies = topology.subtopologies_with(&config, &matched);
        let changelog = "app-KSTREAM-AGGREGATE-STATE-STORE-0000000001-changelog";
        let required = |partitions| {
            let existing = [("log-small", 1), (changelog, partitions)];
            let existing = existing.map(|(topic, count)| (topic.to_owned(), count)).into();
            let plan = TopicsPlan { subtopologies: &subtopologies, copartitioned: &[], existing: &existing };
            plan.required().map(|required| required[changelog].partitions).unwrap()
        };
        assert_eq!((required(1), required(3)), (1, 3));
    }

    #[test]
    fn groups_with_a_common_topic_are_one() {
        let group = |topics: &str| topics.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
        let groups = ["a b", "c d", "e", "b c"].map(group).to_vec();
        assert_eq!(merged(groups), [group("e"), group("a b c d")]);
    }

    #[test]
    fn a_missing_source_topic_is_named() {
        plan(&word_count(), &[], |plan| {
            assert_eq!(plan.missing_source_topics(), BTreeSet::from(["lines".to_owned()]));
        });
    }

    #[test]
    fn an_internal_topic_of_another_size_is_refused_by_name() {
        let topic = "app-KSTREAM-AGGREGATE-STATE-STORE-0000000002-repartition";
        plan(&word_count(), &[("lines", 3), (topic, 2)], |plan| {
            let error = plan.required().unwrap_err().to_string();
            assert!(error.contains(topic) && error.contains("3 are needed"), "{error}");
        });
    }
}
