//! The checks that need the whole topology.

use super::{Topology, TypePair};
use crate::error::{Error, Result};

impl Topology {
    /// Every edge connects equal types, and topics that must have equally many partitions can.
    pub(crate) fn validate(&self) -> Result<()> {
        self.validate_edges()?;
        self.validate_copartition()
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
        for sources in &self.copartition_groups {
            let topics = self.topics_of(sources);
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
