//! Groups: list, describe, delete, remove members.

use std::collections::BTreeMap;

use bytes::Bytes;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::consumer_group_describe_response;
use vltava_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use vltava_protocol::messages::leave_group_request::MemberIdentity;
use vltava_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerProtocolAssignment, DeleteGroupsRequest, DescribeGroupsRequest,
    LeaveGroupRequest, ListGroupsRequest,
};
use vltava_protocol::wire::{Message, Reader};

use super::{Admin, Results};
use crate::TopicPartition;
use crate::error::ClientError;
use crate::net::Node;

/// Which groups to list; all by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListGroupsOptions {
    /// States such as `Stable` or `Empty`; none for all.
    pub states: Vec<String>,
    /// Types such as `Classic` or `Consumer`; none for all.
    pub types: Vec<String>,
    /// Protocol types such as `consumer` (empty for simple groups); none for all. Filtered here.
    pub protocol_types: Vec<String>,
}

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupListing {
    /// `group.id`.
    pub group_id: String,
    /// Its protocol type: `consumer`, `connect`, …, empty for a group that only commits offsets.
    pub protocol_type: String,
    /// Its state such as `Stable`, where the broker tells it.
    pub state: Option<String>,
    /// Its type such as `Classic`, where the broker tells it.
    pub group_type: Option<String>,
}

impl GroupListing {
    /// Whether consumers use this group: it has their protocol, or it only holds offsets.
    #[must_use]
    pub fn is_consumer_group(&self) -> bool {
        self.protocol_type == "consumer" || self.protocol_type.is_empty()
    }
}

/// A group of the classic or of the consumer protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupDescription {
    /// `group.id`.
    pub group_id: String,
    /// `Classic` or `Consumer`.
    pub group_type: String,
    /// `Stable`, `Empty` or `Dead`; `PreparingRebalance` and `CompletingRebalance` of a classic group, `Assigning` and
    /// `Reconciling` of a consumer group.
    pub state: String,
    /// The protocol type, `consumer` for consumers.
    pub protocol_type: String,
    /// The assignor that the members agreed on.
    pub partition_assignor: String,
    /// Its members.
    pub members: Vec<MemberDescription>,
    /// The broker that coordinates it.
    pub coordinator: Node,
    /// How often members or subscriptions changed; of a consumer group (KIP-848).
    pub group_epoch: Option<i32>,
    /// The group's epoch for which the target assignment was computed; of a consumer group.
    pub target_assignment_epoch: Option<i32>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberDescription {
    /// The id that the coordinator gave it.
    pub member_id: String,
    /// `group.instance.id`, for a static member.
    pub group_instance_id: Option<String>,
    /// `client.rack`, where a consumer group's member told it.
    pub rack_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// The address it connects from, such as `/127.0.0.1`.
    pub host: String,
    /// The partitions assigned to it; empty for members that are not consumers.
    pub assignment: Vec<TopicPartition>,
    /// The partitions that it shall have in the end; of a consumer group.
    pub target_assignment: Option<Vec<TopicPartition>>,
    /// The epoch that it has reached; of a consumer group.
    pub member_epoch: Option<i32>,
    /// In a consumer group: whether it speaks the consumer protocol, and not the classic one (KIP-1099). Brokers before
    /// Kafka 4.0 do not tell.
    pub upgraded: Option<bool>,
}

/// A member that is to leave its group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemberToRemove {
    /// By its member id.
    MemberId(String),
    /// By its `group.instance.id`.
    GroupInstanceId(String),
}

impl Admin {
    /// The groups of all brokers, in order of their ids.
    ///
    /// # Errors
    /// If a broker cannot be asked, or refuses.
    pub async fn list_groups(&self, options: &ListGroupsOptions) -> Result<Vec<GroupListing>, ClientError> {
        let request = ListGroupsRequest {
            states_filter: options.states.clone(),
            types_filter: options.types.clone(),
            ..ListGroupsRequest::default()
        };
        let mut found = BTreeMap::new();
        for broker in self.all_brokers().await? {
            let response = self.ask(broker, &request, |response| response.error_code).await?;
            for group in response.groups {
                let listing = GroupListing {
                    group_id: group.group_id,
                    protocol_type: group.protocol_type,
                    state: Some(group.group_state).filter(|state| !state.is_empty()),
                    group_type: Some(group.group_type).filter(|kind| !kind.is_empty()).map(group_type),
                };
                if options.protocol_types.is_empty() || options.protocol_types.contains(&listing.protocol_type) {
                    found.insert(listing.group_id.clone(), listing);
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// Groups of the classic protocol with their members.
    ///
    /// # Errors
    /// For each group `GroupIdNotFound` (from Kafka 4 on), `GroupAuthorizationFailed`, ….
    pub async fn describe_groups(
        &self,
        groups: impl IntoIterator<Item = impl Into<String>>,
    ) -> Results<String, GroupDescription> {
        self.for_each(groups, async |group: String| self.describe_group(&group).await).await
    }

    /// Groups of consumers, of either protocol, with their members.
    ///
    /// # Errors
    /// For each group `GroupIdNotFound` (from Kafka 4 on), `GroupAuthorizationFailed`, …;
    /// [`ClientError::InvalidArgument`] for a group that is not one of consumers.
    pub async fn describe_consumer_groups(
        &self,
        groups: impl IntoIterator<Item = impl Into<String>>,
    ) -> Results<String, GroupDescription> {
        self.for_each(groups, async |group: String| self.describe_group_of_consumers(&group).await).await
    }

    /// As a consumer group; if it is none, as a classic one.
    async fn describe_group_of_consumers(&self, group: &str) -> Result<GroupDescription, ClientError> {
        let missing = match self.describe_new_group(group).await {
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => Some(error),
            Err(ClientError::UnsupportedVersion { .. }) => None,
            Err(error) if error.code() == Some(ErrorCode::UnsupportedVersion) => None,
            other => return other,
        };
        let described = match self.describe_group(group).await {
            // What was said about the group of the newer kind says more.
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => return Err(missing.unwrap_or(error)),
            other => other?,
        };
        if matches!(described.protocol_type.as_str(), "" | "consumer") {
            return Ok(described);
        }
        let reason = format!("GroupId {group} is not a consumer group ({}).", described.protocol_type);
        Err(ClientError::InvalidArgument { reason: reason.into() })
    }

    async fn describe_new_group(&self, group: &str) -> Result<GroupDescription, ClientError> {
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![group.to_owned()],
            ..ConsumerGroupDescribeRequest::default()
        };
        let response = self.send_to_group(group, &request).await?;
        let described = response.groups.into_iter().next();
        let described = described.ok_or_else(|| ClientError::unexpected("no group described"))?;
        self.check_group(group, described.error_code, described.error_message.as_deref())?;
        let coordinator = self.cluster.coordinator(crate::net::CoordinatorType::Group, group).await?;
        Ok(new_description(described, coordinator))
    }

    async fn describe_group(&self, group: &str) -> Result<GroupDescription, ClientError> {
        let request = DescribeGroupsRequest { groups: vec![group.to_owned()], ..DescribeGroupsRequest::default() };
        let response = self.send_to_group(group, &request).await?;
        let described = response.groups.into_iter().next();
        let described = described.ok_or_else(|| ClientError::unexpected("no group described"))?;
        self.check_group(group, described.error_code, described.error_message.as_deref())?;
        let coordinator = self.cluster.coordinator(crate::net::CoordinatorType::Group, group).await?;
        Ok(description(described, coordinator))
    }

    /// Deletes groups that have no members, and their offsets.
    ///
    /// # Errors
    /// For each group `NonEmptyGroup`, `GroupIdNotFound`, ….
    pub async fn delete_groups(&self, groups: impl IntoIterator<Item = impl Into<String>>) -> Results<String, ()> {
        self.for_each(groups, async |group: String| {
            let request = DeleteGroupsRequest { groups_names: vec![group.clone()], ..DeleteGroupsRequest::default() };
            let response = self.send_to_group(&group, &request).await?;
            let result = response.results.first();
            let result = result.ok_or_else(|| ClientError::unexpected("no group deleted"))?;
            self.check_group(&group, result.error_code, None)
        })
        .await
    }

    /// Makes members leave their group; all of them where `members` is empty. The answer is by member id or instance id.
    ///
    /// # Errors
    /// If the coordinator cannot be asked or refuses; for each member `UnknownMemberId`, ….
    pub async fn remove_members_from_group(
        &self,
        group: &str,
        members: &[MemberToRemove],
        reason: Option<&str>,
    ) -> Result<Results<String, ()>, ClientError> {
        let all;
        let members = if members.is_empty() {
            let described = self.retry(async || self.describe_group(group).await).await?;
            all = described.members.into_iter().map(|m| MemberToRemove::MemberId(m.member_id)).collect::<Vec<_>>();
            &all[..]
        } else {
            members
        };
        let identity = |member: &MemberToRemove| {
            let (member_id, group_instance_id) = match member {
                MemberToRemove::MemberId(id) => (id.clone(), None),
                MemberToRemove::GroupInstanceId(id) => (String::new(), Some(id.clone())),
            };
            let reason = reason.map(str::to_owned);
            MemberIdentity { member_id, group_instance_id, reason, ..MemberIdentity::default() }
        };
        let request = LeaveGroupRequest {
            group_id: group.to_owned(),
            members: members.iter().map(identity).collect(),
            ..LeaveGroupRequest::default()
        };
        let response = self
            .retry(async || {
                let response = self.send_to_group(group, &request).await?;
                self.check_group(group, response.error_code, None).map(|()| response)
            })
            .await?;
        let answer = |member: vltava_protocol::messages::leave_group_response::MemberResponse| {
            let name = member.group_instance_id.unwrap_or(member.member_id);
            (name, ClientError::check(member.error_code, None))
        };
        Ok(response.members.into_iter().map(answer).collect())
    }
}

/// A type of groups as Kafka's clients write it; brokers write it in small letters.
fn group_type(name: String) -> String {
    let known = ["Classic", "Consumer", "Share", "Streams"].iter().find(|known| known.eq_ignore_ascii_case(&name));
    known.map_or(name, |known| (*known).to_owned())
}

fn description(group: DescribedGroup, coordinator: Node) -> GroupDescription {
    let consumers = group.protocol_type == "consumer";
    GroupDescription {
        group_id: group.group_id,
        group_type: "Classic".to_owned(),
        state: group.group_state,
        protocol_type: group.protocol_type,
        partition_assignor: group.protocol_data,
        members: group.members.into_iter().map(|m| member(m, consumers)).collect(),
        coordinator,
        group_epoch: None,
        target_assignment_epoch: None,
    }
}

fn new_description(group: consumer_group_describe_response::DescribedGroup, coordinator: Node) -> GroupDescription {
    GroupDescription {
        group_id: group.group_id,
        group_type: "Consumer".to_owned(),
        state: group.group_state,
        protocol_type: "consumer".to_owned(),
        partition_assignor: group.assignor_name,
        members: group.members.into_iter().map(new_member).collect(),
        coordinator,
        group_epoch: Some(group.group_epoch),
        target_assignment_epoch: Some(group.assignment_epoch),
    }
}

fn new_member(member: consumer_group_describe_response::Member) -> MemberDescription {
    /// What a member's type is where the broker does not tell it.
    const UNKNOWN: i8 = -1;
    const SPEAKS_CONSUMER_PROTOCOL: i8 = 1;
    let partitions = |assignment: consumer_group_describe_response::Assignment| {
        let topics = assignment.topic_partitions.into_iter();
        topics.flat_map(|topic| partitions_of(topic.topic_name, topic.partitions)).collect::<Vec<_>>()
    };
    MemberDescription {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        rack_id: member.rack_id,
        client_id: member.client_id,
        host: member.client_host,
        assignment: partitions(member.assignment),
        target_assignment: Some(partitions(member.target_assignment)),
        member_epoch: Some(member.member_epoch),
        upgraded: Some(member.member_type).filter(|&kind| kind != UNKNOWN).map(|kind| kind == SPEAKS_CONSUMER_PROTOCOL),
    }
}

fn partitions_of(topic: String, partitions: Vec<i32>) -> impl Iterator<Item = TopicPartition> {
    let name: std::sync::Arc<str> = topic.into();
    partitions.into_iter().map(move |partition| TopicPartition::new(name.clone(), partition))
}

fn member(member: DescribedGroupMember, consumer: bool) -> MemberDescription {
    MemberDescription {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        rack_id: None,
        client_id: member.client_id,
        host: member.client_host,
        assignment: if consumer { assigned(member.member_assignment) } else { Vec::new() },
        target_assignment: None,
        member_epoch: None,
        upgraded: None,
    }
}

/// The partitions of a member's assignment; what is no such thing (a group in rebalance has none) names none.
fn assigned(bytes: Bytes) -> Vec<TopicPartition> {
    let mut reader = Reader::new(bytes);
    let decoded = reader.i16().and_then(|version| {
        // Fields of later versions come after those that every version has.
        let version = version.clamp(0, ConsumerProtocolAssignment::MAX_VERSION);
        ConsumerProtocolAssignment::decode(&mut reader, version)
    });
    let topics = decoded.map(|assignment| assignment.assigned_partitions).unwrap_or_default();
    topics.into_iter().flat_map(|topic| partitions_of(topic.topic, topic.partitions)).collect()
}
