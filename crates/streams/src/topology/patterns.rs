//! Sources of patterns, and the topics that they take of those there are.

use std::collections::{BTreeMap, BTreeSet};

use super::{NodeKind, Pattern, Topology};
use crate::error::{Error, Result};

/// The topics that the patterns of a topology take, by source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Matched(BTreeMap<usize, BTreeSet<String>>);

impl Matched {
    /// The topics of one source.
    pub(super) fn of(&self, source: usize) -> impl Iterator<Item = &String> {
        self.0.get(&source).into_iter().flatten()
    }
}

impl Topology {
    /// Whether a source reads topics by a pattern.
    pub(crate) fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// One regular expression for all that the topology's sources read, by topic and by pattern. Nothing without patterns.
    pub(crate) fn subscription_pattern(&self, application: &str) -> Option<String> {
        if self.patterns.is_empty() {
            return None;
        }
        let topics = self.source_topics().map(|topic| regex_lite::escape(&self.decorate(topic, application)));
        let patterns = self.patterns.iter().map(|(pattern, _)| format!("(?:{pattern})"));
        Some(topics.chain(patterns).collect::<Vec<_>>().join("|"))
    }

    /// Which of these topics the patterns take: not those of other sources, and none of the application's own, which
    /// would be fed to itself.
    ///
    /// # Errors
    /// If two patterns match a topic.
    pub(crate) fn matched(&self, topics: impl IntoIterator<Item = String>, application: &str) -> Result<Matched> {
        let mut matched = Matched::default();
        if self.patterns.is_empty() {
            return Ok(matched);
        }
        let mut others: BTreeSet<String> =
            self.source_topics.keys().map(|topic| self.decorate(topic, application)).collect();
        others.extend(self.stores.values().filter_map(|store| self.changelog_topic(store, application)));
        others.extend(self.global_topics.iter().cloned());
        for topic in topics.into_iter().filter(|topic| !others.contains(topic)) {
            let mut takers = self.patterns.iter().filter(|(pattern, _)| pattern.matches(&topic));
            let Some((pattern, source)) = takers.next() else { continue };
            if let Some((other, _)) = takers.next() {
                return Err(Error::topology(format!(
                    "Topic {topic} is already matched for another regex pattern {pattern} and hence cannot be matched to \
                     this regex pattern {other} any more."
                )));
            }
            matched.0.entry(*source).or_default().insert(topic);
        }
        Ok(matched)
    }

    /// The patterns that take no topic.
    pub(crate) fn patterns_without_topics<'a>(&'a self, matched: &'a Matched) -> impl Iterator<Item = &'a Pattern> {
        self.patterns.iter().filter(|(_, source)| matched.of(*source).next().is_none()).map(|(pattern, _)| pattern)
    }

    /// The sub-topology whose pattern takes a topic.
    pub(crate) fn subtopology_by_pattern(&self, topic: &str) -> Option<u32> {
        let (_, source) = self.patterns.iter().find(|(pattern, _)| pattern.matches(topic))?;
        let mut groups = (0..).zip(self.node_groups());
        groups.find(|(_, group)| group.contains(source)).map(|(number, _)| number)
    }

    /// The topics of a source, without the application's prefix.
    pub(crate) fn topics_of_source<'a>(&'a self, source: usize, matched: &'a Matched) -> Vec<&'a str> {
        match self.node(source).map(|node| &node.kind) {
            Some(NodeKind::Source { pattern: Some(_), .. }) => matched.of(source).map(String::as_str).collect(),
            Some(NodeKind::Source { topics, .. }) => topics.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Matched;
    use crate::{StreamsBuilder, StreamsConfig, Topology};

    fn topology(patterns: &[&str]) -> Topology {
        let builder = StreamsBuilder::new();
        for pattern in patterns {
            let stream = builder.stream_pattern::<String, String>(pattern);
            stream.group_by(|_, value| value.clone()).count();
        }
        builder.stream::<String, String>("a.b").to("out");
        builder.build().unwrap()
    }

    fn matched(topology: &Topology, topics: &[&str]) -> Matched {
        topology.matched(topics.iter().map(|topic| (*topic).to_owned()), "app").unwrap()
    }

    #[test]
    fn one_expression_subscribes_to_topics_as_they_are_and_to_patterns() {
        let pattern = topology(&["log-.*", "(?i)x|y"]).subscription_pattern("app").unwrap();
        let pattern = vltava_client::consumer::TopicPattern::new(&pattern).unwrap();
        for topic in ["a.b", "log-1", "X", "y", "app-KSTREAM-AGGREGATE-STATE-STORE-0000000002-repartition"] {
            assert!(pattern.matches(topic), "{topic}");
        }
        for topic in ["a-b", "LOG-1", "xx", "A.B"] {
            assert!(!pattern.matches(topic), "{topic}");
        }
        assert_eq!(topology(&[]).subscription_pattern("app"), None);
    }

    #[test]
    fn topics_that_match_are_read_by_the_sub_topology_of_their_pattern() {
        let topology = topology(&["log-.*"]);
        let config = StreamsConfig::builder("app").build().unwrap();
        let topics = |found: &[&str]| {
            let infos = topology.subtopologies_with(&config, &matched(&topology, found));
            infos.get(&0).map(|info| info.source_topics.clone())
        };
        assert_eq!(topics(&["other", "a.b"]), None);
        let both: BTreeSet<_> = ["log-1", "log-2"].map(str::to_owned).into();
        assert_eq!(topics(&["log-2", "other", "log-1"]), Some(both));
        assert_eq!(topology.subtopology_by_pattern("log-7"), Some(0));
        assert_eq!(topology.subtopology_by_pattern("other"), None);
    }

    #[test]
    fn the_applications_own_topics_are_taken_by_no_pattern() {
        let topology = topology(&["app-.*"]);
        let store = "app-KSTREAM-AGGREGATE-STATE-STORE-0000000002";
        let own = [format!("{store}-repartition"), format!("{store}-changelog")];
        assert_eq!(matched(&topology, &[&own[0], &own[1]]), Matched::default());
        assert_eq!(matched(&topology, &[&own[0], "app-1"]), matched(&topology, &["app-1"]));
    }

    #[test]
    fn a_topic_that_two_patterns_match_is_an_error_that_names_all_three() {
        let error = topology(&["log-.*", ".*-1"]).matched(["log-1".to_owned()], "app").unwrap_err().to_string();
        assert!(error.contains("Topic log-1") && error.contains("log-.*") && error.contains(".*-1"), "{error}");
    }
}
