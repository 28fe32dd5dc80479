//! A group that speaks the consumer protocol (KIP-848): the coordinator assigns, each member follows at its own pace.
//!
//! What it has in common with streams groups is in [`modern`](super::modern). A current assignment moves to the target without a
//! partition ever having two owners: a member first gives up what it has to (`Unrevoked`), then waits for what others still
//! hold (`Unreleased`).

mod assign;
mod describe;
mod fold;
mod heartbeat;
mod leave;
mod member;
mod reconcile;
mod topics;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vltava_protocol::Uuid;

use super::modern::{self, ModernGroup};
pub(super) use fold::RegexChange;
pub(super) use member::{ConsumerMember, Owned, Partitions};
pub(crate) use topics::TopicMetadata;
pub(super) use topics::metadata_hash;

/// What a record says about a consumer group.
pub(super) type Change = modern::Change<Consumer>;
/// A consumer group.
pub(super) type ConsumerGroup = ModernGroup<Consumer>;

/// What a regular expression stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResolvedRegex {
    pub(super) topics: BTreeSet<String>,
    /// Of the metadata in which the topics were looked for.
    pub(super) version: i64,
    pub(super) timestamp_ms: i64,
}

/// What consumer groups have of their own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Consumer {
    static_members: BTreeMap<String, Arc<str>>,
    regexes: BTreeMap<String, ResolvedRegex>,
    /// Who holds a partition, or still has to give it up: the epoch of its owner.
    owners: BTreeMap<Uuid, BTreeMap<i32, i32>>,
    /// The version of the metadata and the epoch of the group when the topics were last looked at; not recorded.
    checked: Option<(i64, i32)>,
}

impl ConsumerGroup {
    /// Returns the member of an instance.
    pub(super) fn static_member(&self, instance_id: &str) -> Option<&ConsumerMember> {
        self.members.get(self.own.static_members.get(instance_id)?)
    }

    /// Returns the epoch of who holds a partition.
    pub(super) fn owner_epoch(&self, topic: Uuid, partition: i32) -> Option<i32> {
        self.own.owners.get(&topic)?.get(&partition).copied()
    }

    /// Returns the topics that members subscribe to, by name or by expression.
    pub(super) fn subscribed_topics(&self) -> BTreeSet<&str> {
        self.members.values().flat_map(|member| self.topics_of(member)).collect()
    }

    /// Returns the topics that a member subscribes to, by name or by expression.
    pub(super) fn topics_of<'a>(&'a self, member: &'a ConsumerMember) -> impl Iterator<Item = &'a str> {
        let by_regex = member.wants.regex.as_ref().and_then(|regex| self.own.regexes.get(regex));
        let by_regex = by_regex.into_iter().flat_map(|resolved| &resolved.topics);
        member.wants.topics.iter().chain(by_regex).map(String::as_str)
    }

    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.members.values().any(|member| self.topics_of(member).any(|name| name == topic))
    }

    /// Returns how many members subscribe by a regular expression.
    pub(super) fn subscribers_of(&self, regex: &str) -> usize {
        self.members.values().filter(|member| member.wants.regex.as_deref() == Some(regex)).count()
    }
}
