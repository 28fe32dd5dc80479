//! What a metric is called.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// Tags and their values, in the order of the tags. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tags(Arc<[(&'static str, Arc<str>)]>);

impl Tags {
    /// Tags with their values; of a tag that is given twice the last value counts.
    pub fn new<V: Into<Arc<str>>>(tags: impl IntoIterator<Item = (&'static str, V)>) -> Self {
        tags.into_iter().fold(Self::default(), |tags, (tag, value)| tags.with(tag, value))
    }

    /// These and one more.
    #[must_use]
    pub fn with(&self, tag: &'static str, value: impl Into<Arc<str>>) -> Self {
        let mut tags: Vec<_> = self.0.iter().filter(|(known, _)| *known != tag).cloned().collect();
        let at = tags.partition_point(|(known, _)| *known < tag);
        tags.insert(at, (tag, value.into()));
        Self(tags.into())
    }

    /// The value of a tag.
    #[must_use]
    pub fn get(&self, tag: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == tag).map(|(_, value)| &**value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(tag, value)| (*tag, &**value))
    }
}

/// The name of a metric, as Kafka's `MetricName`: domain, group, name and tags tell metrics apart, the description does
/// not.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MetricName {
    /// What stands before the group where metrics of several kinds of programs come together, as JMX's domain does: such as
    /// `kafka.producer`.
    pub domain: &'static str,
    /// Such as `producer-metrics`.
    pub group: &'static str,
    /// Such as `record-send-total`.
    pub name: &'static str,
    /// What is measured, in a sentence.
    pub description: &'static str,
    /// Such as `client-id`.
    pub tags: Tags,
}

impl MetricName {
    /// A name with its parts.
    #[must_use]
    pub fn new(
        domain: &'static str,
        group: &'static str,
        name: &'static str,
        description: &'static str,
        tags: Tags,
    ) -> Self {
        Self { domain, group, name, description, tags }
    }

    fn identity(&self) -> (&'static str, &'static str, &'static str, &Tags) {
        (self.group, self.name, self.domain, &self.tags)
    }
}

impl PartialEq for MetricName {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for MetricName {}

impl PartialOrd for MetricName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MetricName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl fmt::Display for MetricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.group, self.name)?;
        self.tags.iter().try_for_each(|(tag, value)| write!(f, ",{tag}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{MetricName, Tags};

    #[test]
    fn tags_are_in_their_order_however_they_come() {
        let tags = Tags::new([("topic", "t"), ("client-id", "c")]).with("partition", "3").with("topic", "u");
        assert_eq!(tags.iter().collect::<Vec<_>>(), [("client-id", "c"), ("partition", "3"), ("topic", "u")]);
        assert_eq!((tags.get("topic"), tags.get("node-id")), (Some("u"), None));
    }

    #[test]
    fn a_description_does_not_tell_metrics_apart() {
        let name = |description, tag| MetricName::new("d", "g", "n", description, Tags::new([("t", tag)]));
        assert_eq!(name("a", "1"), name("b", "1"));
        assert_ne!(name("a", "1"), name("a", "2"));
        assert_eq!(name("a", "1").to_string(), "g:n,t=1");
    }
}
