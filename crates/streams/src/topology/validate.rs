//! The checks that need the whole topology.

use super::{Matched, Topology, TypePair};
use crate::error::{Error, Result};

/// The longest name of a topic; Kafka's.
const MAX_NAME_LENGTH: usize = 249;

/// Why a name can be part of no topic's name, and of no directory's, in the words of Kafka's `Named.validate`, whose rule
/// is that of `Topic.validate`.
pub(crate) fn illegal_name(name: &str) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    Some(match name {
        "" => "Name is illegal, it can't be empty".to_owned(),
        "." | ".." => "Name cannot be \".\" or \"..\"".to_owned(),
        _ if name.len() > MAX_NAME_LENGTH => {
            format!("Name is illegal, it can't be longer than {MAX_NAME_LENGTH} characters, name: {name}")
        }
        _ if name.chars().all(legal) => return None,
        _ => format!(
            "Name \"{name}\" is illegal, it contains a character other than ASCII alphanumerics, '.', '_' and '-'"
        ),
    })
}

impl Topology {
    /// Every edge connects equal types, topics that must have equally many partitions can, and stores have names that
    /// can be those of topics and directories.
    pub(crate) fn validate(&self) -> Result<()> {
        self.validate_edges()?;
        self.validate_stores()?;
        self.validate_copartition()
    }

    fn validate_stores(&self) -> Result<()> {
        let global = self.global_stores.iter().map(|global| &global.factory.name);
        for name in self.stores.values().map(|store| &store.name).chain(global) {
            if let Some(why) = illegal_name(name) {
                return Err(Error::topology(format!("state store {name:?}: {why}")));
            }
        }
        Ok(())
    }

    fn validate_edges(&self) -> Result<()> {
        for child in &self.nodes {
            for parent in &child.predecessors {
                let Some(parent) = self.node_id(parent).and_then(|id| self.node(id)) else { continue };
                if parent.forwards == child.takes {
                    continue;
                }
                let name = |types: Option<TypePair>| types.map_or("nothing", TypePair::name);
                return Err(Box::new(Error::EdgeType {
                    parent: parent.name.to_string(),
                    child: child.name.to_string(),
                    forwards: name(parent.forwards),
                    takes: name(child.takes),
                }));
            }
        }
        Ok(())
    }

    /// Internal topics that are joined with each other must not have different fixed numbers of partitions.
    fn validate_copartition(&self) -> Result<()> {
        let none = Matched::default();
        for sources in &self.copartition_groups {
            let topics = self.topics_of(sources, &none);
            let fixed: Vec<_> = topics
                .iter()
                .filter_map(|topic| self.internal_topics.get(*topic).copied().flatten().map(|n| (*topic, n)))
                .collect();
            let all_fixed = fixed.len() == topics.len();
            if all_fixed && fixed.windows(2).any(|pair| matches!(pair, [(_, a), (_, b)] if a != b)) {
                let list: Vec<_> = fixed.iter().map(|(topic, n)| format!("{topic}={n}")).collect();
                return Err(Error::topology(format!(
                    "Following topics do not have the same number of partitions: [{{{}}}]",
                    list.join(", ")
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{KeyValueStore, Materialized, StoreBuilder, StreamsBuilder};

    #[test]
    fn a_store_whose_name_is_no_name_of_a_directory_or_topic_is_refused() {
        for name in ["", ".", "..", "../../x", "a/b", "a b", &"a".repeat(250)] {
            let builder = StreamsBuilder::new();
            builder.stream::<String, String>("in").group_by_key().count_with(Materialized::named(name));
            assert!(builder.build().is_err(), "{name:?}");
            let builder = StreamsBuilder::new();
            builder.add_state_store(StoreBuilder::<KeyValueStore<String, String>>::persistent(name));
            let error = builder.build().unwrap_err().to_string();
            assert!(error.contains("state store"), "{name:?}: {error}");
        }
    }
}
