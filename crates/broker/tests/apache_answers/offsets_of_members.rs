//! Offsets that members of consumer groups (KIP-848) commit in transactions: whose epochs count.

use vltava_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use vltava_protocol::messages::{
    AddOffsetsToTxnRequest, DeleteGroupsRequest, EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest,
    TxnOffsetCommitRequest,
};

use crate::consumer_groups::{ONE, TWO, beat, create, join, owning, settle};
use crate::groups::coordinator;
use crate::transcript::Session;

const GROUP: &str = "consumers-in-transactions";
const TOPIC: &str = "offsets-of-members";

/// Who commits offsets.
#[derive(Clone, Copy)]
struct Who {
    member: &'static str,
    instance: Option<&'static str>,
    epoch: i32,
}

fn member(member: &'static str, epoch: i32) -> Who {
    Who { member, instance: None, epoch }
}

struct Producer {
    transactional_id: String,
    id: i64,
    epoch: i16,
    version: i16,
}

impl Producer {
    /// One of clients that speak `version` of TxnOffsetCommit, which has begun a transaction.
    fn begin(s: &mut Session, version: i16) -> Self {
        let transactional_id = format!("offsets-of-members-{version}");
        let keys = vec![transactional_id.clone()];
        let find = FindCoordinatorRequest { key_type: 1, coordinator_keys: keys, ..Default::default() };
        s.until(6, &find, |answer| answer.coordinators[0].error_code == 0);
        let init = InitProducerIdRequest {
            transactional_id: Some(transactional_id.clone()),
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let told = s.until(5, &init, |answer| answer.error_code == 0);
        let producer = Self { transactional_id, id: told.producer_id, epoch: told.producer_epoch, version };
        if version < 5 {
            let add = AddOffsetsToTxnRequest {
                transactional_id: producer.transactional_id.clone(),
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                group_id: GROUP.to_owned(),
                ..Default::default()
            };
            s.until(3, &add, |answer| answer.error_code == 0);
        }
        producer
    }

    fn end(self, s: &mut Session) {
        let request = EndTxnRequest {
            transactional_id: self.transactional_id,
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed: false,
            ..Default::default()
        };
        s.quietly(if self.version < 5 { 4 } else { 5 }, &request);
    }

    fn commit(&self, s: &mut Session, what: &str, group: &str, who: Who, partitions: &[i32]) {
        let partition = |index: &i32| TxnOffsetCommitRequestPartition {
            partition_index: *index,
            committed_offset: 5,
            committed_leader_epoch: -1,
            ..Default::default()
        };
        let request = TxnOffsetCommitRequest {
            transactional_id: self.transactional_id.clone(),
            group_id: group.to_owned(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            generation_id: who.epoch,
            member_id: who.member.to_owned(),
            group_instance_id: who.instance.map(str::to_owned),
            topics: vec![TxnOffsetCommitRequestTopic {
                name: TOPIC.to_owned(),
                partitions: partitions.iter().map(partition).collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        s.call(what, self.version, &request);
    }
}

pub(crate) fn talk(s: &mut Session) {
    coordinator(s);
    let id = create(s, TOPIC, 2);
    for version in [3, 5] {
        s.about(&format!("one member, version {version}"));
        let joined = s.quietly(1, &join(GROUP, ONE, &[TOPIC]));
        // It has them when it joins.
        let first = joined.member_epoch;
        let mut owns = beat(GROUP, ONE, first);
        owns.topic_partitions = owning(id, &[0, 1]);
        s.until(1, &owns, |answer| answer.error_code == 0);
        let producer = Producer::begin(s, version);
        let mut tell = |what: &str, who: Who, partitions: &[i32]| producer.commit(s, what, GROUP, who, partitions);
        tell("a member", member(ONE, first), &[0, 1]);
        tell("a partition that there is not", member(ONE, first), &[0, 7]);
        tell("an epoch before", member(ONE, first - 1), &[0]);
        tell("an epoch that comes", member(ONE, first + 1), &[0]);
        tell("no epoch", member(ONE, -1), &[0]);
        tell("another member", member(TWO, first), &[0]);
        tell("nobody with an epoch", member("", first), &[0]);
        tell("nobody", member("", -1), &[0]);
        tell("nobody of an instance", Who { instance: Some("instance"), ..member("", -1) }, &[0]);
        producer.commit(s, "of a group that there is not", "no-such-group", member(ONE, 3), &[0]);
        producer.commit(s, "nobody of a group that there is not", "no-such-group", member("", -1), &[0]);
        producer.commit(s, "of a group without a name", "", member(ONE, first), &[0]);

        s.about(&format!("two members, version {version}"));
        let joined = s.quietly(1, &join(GROUP, TWO, &[TOPIC]));
        // The first one gives a partition up, and is in the new epoch then.
        settle(s, GROUP, ONE, first, 1);
        let mut keeps = beat(GROUP, ONE, first);
        keeps.topic_partitions = owning(id, &[0]);
        let second = s.until(1, &keeps, |answer| answer.member_epoch > first).member_epoch;
        let other = settle(s, GROUP, TWO, joined.member_epoch, 1);
        for (what, epoch) in [("the epoch", second), ("the epoch before, of what it kept", first)] {
            producer.commit(s, what, GROUP, member(ONE, epoch), &[0]);
        }
        producer.commit(s, "the epoch before, of what it gave up", GROUP, member(ONE, first), &[1]);
        producer.commit(s, "the epoch before, of both", GROUP, member(ONE, first), &[0, 1]);
        producer.commit(s, "the other one", GROUP, member(TWO, other), &[1]);
        producer.commit(s, "the other one, an epoch before it had any", GROUP, member(TWO, other - 1), &[1]);

        s.about(&format!("nobody is left, version {version}"));
        s.quietly(1, &beat(GROUP, TWO, -1));
        s.quietly(1, &beat(GROUP, ONE, -1));
        producer.commit(s, "a member that has left", GROUP, member(ONE, second), &[0]);
        producer.commit(s, "a member that has left, without its epoch", GROUP, member(ONE, -1), &[0]);
        producer.commit(s, "nobody", GROUP, member("", -1), &[0]);
        producer.end(s);
        let delete = DeleteGroupsRequest { groups_names: vec![GROUP.to_owned()], ..Default::default() };
        s.until(2, &delete, |answer| answer.results[0].error_code == 0);
    }
}
