//! The cooperative sticky assignor.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;

use bytes::{Buf, Bytes};

use super::sticky::{self, DEFAULT_GENERATION, MemberData};
use super::{
    Assignment, AssignorMetadata, BoxFuture, GroupAssignment, GroupSubscription, PartitionAssignor, RebalanceProtocol,
    Subscription, plain,
};
use crate::consumer::group_metadata::ConsumerGroupMetadata;
use crate::{ClientError, TopicPartition};

/// Assigns as [`StickyAssignor`](super::StickyAssignor), under the cooperative protocol.
///
/// Members keep working on their partitions during a rebalance. A partition that moves is first
/// taken from its owner, and given to its new owner by a second rebalance (KIP-429).
#[derive(Debug, Clone)]
pub struct CooperativeStickyAssignor {
    generation: i32,
    max_generation: i32,
}

impl Default for CooperativeStickyAssignor {
    fn default() -> Self {
        Self { generation: DEFAULT_GENERATION, max_generation: DEFAULT_GENERATION }
    }
}

/// Name of the cooperative sticky assignor.
pub(crate) const NAME: &str = "cooperative-sticky";

impl PartitionAssignor for CooperativeStickyAssignor {
    fn name(&self) -> &str {
        NAME
    }

    fn supported_protocols(&self) -> &[RebalanceProtocol] {
        &[RebalanceProtocol::Cooperative, RebalanceProtocol::Eager]
    }

    fn subscription_user_data(&mut self, _topics: &BTreeSet<String>) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(&self.generation.to_be_bytes()))
    }

    fn assign<'a>(
        &'a mut self,
        metadata: &'a AssignorMetadata,
        group: &'a GroupSubscription,
    ) -> BoxFuture<'a, Result<GroupAssignment, ClientError>> {
        let outcome = sticky::assign(metadata, group, &mut self.max_generation, &member_data);
        let mut lists = outcome.lists;
        let transferring = outcome.transferring.unwrap_or_else(|| ownership_changes(group, &lists));
        for (partition, new_owner) in transferring {
            if let Some(list) = lists.get_mut(&new_owner) {
                list.retain(|tp| *tp != partition);
            }
        }
        Box::pin(ready(Ok(plain(lists))))
    }

    fn on_assignment(&mut self, _assignment: &Assignment, metadata: &ConsumerGroupMetadata) -> Result<(), ClientError> {
        self.generation = metadata.generation_id();
        Ok(())
    }
}

fn member_data(subscription: &Subscription) -> MemberData {
    // Since version 2 of the subscription the generation is a field of its own; before, it was in
    // the user data.
    let generation = subscription.generation_id.or_else(|| {
        let mut data = subscription.user_data.clone()?;
        Some(data.try_get_i32().unwrap_or(DEFAULT_GENERATION))
    });
    MemberData { partitions: subscription.owned_partitions.clone(), generation }
}

/// New owners of the partitions that another member owns now.
fn ownership_changes(
    group: &GroupSubscription,
    lists: &BTreeMap<String, Vec<TopicPartition>>,
) -> BTreeMap<TopicPartition, String> {
    let mut added: BTreeMap<TopicPartition, String> = BTreeMap::new();
    let mut revoked: BTreeSet<&TopicPartition> = BTreeSet::new();
    for (id, subscription) in group.iter() {
        let owned: BTreeSet<&TopicPartition> = subscription.owned_partitions.iter().collect();
        let assigned: BTreeSet<&TopicPartition> = lists.get(id).into_iter().flatten().collect();
        for tp in assigned.difference(&owned) {
            added.insert((*tp).clone(), id.to_owned());
        }
        revoked.extend(owned.difference(&assigned));
    }
    added.retain(|tp, _| revoked.contains(tp));
    added
}
