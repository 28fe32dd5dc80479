//! The names of assigned topics: the coordinator assigns by ids, and whoever reads knows names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vltava_protocol::Uuid;

use super::Partitions;
use crate::TopicPartition;
use crate::consumer::membership::MembershipConfig;
use crate::net::MetadataSnapshot;

/// Names of topics of the target and of what is taken over.
#[derive(Debug)]
pub(super) struct TopicNames {
    metadata: Arc<MetadataSnapshot>,
    names: BTreeMap<Uuid, String>,
    /// Whether the names are others than the core knows.
    is_changed: bool,
    look_ups: LookUps,
    retry_backoff: Duration,
    retry_backoff_max: Duration,
}

/// Which topics of a target have no name yet, and when to ask for them.
#[derive(Debug, Default)]
struct LookUps {
    missing: BTreeSet<Uuid>,
    at: Option<Instant>,
    attempts: u32,
}

impl TopicNames {
    pub(super) fn new(config: &MembershipConfig) -> Self {
        Self {
            metadata: Arc::default(),
            names: BTreeMap::new(),
            is_changed: false,
            look_ups: LookUps::default(),
            retry_backoff: config.retry_backoff,
            retry_backoff_max: config.retry_backoff_max,
        }
    }

    pub(super) fn take_metadata(&mut self, metadata: Arc<MetadataSnapshot>) {
        self.metadata = metadata;
    }

    pub(super) fn named(&self, assigned: &Partitions) -> BTreeSet<TopicPartition> {
        let mut named = BTreeSet::new();
        for (id, partitions) in &assigned.0 {
            if let Some(name) = self.names.get(id) {
                named.extend(partitions.iter().map(|partition| TopicPartition::new(name.as_str(), *partition)));
            }
        }
        named
    }

    /// What of the assignment has names.
    pub(super) fn known_of(&self, assigned: &Partitions) -> Partitions {
        let mut known = assigned.clone();
        known.0.retain(|id, _| self.names.contains_key(id));
        known
    }

    /// The current partitions of topics that were made anew: they have their names in common with the next ones, and no record.
    pub(super) fn deleted(&self, current: &Partitions, next: &Partitions) -> BTreeSet<TopicPartition> {
        let ids = |assigned: &Partitions| -> BTreeMap<String, Uuid> {
            let named = |id: &Uuid| Some((self.names.get(id)?.clone(), *id));
            assigned.0.keys().filter_map(named).collect()
        };
        let (before, after) = (ids(current), ids(next));
        let is_deleted = |tp: &TopicPartition| match (before.get(tp.topic()), after.get(tp.topic())) {
            (Some(before), Some(after)) => before != after,
            _ => false,
        };
        self.named(current).into_iter().filter(is_deleted).collect()
    }

    /// The topics that have other ids by now than those whose partitions are taken over.
    pub(super) fn replaced(&self, current: &Partitions) -> BTreeSet<String> {
        let is_replaced = |name: &String, id: Uuid| {
            let known = self.metadata.topic(name).filter(|topic| topic.error.is_none() && !topic.topic_id.is_zero());
            known.is_some_and(|topic| topic.topic_id != id)
        };
        let named = |id: &Uuid| Some((self.names.get(id)?, *id));
        let current = current.0.keys().filter_map(named);
        current.filter(|&(name, id)| is_replaced(name, id)).map(|(name, _)| name.clone()).collect()
    }

    /// Names what the metadata knows of the target.
    pub(super) fn resolve(&mut self, target: &Partitions) {
        let target = target.0.keys();
        let missing: BTreeSet<Uuid> = target.filter(|id| !self.names.contains_key(id)).copied().collect();
        let found = missing.iter().filter_map(|id| Some((*id, self.metadata.topic_name(*id)?.to_string())));
        let found: BTreeMap<Uuid, String> = found.collect();
        if missing != self.look_ups.missing {
            self.look_ups = LookUps { missing, ..LookUps::default() };
        }
        self.take(found);
    }

    pub(super) fn take(&mut self, found: BTreeMap<Uuid, String>) {
        for (id, name) in found {
            if self.look_ups.missing.remove(&id) {
                self.names.insert(id, name);
                self.is_changed = true;
            }
        }
    }

    /// Forgets the names of topics that are no more assigned.
    pub(super) fn forget_all_but(&mut self, current: &Partitions, target: &Partitions) {
        let before = self.names.len();
        self.names.retain(|id, _| target.0.contains_key(id) || current.0.contains_key(id));
        self.is_changed |= self.names.len() != before;
    }

    /// All names, if they are others than when this was asked last.
    pub(super) fn take_changed(&mut self) -> Option<BTreeSet<String>> {
        std::mem::take(&mut self.is_changed).then(|| self.names.values().cloned().collect())
    }

    /// The ids to look up now.
    pub(super) fn look_up(&mut self, now: Instant) -> BTreeSet<Uuid> {
        if self.look_ups.missing.is_empty() || self.look_ups.at.is_some_and(|at| now < at) {
            return BTreeSet::new();
        }
        let factor = 1u32.checked_shl(self.look_ups.attempts).unwrap_or(u32::MAX);
        let pause = self.retry_backoff.saturating_mul(factor).min(self.retry_backoff_max);
        self.look_ups.attempts = self.look_ups.attempts.saturating_add(1);
        self.look_ups.at = Some(now + pause);
        self.look_ups.missing.clone()
    }

    /// When to look up names again.
    pub(super) fn next_look_up(&self) -> Option<Instant> {
        self.look_ups.at.filter(|_| !self.look_ups.missing.is_empty())
    }
}
