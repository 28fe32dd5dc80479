//! How far a store is in the topics it is made from.

use std::{collections::BTreeMap, fmt};

/// The offset of the last record that has been processed, by topic and partition (KIP-796).
///
/// Here it is the position of the task in all of its input topics, which its stores have as well: a record that left a
/// store as it was counts too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position(BTreeMap<String, BTreeMap<i32, i64>>);

impl Position {
    /// Nothing has been processed.
    #[must_use]
    pub fn empty() -> Self {
        Position::default()
    }

    /// With at least this offset of a partition; a greater one that is known stays.
    #[must_use]
    pub fn with_component(mut self, topic: impl Into<String>, partition: i32, offset: i64) -> Self {
        self.advance(topic.into(), partition, offset);
        self
    }

    pub(crate) fn advance(&mut self, topic: String, partition: i32, offset: i64) {
        let known = self.0.entry(topic).or_default().entry(partition).or_insert(offset);
        *known = (*known).max(offset);
    }

    /// With all that another one has, the greater offset of each partition.
    #[must_use]
    pub fn merge(mut self, other: &Position) -> Self {
        for (topic, partitions) in &other.0 {
            for (partition, offset) in partitions {
                self.advance(topic.clone(), *partition, *offset);
            }
        }
        self
    }

    /// The topics of which anything is known.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The offsets of a topic by its partitions.
    pub fn partition_positions(&self, topic: &str) -> impl Iterator<Item = (i32, i64)> + use<'_> {
        self.0.get(topic).into_iter().flatten().map(|(partition, offset)| (*partition, *offset))
    }

    /// The offset of a partition.
    #[must_use]
    pub fn offset(&self, topic: &str, partition: i32) -> Option<i64> {
        self.0.get(topic)?.get(&partition).copied()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Position {
    /// As Kafka prints it: `Position{position={topic={0=5}}}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Position{position={")?;
        for (at, (topic, partitions)) in self.0.iter().enumerate() {
            write!(f, "{}{topic}={{", if at > 0 { ", " } else { "" })?;
            for (at, (partition, offset)) in partitions.iter().enumerate() {
                write!(f, "{}{partition}={offset}", if at > 0 { ", " } else { "" })?;
            }
            f.write_str("}")?;
        }
        f.write_str("}}")
    }
}

/// How far a store must be to answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PositionBound(Position);

impl PositionBound {
    /// However far it is. The default.
    #[must_use]
    pub fn unbounded() -> Self {
        PositionBound::default()
    }

    /// At least as far as this, in the partitions that belong to the store's own.
    #[must_use]
    pub fn at(position: Position) -> Self {
        PositionBound(position)
    }

    /// The least position.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.0
    }

    /// Whether everything is far enough.
    #[must_use]
    pub fn is_unbounded(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a store's partition that is at `position` may answer; a global store has partition -1, and all of a topic.
    pub(crate) fn permits(&self, position: &Position, partition: i32) -> bool {
        if partition < 0 {
            return position.clone().merge(&self.0) == *position;
        }
        self.0.topics().all(|topic| match self.0.offset(topic, partition) {
            Some(least) => position.offset(topic, partition).is_some_and(|offset| offset >= least),
            None => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Position, PositionBound};

    #[test]
    fn a_bound_asks_for_the_stores_own_partition_only() {
        let bound = PositionBound::at(Position::empty().with_component("in", 0, 5).with_component("in", 1, 9));
        let at = |offset| Position::empty().with_component("in", 0, offset);
        assert!(!bound.permits(&Position::empty(), 0));
        assert!(!bound.permits(&at(4), 0));
        assert!(bound.permits(&at(5), 0));
        assert!(bound.permits(&Position::empty(), 2));
        assert!(PositionBound::unbounded().permits(&Position::empty(), 0));
    }

    #[test]
    fn a_global_store_must_be_far_enough_in_all_partitions() {
        let bound = PositionBound::at(Position::empty().with_component("in", 0, 5).with_component("in", 1, 9));
        let at = |offset| Position::empty().with_component("in", 0, 7).with_component("in", 1, offset);
        assert!(!bound.permits(&at(8), -1));
        assert!(bound.permits(&at(9), -1));
        assert!(PositionBound::unbounded().permits(&Position::empty(), -1));
    }

    #[test]
    fn the_greater_offset_wins() {
        let one = Position::empty().with_component("in", 0, 5).with_component("in", 0, 3);
        let both = one.merge(&Position::empty().with_component("in", 0, 4).with_component("other", 1, 2));
        assert_eq!(both.to_string(), "Position{position={in={0=5}, other={1=2}}}");
        assert_eq!(both.partition_positions("in").collect::<Vec<_>>(), [(0, 5)]);
    }
}
