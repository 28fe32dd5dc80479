//! Which partitions are asked for.

use vltava_client::TopicPartition;

use crate::failure::Failure;
use crate::topics::TopicFilter;

/// Rules of which one is enough.
pub(super) struct PartitionFilter(Vec<Rule>);

struct Rule {
    topic: TopicFilter,
    numbers: Numbers,
}

/// Numbers of partitions.
#[derive(Debug, PartialEq, Eq)]
enum Numbers {
    /// These; all where there is none.
    Set(Vec<i32>),
    /// From the first up to the second, which is not among them.
    Range(i32, i32),
}

impl PartitionFilter {
    /// Rules between commas: a regular expression, and after a colon a number or a range.
    pub(super) fn by_rules(text: &str) -> Result<Self, Failure> {
        let text = text.trim_end_matches(',');
        Ok(Self(text.split(',').map(rule).collect::<Result<_, _>>()?))
    }

    /// Topics by a regular expression, and numbers between commas.
    pub(super) fn by_topic_and_numbers(topic: Option<&str>, numbers: Option<&str>) -> Result<Self, Failure> {
        let numbers = numbers.unwrap_or_default();
        let list = numbers.trim_end_matches(',').split(',').filter(|_| !numbers.is_empty());
        let set = list.map(str::parse).collect::<Result<_, _>>().map_err(|_| {
            let text = "--partitions expects a comma separated list of numeric partition ids, but received:";
            Failure::Message(format!("{text} {numbers}"))
        })?;
        Ok(Self(vec![Rule { topic: TopicFilter::new(topic.unwrap_or(".*"))?, numbers: Numbers::Set(set) }]))
    }

    /// Whether some partition of the topic may be asked for.
    pub(super) fn takes_topic(&self, topic: &str) -> bool {
        self.0.iter().any(|rule| rule.topic.matches(topic))
    }

    pub(super) fn takes(&self, partition: &TopicPartition) -> bool {
        let number = partition.partition();
        self.0.iter().any(|rule| {
            let takes = match &rule.numbers {
                Numbers::Set(numbers) => numbers.is_empty() || numbers.contains(&number),
                Numbers::Range(lower, upper) => (*lower..*upper).contains(&number),
            };
            takes && rule.topic.matches(partition.topic())
        })
    }
}

fn rule(text: &str) -> Result<Rule, Failure> {
    let (topic, numbers) = text.split_once(':').unwrap_or((text, ""));
    let topic = if topic.is_empty() { ".*" } else { topic };
    let numbers = numbers_of(numbers).ok_or_else(|| {
        Failure::Message(format!("org.apache.kafka.tools.TerseException: Invalid rule specification: {text}"))
    })?;
    Ok(Rule { topic: TopicFilter::new(topic)?, numbers })
}

/// `3`, `1-4`, `1-`, `-4` or nothing.
fn numbers_of(text: &str) -> Option<Numbers> {
    let number = |text: &str, default: i32| match text {
        "" => Some(default),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
        _ => None,
    };
    match text.split_once('-') {
        Some((lower, upper)) => Some(Numbers::Range(number(lower, 0)?, number(upper, i32::MAX)?)),
        None if text.is_empty() => Some(Numbers::Range(0, i32::MAX)),
        None => Some(Numbers::Set(vec![number(text, 0)?])),
    }
}

#[cfg(test)]
mod tests {
    use vltava_client::TopicPartition;

    use super::PartitionFilter;

    fn taken(rules: &str, topic: &str) -> Vec<i32> {
        let filter = PartitionFilter::by_rules(rules).unwrap();
        (0..6).filter(|number| filter.takes(&TopicPartition::new(topic, *number))).collect()
    }

    #[test]
    fn rules_name_topics_and_partitions() {
        assert_eq!(taken("a:1,b:2-4", "a"), [1]);
        assert_eq!(taken("a:1,b:2-4", "b"), [2, 3]);
        assert_eq!(taken("a:4-", "a"), [4, 5]);
        assert_eq!(taken(":-2", "any"), [0, 1]);
        assert_eq!(taken("a.*", "abc").len(), 6);
        assert!(taken("a", "abc").is_empty());
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for rules in ["a:x", "a:1:2", "a:1-2-3"] {
            let refused = PartitionFilter::by_rules(rules).err().unwrap();
            assert!(refused.message().ends_with(&format!("Invalid rule specification: {rules}")), "{refused}");
        }
        let refused = PartitionFilter::by_topic_and_numbers(None, Some("1,x")).err().unwrap();
        let text = "--partitions expects a comma separated list of numeric partition ids, but received: 1,x";
        assert_eq!(refused.message(), text);
    }
}
