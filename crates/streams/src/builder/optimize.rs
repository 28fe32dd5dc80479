//! The rewrites of the logical graph before it becomes a topology.

use std::{collections::HashMap, rc::Rc};

use super::graph::{Kind, NodeId, Plan, ROOT};
use crate::{
    config::StreamsConfig,
    error::{Error, Result},
};

/// Merges equal sources, then does what `topology.optimization` asks for.
pub(super) fn optimize(plan: &mut Plan, config: Option<&StreamsConfig>) -> Result<()> {
    merge_duplicate_sources(plan)?;
    let wanted = config.map(|config| config.fields().optimizations).unwrap_or_default();
    if wanted.reuse_source_topics {
        for node in &mut plan.nodes {
            if let Kind::TableSource { reuse_topic } = &mut node.kind {
                *reuse_topic = true;
            }
        }
    }
    if wanted.merge_repartition_topics {
        merge_repartition_topics(plan)?;
    }
    if wanted.single_store_self_join {
        rewrite_self_joins(plan)?;
    }
    drop_null_keys(plan);
    enable_versioned_semantics(plan);
    Ok(())
}

/// Streams of the same topics share one source.
fn merge_duplicate_sources(plan: &mut Plan) -> Result<()> {
    let mut by_topic: HashMap<String, NodeId> = HashMap::new();
    let mut by_pattern: Vec<(String, NodeId)> = Vec::new();
    let roots = plan.node(ROOT).map(|root| root.children.clone()).unwrap_or_default();
    for id in roots {
        let Some(Kind::Source { topics, pattern, .. }) = plan.node(id).map(|node| node.kind.clone()) else { continue };
        if let Some(pattern) = pattern {
            let text = pattern.to_string();
            match by_pattern.iter().find(|(known, _)| *known == text).map(|(_, id)| *id) {
                Some(main) => merge_sources(plan, main, id)?,
                None => by_pattern.push((text, id)),
            }
            continue;
        }
        for topic in &topics {
            let Some(&main) = by_topic.get(topic) else {
                by_topic.insert(topic.clone(), id);
                continue;
            };
            if main == id {
                continue;
            }
            match plan.node(main).map(|node| &node.kind) {
                Some(Kind::Source { topics: others, .. }) if *others == topics => merge_sources(plan, main, id)?,
                _ => {
                    return Err(Error::topology(format!(
                        "Two source nodes are subscribed to overlapping but not equal input topics; one of them is {topic}"
                    )));
                }
            }
        }
    }
    Ok(())
}

fn merge_sources(plan: &mut Plan, main: NodeId, other: NodeId) -> Result<()> {
    let reset = |id: NodeId| match plan.node(id).map(|node| &node.kind) {
        Some(Kind::Source { reset, topics, .. }) => (*reset, topics.clone()),
        _ => (None, Default::default()),
    };
    let ((mine, topics), (theirs, _)) = (reset(main), reset(other));
    if mine != theirs {
        let topics: Vec<_> = topics.into_iter().collect();
        return Err(Error::topology(format!(
            "Can't configure different offset reset policies on the same input topic(s) {}",
            topics.join(", ")
        )));
    }
    for child in plan.node(other).map(|node| node.children.clone()).unwrap_or_default() {
        plan.remove_child(other, child);
        plan.add_child(main, child);
    }
    plan.remove_child(ROOT, other);
    Ok(())
}

/// One repartition topic right below a key-changing node instead of several further down.
fn merge_repartition_topics(plan: &mut Plan) -> Result<()> {
    move_up_over_merges(plan);
    for (changer, repartitions) in std::mem::take(&mut plan.key_changing) {
        let infos: Vec<_> = repartitions
            .iter()
            .filter_map(|id| match plan.node(*id).map(|node| &node.kind) {
                Some(Kind::Repartition(info)) => Some(Rc::clone(info)),
                _ => None,
            })
            .collect();
        let Some(first) = infos.first() else { continue };
        let key_serde = infos.iter().find_map(|info| info.key_serde.clone());
        let value_serde = infos.iter().find_map(|info| info.value_serde.clone());
        let mut single = (first.rebuild)(key_serde, value_serde);
        single.priority = plan.node(changer).map_or(0, |node| node.priority);
        let single_name = single.name.clone();
        let single = plan.push(single);
        for old in repartitions {
            let is_child = |node: &super::GraphNode, _: NodeId| node.parents.contains(&changer);
            let Some(child) = plan.find_parent(old, &is_child) else {
                let name = plan.node(old).map(|node| node.name.clone()).unwrap_or_default();
                return Err(Error::topology(format!("no key-changing node above the repartition {name}")));
            };
            plan.add_child(single, child);
            plan.remove_child(changer, child);
            let Some(node) = plan.node(old) else { continue };
            let (children, parents, name) = (node.children.clone(), node.parents.clone(), node.name.clone());
            for child in &children {
                for parent in &parents {
                    plan.add_child(*parent, *child);
                }
            }
            for parent in &parents {
                plan.remove_child(*parent, old);
            }
            for child in children {
                plan.remove_child(old, child);
            }
            for group in &mut plan.copartition {
                if group.remove(&name) {
                    group.insert(single_name.clone());
                }
            }
        }
        plan.add_child(changer, single);
    }
    Ok(())
}

/// Where key-changing nodes meet in a merge above the repartitions, the merge takes their place.
fn move_up_over_merges(plan: &mut Plan) {
    let merges: Vec<_> = (0..plan.nodes.len()).filter(|id| plan.node(*id).is_some_and(|node| node.merge)).collect();
    let below = |plan: &Plan, id: NodeId, parent: NodeId| {
        plan.find_parent(id, &|node, _| node.parents.contains(&parent)).is_some()
    };
    let mut found = Vec::new();
    for merge in merges {
        let changers: Vec<_> = plan
            .key_changing
            .iter()
            .filter(|(changer, repartitions)| {
                repartitions.iter().all(|id| below(plan, *id, merge)) && below(plan, merge, *changer)
            })
            .map(|(changer, _)| *changer)
            .collect();
        found.push((merge, changers));
    }
    let mut replaced = Vec::new();
    for (merge, changers) in found {
        let mut repartitions: Vec<NodeId> = Vec::new();
        for (changer, below) in &plan.key_changing {
            if changers.contains(changer) {
                repartitions.extend(below.iter().filter(|id| !repartitions.contains(id)).collect::<Vec<_>>());
                replaced.push(*changer);
            }
        }
        plan.key_changing.push((merge, repartitions));
    }
    plan.key_changing.retain(|(changer, _)| !replaced.contains(changer));
}

/// A join of a stream with itself needs one store only.
fn rewrite_self_joins(plan: &mut Plan) -> Result<()> {
    for id in 0..plan.nodes.len() {
        let Some(node) = plan.node(id) else { continue };
        let (Kind::StreamJoin { this, other, .. }, [parent]) = (&node.kind, &node.parents[..]) else { continue };
        let (this, other, parent, priority) = (this.clone(), other.clone(), *parent, node.priority);
        let windows: Vec<_> = plan
            .node(parent)
            .map(|parent| parent.children.clone())
            .unwrap_or_default()
            .into_iter()
            .filter(|child| {
                let child = plan.node(*child);
                child.is_some_and(|child| matches!(child.kind, Kind::JoinWindow) && child.priority < priority)
            })
            .collect();
        let named =
            |name: &str| windows.iter().copied().find(|id| plan.node(*id).is_some_and(|node| node.name == name));
        let (Some(left), Some(right)) = (named(&this), named(&other)) else { continue };
        if left == right {
            continue;
        }
        plan.remove_child(parent, right);
        if let Some(Kind::StreamJoin { self_join, .. }) = plan.nodes.get_mut(id).map(|node| &mut node.kind) {
            *self_join = true;
        }
    }
    Ok(())
}

/// Records with null keys go through a repartition topic only where a join below keeps them (KIP-962).
fn drop_null_keys(plan: &mut Plan) {
    let mut keep = vec![false; plan.nodes.len()];
    let mut above: Vec<NodeId> = (0..plan.nodes.len())
        .filter(|id| plan.node(*id).is_some_and(|node| node.keeps_null_keys))
        .flat_map(|id| plan.node(id).map(|node| node.parents.clone()).unwrap_or_default())
        .collect();
    while let Some(id) = above.pop() {
        let Some(place) = keep.get_mut(id).filter(|kept| !**kept) else { continue };
        *place = true;
        above.extend(plan.node(id).map(|node| node.parents.clone()).unwrap_or_default());
    }
    for (node, keep) in plan.nodes.iter_mut().zip(keep) {
        node.drops_null_keys = !keep;
    }
}

/// Tells the operators that care whether the table above them is versioned (KIP-914).
fn enable_versioned_semantics(plan: &Plan) {
    for node in &plan.nodes {
        let Some(tell) = &node.versioned_semantics else { continue };
        for parent in &node.parents {
            if is_versioned(plan, *parent)
                && let Some(parent) = plan.node(*parent)
            {
                tell(true, &parent.name);
            }
        }
    }
}

/// Whether a node's output is versioned, by its own store or by all its parents'.
pub(crate) fn is_versioned(plan: &Plan, id: NodeId) -> bool {
    let Some(node) = plan.node(id).filter(|_| id != ROOT) else { return false };
    match node.output_versioned {
        Some(versioned) => versioned,
        None => !node.parents.is_empty() && node.parents.iter().all(|parent| is_versioned(plan, *parent)),
    }
}
