//! The state machine of one partition of `__consumer_offsets`: its groups and their offsets.
//!
//! Every operation takes the time and a request, changes the state, and leaves in the [`Output`] the records that
//! make the change durable and the answers that it set free.
//!
//! What does not survive a restart is not in the records: who waits, the state of a rebalance, deadlines. A member
//! finds out by its next heartbeat, as after a move of the coordinator.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use vltava_protocol::messages::{JoinGroupResponse, SyncGroupResponse};
use vltava_protocol::wire::DecodeError;
use vltava_protocol::{ErrorCode, Uuid};

use super::classic::ClassicGroup;
use super::classic_records;
use super::config::GroupCoordinatorConfig;
use super::consumer::Consumer;
use super::kind::Group;
use super::offsets::OffsetStore;
use super::records::CoordinatorRecord;
use super::streams::Streams;
use super::timer_key::TimerKey;
use crate::coordinator::record::{BATCH_OVERHEAD, NO_PRODUCER_ID, RecordBytes, RecordError};
use crate::coordinator::shard::{Now, Output, ReplyToken, Shard};
use crate::coordinator::timers::Timers;
use crate::metadata::topic_name::CONSUMER_OFFSETS;

/// The most that a client's or instance's id gives to a member id, bytes.
const MEMBER_ID_PREFIX_MAX_BYTES: usize = 32_000;

/// The answer to a member that waits for its group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum GroupReply {
    Join(JoinGroupResponse),
    Sync(SyncGroupResponse),
}

/// Who sent a request, and in which version.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The version of the request's API.
    pub(crate) api_version: i16,
    /// The client's id; empty if it gave none.
    pub(crate) client_id: String,
    /// The client's address as Kafka writes it, such as `/127.0.0.1`.
    pub(crate) client_host: String,
}

/// Why a request is refused, with Kafka's text where the answer has a place for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) error: ErrorCode,
    pub(crate) message: Option<String>,
}

impl Refused {
    pub(super) fn new(error: ErrorCode, message: String) -> Self {
        Self { error, message: Some(message) }
    }
}

impl From<ErrorCode> for Refused {
    fn from(error: ErrorCode) -> Self {
        Self { error, message: None }
    }
}

/// The groups of one partition of the offsets topic.
#[derive(Debug)]
pub(crate) struct GroupCoordinatorShard {
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    pub(super) offsets: OffsetStore,
    pub(super) core: Core,
}

/// What there is of groups.
#[derive(Debug, Default)]
pub(crate) struct GroupCounts {
    /// Of each protocol and state.
    pub(crate) groups: BTreeMap<(&'static str, &'static str), usize>,
    pub(crate) offsets: usize,
}

/// What operations on a group need beside the group.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Arc<GroupCoordinatorConfig>,
    pub(super) timers: Timers<TimerKey>,
    pub(super) now: Now,
    output: Output<GroupReply>,
    random: fastrand::Rng,
}

impl GroupCoordinatorShard {
    /// Counts what there is.
    pub(crate) fn count(&self, counts: &mut GroupCounts) {
        for group in self.groups.values() {
            *counts.groups.entry((group.type_name(), group.state_name())).or_default() += 1;
        }
        counts.offsets += self.offsets.count();
    }
}

impl Shard for GroupCoordinatorShard {
    const TOPIC: &'static str = CONSUMER_OFFSETS;

    type Config = GroupCoordinatorConfig;
    type Record = CoordinatorRecord;
    type Reply = GroupReply;
    type Effect = Infallible;

    /// The ids of members come from `seed`.
    fn new(config: &Arc<GroupCoordinatorConfig>, seed: u64) -> Self {
        Self {
            groups: BTreeMap::new(),
            offsets: OffsetStore::default(),
            core: Core {
                config: config.clone(),
                timers: Timers::default(),
                now: Now { elapsed_ms: 0, timestamp_ms: 0 },
                output: Output::default(),
                random: fastrand::Rng::with_seed(seed),
            },
        }
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<CoordinatorRecord>, DecodeError> {
        CoordinatorRecord::decode(key, value)
    }

    fn replay(&mut self, offset: i64, producer_id: i64, record: CoordinatorRecord) {
        match record {
            CoordinatorRecord::OffsetCommit { key, value } => {
                self.offsets.advance(offset);
                match value {
                    Some(value) => {
                        self.group_of_offsets(&key.group);
                        self.offsets.put(producer_id, key, value.into());
                    }
                    None => self.offsets.remove(&key.group, &key.topic, key.partition),
                }
            }
            CoordinatorRecord::GroupMetadata { key, value: None } => self.forget_group(&key.group),
            CoordinatorRecord::GroupMetadata { key, value: Some(value) } => {
                let group = classic_records::group_from_record(&key.group, value);
                self.groups.insert(group.id.clone(), Group::Classic(Box::new(group)));
            }
            CoordinatorRecord::Consumer { group, change } => self.replay_change(&group, change),
            CoordinatorRecord::Streams { group, change } => self.replay_change(&group, change),
        }
    }

    fn replay_end_transaction(&mut self, producer_id: i64, committed: bool) {
        self.offsets.end_transaction(producer_id, committed);
    }

    fn loaded(&mut self, now: Now) {
        self.core.now = now;
        let interval = self.core.config.offsets_retention_check_interval_ms;
        self.core.timers.schedule(TimerKey::OffsetExpiration, now.elapsed_ms.saturating_add(interval));
        let max_size = self.core.config.max_size;
        for group in self.groups.values_mut() {
            match group {
                Group::Classic(group) => {
                    for member in group.members() {
                        self.core.arm_session(&group.id, &member.id, member.session_timeout_ms);
                    }
                    if group.members().len() > max_size {
                        group.prepare_rebalance(&mut self.core, "the loaded group is larger than group.max.size");
                    }
                }
                Group::Consumer(group) => self.core.arm_members(group),
                Group::Streams(group) => self.core.arm_members(group),
            }
        }
    }

    fn next_deadline(&self) -> Option<i64> {
        self.core.timers.next_deadline()
    }

    fn expire(&mut self, now: Now) {
        self.core.now = now;
        while let Some(timer) = self.core.timers.pop_due(now.elapsed_ms) {
            match timer {
                TimerKey::Session { group, member } => match self.groups.get_mut(&group) {
                    Some(Group::Classic(group)) => group.expire_session(&mut self.core, &member),
                    Some(Group::Consumer(_)) => self.expire_member_session::<Consumer>(&group, &member),
                    Some(Group::Streams(_)) => self.expire_member_session::<Streams>(&group, &member),
                    None => {}
                },
                TimerKey::Join { group } => {
                    if let Some(Group::Classic(group)) = self.groups.get_mut(&group) {
                        group.expire_join(&mut self.core);
                    }
                }
                TimerKey::Sync { group } => {
                    if let Some(Group::Classic(group)) = self.groups.get_mut(&group) {
                        group.expire_sync(&mut self.core);
                    }
                }
                TimerKey::Rebalance { group, member } => match self.groups.get(&group) {
                    Some(Group::Consumer(_)) => self.expire_revocation::<Consumer>(&group, &member),
                    Some(Group::Streams(_)) => self.expire_revocation::<Streams>(&group, &member),
                    Some(Group::Classic(_)) | None => {}
                },
                TimerKey::FirstAssignment { group } => self.expire_first_assignment(&group),
                TimerKey::OffsetExpiration => self.expire_offsets(),
            }
        }
    }

    fn take_output(&mut self) -> Output<GroupReply> {
        std::mem::take(&mut self.core.output)
    }
}

impl GroupCoordinatorShard {
    /// Sets the time of an operation, and finds its group if it is a classic one.
    pub(super) fn group_at(&mut self, now: Now, group_id: &str) -> Option<(&mut ClassicGroup, &mut Core)> {
        self.core.now = now;
        match self.groups.get_mut(group_id)? {
            Group::Classic(group) => Some((group, &mut self.core)),
            Group::Consumer(_) | Group::Streams(_) => None,
        }
    }

    /// Returns the group that offsets belong to; one that only stores offsets has no record of its own.
    fn group_of_offsets(&mut self, group_id: &str) {
        if !self.groups.contains_key(group_id) {
            let id: Arc<str> = group_id.into();
            let group = ClassicGroup::new(id.clone(), self.core.now.timestamp_ms);
            self.groups.insert(id, Group::Classic(Box::new(group)));
        }
    }

    /// Removes a group and its deadlines. Its offsets have tombstones of their own.
    pub(super) fn forget_group(&mut self, group_id: &str) {
        match self.groups.remove(group_id) {
            Some(Group::Classic(group)) => {
                for id in group.members().map(|member| &member.id).chain(group.pending_join()) {
                    self.core.cancel_session(&group.id, id);
                }
                self.core.timers.cancel(&TimerKey::Join { group: group.id.clone() });
                self.core.timers.cancel(&TimerKey::Sync { group: group.id });
            }
            Some(Group::Consumer(group)) => self.core.cancel_members(&group.id, group.members.keys()),
            Some(Group::Streams(group)) => {
                self.core.cancel_members(&group.id, group.members.keys());
                self.core.timers.cancel(&TimerKey::FirstAssignment { group: group.id });
            }
            None => {}
        }
    }

    /// Emits a record and folds it into the state, as its replay will.
    pub(super) fn emit_and_replay(&mut self, record: CoordinatorRecord) {
        self.core.emit(record.encode());
        let position = self.offsets.next_position();
        self.replay(position, NO_PRODUCER_ID, record);
    }
}

impl Core {
    /// Has a record appended before anything of this operation is answered; if it cannot be written, the operation
    /// fails as one whose records cannot be appended.
    pub(super) fn emit(&mut self, record: Result<RecordBytes, RecordError>) {
        match record {
            Ok(record) => self.output.records.push(record),
            Err(error) => self.output.failure = Some(error),
        }
    }

    /// Allows the records of this operation to be split over several batches.
    pub(super) fn allow_division(&mut self) {
        self.output.divisible = true;
    }

    /// Returns whether one batch can hold the records.
    pub(super) fn fits_in_batch(&self, records: &[RecordBytes]) -> bool {
        let size: usize = records.iter().map(RecordBytes::max_size).sum();
        size.saturating_add(BATCH_OVERHEAD) <= self.config.max_batch_bytes
    }

    pub(super) fn answer_join(&mut self, token: ReplyToken, response: JoinGroupResponse) {
        self.output.replies.push((token, GroupReply::Join(response)));
    }

    /// Answers a join request by an error, with the member id the client shall go on with.
    pub(super) fn refuse_join(&mut self, token: ReplyToken, member_id: &str, error: ErrorCode) {
        let member_id = member_id.to_owned();
        self.answer_join(
            token,
            JoinGroupResponse { error_code: error.code(), member_id, ..JoinGroupResponse::default() },
        );
    }

    pub(super) fn answer_sync(&mut self, token: ReplyToken, response: SyncGroupResponse) {
        self.output.replies.push((token, GroupReply::Sync(response)));
    }

    pub(super) fn refuse_sync(&mut self, token: ReplyToken, error: ErrorCode) {
        self.answer_sync(
            token,
            SyncGroupResponse { error_code: error.code(), assignment: Bytes::new(), ..SyncGroupResponse::default() },
        );
    }

    /// Returns the time `delay_ms` from now; a negative delay is none.
    pub(super) fn after(&self, delay_ms: i32) -> i64 {
        self.now.elapsed_ms.saturating_add(i64::from(delay_ms.max(0)))
    }

    pub(super) fn arm_session(&mut self, group: &Arc<str>, member: &Arc<str>, timeout_ms: i32) {
        let deadline = self.after(timeout_ms);
        self.timers.schedule(TimerKey::Session { group: group.clone(), member: member.clone() }, deadline);
    }

    pub(super) fn cancel_session(&mut self, group: &Arc<str>, member: &Arc<str>) {
        self.timers.cancel(&TimerKey::Session { group: group.clone(), member: member.clone() });
    }

    /// Makes a random UUID.
    pub(super) fn new_uuid(&mut self) -> Uuid {
        let bits = self.random.u128(..);
        // RFC 4122: version 4, variant 10.
        Uuid::from_u128((bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62))
    }

    /// Makes a member id: the instance's or client's id and a random UUID, as Kafka's look.
    pub(super) fn new_member_id(&mut self, prefix: &str) -> Arc<str> {
        // A string of the protocol has at most 32767 bytes.
        let end = (0..=prefix.len().min(MEMBER_ID_PREFIX_MAX_BYTES)).rfind(|end| prefix.is_char_boundary(*end));
        let prefix = prefix.get(..end.unwrap_or_default()).unwrap_or_default();
        let uuid = self.new_uuid().as_u128();
        let [a, b, c, d] = [uuid >> 96, (uuid >> 80) & 0xffff, (uuid >> 64) & 0xffff, (uuid >> 48) & 0xffff];
        format!("{prefix}-{a:08x}-{b:04x}-{c:04x}-{d:04x}-{:012x}", uuid & 0xffff_ffff_ffff).into()
    }
}
