//! ConsumerGroupHeartbeat: a member says what it wants and holds, and learns what it shall hold.

use std::collections::BTreeSet;
use std::sync::Arc;

use vltava_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use vltava_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use vltava_protocol::records::group::{ConsumerGroupMetadataValue, ConsumerGroupRegularExpressionValue};
use vltava_protocol::{ErrorCode, Uuid, invariant};

use super::assign::{Assignor, GroupSpec, MemberSpec};
use super::fold::RegexChange;
use super::topics::{TopicMetadata, metadata_hash, resolve};
use super::{Change, Consumer, ConsumerGroup, ConsumerMember, Owned, Partitions};
use crate::coordinator::group::modern::{LEAVE_EPOCH, ModernKind as _, STATIC_LEAVE_EPOCH, unknown_member};
use crate::coordinator::group::shard::{Caller, GroupCoordinatorShard, Refused};
use crate::coordinator::pattern::Pattern;
use crate::coordinator::record::fits_in_record;
use crate::coordinator::shard::Now;

/// The first version in which the member makes its own id (KIP-1082).
const OWN_MEMBER_ID_MIN_VERSION: i16 = 1;

impl GroupCoordinatorShard {
    /// Takes a member's heartbeat: lets it join, moves it on, or lets it leave.
    ///
    /// # Errors
    ///
    /// With Kafka's text: a request that contradicts itself, a member or an epoch that is not known, a full group.
    pub(crate) fn consumer_group_heartbeat(
        &mut self,
        now: Now,
        caller: &Caller,
        topics: &dyn TopicMetadata,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refused> {
        self.core.now = now;
        validate(caller, request)?;
        if matches!(request.member_epoch, LEAVE_EPOCH | STATIC_LEAVE_EPOCH) {
            return self.consumer_group_leave(topics, request);
        }
        if let Some(regex) = request.subscribed_topic_regex.as_deref().filter(|regex| !regex.is_empty()) {
            Pattern::compile(regex).map_err(|error| {
                Refused::new(error, format!("SubscribedTopicRegex `{regex}` is not a valid regular expression."))
            })?;
        }
        let group_id: Arc<str> = request.group_id.as_str().into();
        let member_id = self.admit(&group_id, request)?;
        let held = request.topic_partitions.as_ref().map(|held| {
            held.iter()
                .map(|topic| (topic.topic_id, topic.partitions.iter().copied().collect()))
                .collect::<Partitions>()
        });
        let before = self.consumer_member(&group_id, &member_id).cloned();
        let before = before.unwrap_or_else(|| ConsumerMember::new(member_id.clone()));

        let changed = self.subscribe(&group_id, &before, caller, request);
        let resolved = self.resolve_regexes(&group_id, topics);
        self.bump_epoch(&group_id, topics, changed || resolved);
        self.update_target(&group_id, topics);
        self.move_on(&group_id, &member_id, topics, changed || resolved, held.as_ref())?;

        let settings = self.core.config.consumer_of(&group_id);
        self.core.arm_session(&group_id, &member_id, settings.session_timeout_ms);
        let Some(after) = self.consumer_member(&group_id, &member_id) else {
            invariant!(false, "member {member_id} of group {group_id} is there after its heartbeat");
            return Err(ErrorCode::UnknownServerError.into());
        };
        let is_full = request.rebalance_timeout_ms != -1
            && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
            && request.topic_partitions.is_some();
        let tells = request.member_epoch == 0 || is_full || !same_partitions(&before.assigned, &after.assigned);
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(after.id.to_string()),
            member_epoch: after.epoch,
            heartbeat_interval_ms: settings.heartbeat_interval_ms,
            assignment: tells.then(|| assignment(&after.assigned)),
            ..ConsumerGroupHeartbeatResponse::default()
        })
    }

    /// Finds or makes the group and checks the member; returns the id that the member has from now on.
    fn admit(&mut self, group_id: &Arc<str>, request: &ConsumerGroupHeartbeatRequest) -> Result<Arc<str>, Refused> {
        let is_joining = request.member_epoch == 0;
        let id: Arc<str> = if request.member_id.is_empty() {
            self.core.new_uuid().to_string().into()
        } else {
            request.member_id.as_str().into()
        };
        let Some(group) = self.consumer_group(group_id) else {
            self.check_modern_group::<Consumer>(group_id, is_joining)?;
            self.make_room(group_id);
            return Ok(id);
        };
        let max_size = self.core.config.consumer.max_size;
        if group.members.len() >= max_size && !group.members.contains_key(&id) {
            let text = format!("The consumer group has reached its maximum capacity of {max_size} members.");
            return Err(Refused::new(ErrorCode::GroupMaxSizeReached, text));
        }
        let Some(instance) = &request.instance_id else {
            return match group.members.get(&id) {
                Some(member) => check_epoch(member, request).map(|()| id),
                None if is_joining => Ok(id),
                None => Err(unknown_member(&id, group_id)),
            };
        };
        match group.static_member(instance) {
            None if is_joining => Ok(id),
            None => {
                let text = format!("Instance id {instance} is unknown.");
                Err(Refused::new(ErrorCode::UnknownMemberId, text))
            }
            Some(owner) if is_joining && owner.id == id => Ok(id),
            Some(owner) if is_joining && owner.epoch != STATIC_LEAVE_EPOCH => {
                let text = format!(
                    "Static member {id} with instance id {instance} cannot join the group because the instance id is \
                     owned by {} member.",
                    owner.id
                );
                Err(Refused::new(ErrorCode::UnreleasedInstanceId, text))
            }
            Some(owner) if is_joining => {
                let (old, target) = (owner.clone(), group.target.get(&owner.id).cloned());
                self.replace_static_member(group_id, old, target.unwrap_or_default(), &id);
                Ok(id)
            }
            Some(owner) if owner.id != id => {
                let text = format!("Static member {id} with instance id {instance} was fenced by member {}.", owner.id);
                Err(Refused::new(ErrorCode::FencedInstanceId, text))
            }
            Some(owner) => check_epoch(owner, request).map(|()| id),
        }
    }

    /// Gives a static member that comes back the place of the one that left.
    fn replace_static_member(&mut self, group: &Arc<str>, old: ConsumerMember, target: Partitions, id: &Arc<str>) {
        self.core.cancel_session(group, &old.id);
        self.remove_member::<Consumer>(group, &old.id);
        let new = ConsumerMember { id: id.clone(), epoch: 0, previous_epoch: 0, ..old };
        self.emit_change(group, Change::Member(id.to_string(), Some(Consumer::member_record(&new))));
        self.emit_change(group, Change::TargetOf(id.to_string(), Some(Consumer::target_of_record(&target))));
        self.emit_change(group, Change::Current(id.to_string(), Some(Consumer::current_record(&new))));
    }

    /// Notes what the member wants; returns whether it wants other topics than before.
    fn subscribe(
        &mut self,
        group: &Arc<str>,
        before: &ConsumerMember,
        caller: &Caller,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> bool {
        let mut wanted = before.clone();
        let replace = |place: &mut Option<String>, value: &Option<String>| {
            if value.is_some() {
                place.clone_from(value);
            }
        };
        replace(&mut wanted.instance_id, &request.instance_id);
        replace(&mut wanted.rack_id, &request.rack_id);
        replace(&mut wanted.wants.assignor, &request.server_assignor);
        if request.rebalance_timeout_ms != -1 {
            wanted.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        if let Some(names) = &request.subscribed_topic_names {
            wanted.wants.topics = names.iter().cloned().collect();
        }
        if let Some(regex) = &request.subscribed_topic_regex {
            wanted.wants.regex = Some(regex.clone()).filter(|regex| !regex.is_empty());
        }
        wanted.client_id.clone_from(&caller.client_id);
        wanted.client_host.clone_from(&caller.client_host);
        let is_known = self.consumer_member(group, &before.id).is_some();
        if is_known && wanted == *before {
            return false;
        }
        let dropped = before.wants.regex.clone().filter(|regex| wanted.wants.regex.as_ref() != Some(regex));
        let changed = wanted.wants.topics != before.wants.topics || wanted.wants.regex != before.wants.regex;
        self.emit_change(group, Change::Member(wanted.id.to_string(), Some(Consumer::member_record(&wanted))));
        if let Some(regex) = dropped {
            self.forget_regex(group, &regex);
        }
        changed
    }

    /// Forgets what an expression stands for once nobody subscribes by it.
    pub(super) fn forget_regex(&mut self, group_id: &Arc<str>, regex: &str) {
        let Some(group) = self.consumer_group(group_id) else { return };
        if group.subscribers_of(regex) == 0 && group.own.regexes.contains_key(regex) {
            self.emit_change(group_id, Change::Own(RegexChange { regex: regex.to_owned(), value: None }));
        }
    }

    /// Looks up the topics of expressions that are not known in this version of the metadata; returns whether any
    /// stands for others than before.
    fn resolve_regexes(&mut self, group_id: &Arc<str>, topics: &dyn TopicMetadata) -> bool {
        let Some(group) = self.consumer_group(group_id) else { return false };
        let is_current = group.own.checked.is_some_and(|(version, _)| version == topics.version());
        let expressions: BTreeSet<String> =
            group.members.values().filter_map(|member| member.wants.regex.clone()).collect();
        let mut changed = Vec::new();
        for regex in expressions {
            let known = group.own.regexes.get(&regex);
            if is_current && known.is_some() {
                continue;
            }
            // What was checked when it came may be from a broker with another kind of expressions.
            let found = resolve(&regex, topics).unwrap_or_default();
            if known.is_none_or(|known| known.topics != found) {
                changed.push((regex, found));
            }
        }
        let any = !changed.is_empty();
        for (regex, found) in changed {
            let value = ConsumerGroupRegularExpressionValue {
                topics: found.into_iter().collect(),
                version: topics.version(),
                timestamp: self.core.now.timestamp_ms,
                ..ConsumerGroupRegularExpressionValue::default()
            };
            self.emit_change(group_id, Change::Own(RegexChange { regex, value: Some(value) }));
        }
        any
    }

    /// Begins another epoch if subscriptions changed, or the topics did.
    fn bump_epoch(&mut self, group_id: &Arc<str>, topics: &dyn TopicMetadata, changed: bool) {
        let Some(group) = self.consumer_group(group_id) else { return };
        if !changed && group.own.checked == Some((topics.version(), group.epoch)) {
            return;
        }
        let hash = metadata_hash(&group.subscribed_topics(), topics);
        let epoch = group.epoch;
        if changed || hash != group.metadata_hash {
            self.set_epoch(group_id, epoch.saturating_add(1), hash);
            self.core.config.counters.consumer_rebalances.increment();
        }
        if let Some(group) = self.modern_group_mut::<Consumer>(group_id) {
            group.own.checked = Some((topics.version(), group.epoch));
        }
    }

    pub(super) fn set_epoch(&mut self, group: &Arc<str>, epoch: i32, metadata_hash: i64) {
        let value = ConsumerGroupMetadataValue { epoch, metadata_hash, ..ConsumerGroupMetadataValue::default() };
        self.emit_change(group, Change::Group(Some(value)));
    }

    /// Computes another target assignment if the group is in another epoch, unless the last one is too recent.
    fn update_target(&mut self, group_id: &Arc<str>, topics: &dyn TopicMetadata) {
        let interval_ms = self.core.config.consumer_of(group_id).assignment_interval_ms;
        let Some(group) = self.consumer_group(group_id) else { return };
        let is_due = group.assignment_epoch < group.epoch;
        if !is_due || group.has_recent_target(self.core.now.timestamp_ms, interval_ms) {
            return;
        }
        let epoch = group.epoch;
        let assignor = group.preferred_assignor();
        let target = assignor.assign(&group.spec(topics));
        tracing::info!(group = %group_id, epoch, assignor = assignor.name(), "computed a target assignment");
        self.record_target::<Consumer>(group_id, epoch, target);
    }

    /// Takes the member's next step towards its target.
    fn move_on(
        &mut self,
        group_id: &Arc<str>,
        member_id: &Arc<str>,
        topics: &dyn TopicMetadata,
        changed: bool,
        held: Option<&Partitions>,
    ) -> Result<(), Refused> {
        let Some(group) = self.consumer_group(group_id) else { return Ok(()) };
        let Some(member) = group.members.get(member_id) else { return Ok(()) };
        if !changed && member.is_reconciled_to(group.assignment_epoch) {
            return Ok(());
        }
        let subscribed = group.topic_ids_of(member, topics);
        let next = group.reconcile(member, &subscribed, changed, held)?;
        if next != *member {
            self.record_step(group_id, &next);
        }
        Ok(())
    }
}

impl ConsumerGroup {
    /// Returns the ids of the topics that a member subscribes to and that exist.
    fn topic_ids_of(&self, member: &ConsumerMember, topics: &dyn TopicMetadata) -> BTreeSet<Uuid> {
        self.topics_of(member).filter_map(|name| topics.topic(name)).map(|(id, _)| id).collect()
    }

    /// Returns the assignor that most members ask for, or the default.
    pub(super) fn preferred_assignor(&self) -> Assignor {
        let votes = |assignor: Assignor| {
            self.members.values().filter(|member| member.wants.assignor.as_deref() == Some(assignor.name())).count()
        };
        if votes(Assignor::Range) > votes(Assignor::Uniform) { Assignor::Range } else { Assignor::Uniform }
    }

    fn spec(&self, topics: &dyn TopicMetadata) -> GroupSpec {
        let mut spec = GroupSpec::default();
        for member in self.members.values() {
            let mut ids = BTreeSet::new();
            for (id, partitions) in self.topics_of(member).filter_map(|name| topics.topic(name)) {
                ids.insert(id);
                spec.topics.insert(id, partitions);
            }
            let current = self.target.get(&member.id).cloned().unwrap_or_default();
            let member_spec = MemberSpec { instance_id: member.instance_id.clone(), topics: ids, current };
            spec.members.insert(member.id.clone(), member_spec);
        }
        spec
    }
}

fn validate(caller: &Caller, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refused> {
    let refuse = |text: &str| Err(Refused::new(ErrorCode::InvalidRequest, text.to_owned()));
    let is_blank = |value: &Option<String>| value.as_deref().is_some_and(|value| value.trim().is_empty());
    let needs_id = caller.api_version >= OWN_MEMBER_ID_MIN_VERSION
        || request.member_epoch > 0
        || request.member_epoch == LEAVE_EPOCH;
    if needs_id && request.member_id.trim().is_empty() {
        return refuse("MemberId can't be empty.");
    }
    if request.group_id.trim().is_empty() {
        return refuse("GroupId can't be empty.");
    }
    if is_blank(&request.instance_id) {
        return refuse("InstanceId can't be empty.");
    }
    if is_blank(&request.rack_id) {
        return refuse("RackId can't be empty.");
    }
    match request.member_epoch {
        0 if request.rebalance_timeout_ms == -1 => {
            return refuse("RebalanceTimeoutMs must be provided in first request.");
        }
        0 if request.topic_partitions.as_ref().is_none_or(|held| !held.is_empty()) => {
            return refuse("TopicPartitions must be empty when (re-)joining.");
        }
        0 if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() => {
            return refuse("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.");
        }
        STATIC_LEAVE_EPOCH if request.instance_id.is_none() => return refuse("InstanceId can't be null."),
        ..STATIC_LEAVE_EPOCH => return refuse("MemberEpoch is invalid."),
        _ => {}
    }
    let mut names = [&request.group_id, &request.member_id].into_iter().chain(&request.subscribed_topic_regex);
    if !names.all(|name| fits_in_record(name)) {
        // As Kafka answers when it comes to the record.
        return Err(ErrorCode::UnknownServerError.into());
    }
    match &request.server_assignor {
        Some(name) if Assignor::by_name(name).is_none() => {
            let supported = Assignor::NAMES.join(", ");
            let text = format!("ServerAssignor {name} is not supported. Supported assignors: {supported}.");
            Err(Refused::new(ErrorCode::UnsupportedAssignor, text))
        }
        _ => Ok(()),
    }
}

fn check_epoch(member: &ConsumerMember, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refused> {
    member.check_epoch(request.member_epoch, || {
        request.topic_partitions.as_ref().is_some_and(|held| {
            held.iter().all(|topic| {
                let assigned = member.assigned.get(&topic.topic_id);
                topic.partitions.iter().all(|index| assigned.is_some_and(|assigned| assigned.contains_key(index)))
            })
        })
    })
}

fn same_partitions(a: &Owned, b: &Owned) -> bool {
    a.len() == b.len()
        && a.iter().all(|(topic, partitions)| b.get(topic).is_some_and(|other| partitions.keys().eq(other.keys())))
}

fn assignment(assigned: &Owned) -> Assignment {
    let topic = |(topic_id, partitions): (&Uuid, &std::collections::BTreeMap<i32, i32>)| TopicPartitions {
        topic_id: *topic_id,
        partitions: partitions.keys().copied().collect(),
        ..TopicPartitions::default()
    };
    Assignment { topic_partitions: assigned.iter().map(topic).collect(), ..Assignment::default() }
}
