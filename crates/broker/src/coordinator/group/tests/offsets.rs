//! Committed offsets: who may commit, what is stored, and when it goes.

use vltava_protocol::messages::offset_commit_request::OffsetCommitRequest;
use vltava_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use vltava_protocol::{ErrorCode, Uuid};

use super::harness::{
    GROUP, Harness, Member, SESSION_MS, caller, commit_request, commit_topic, simple_commit, topic_id,
};
use crate::coordinator::group::GroupCoordinatorConfig;
use crate::coordinator::group::offsets::CommittedOffset;
use crate::coordinator::group::records::CoordinatorRecord;
use crate::coordinator::shard::Shard;

const RETENTION_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
const CHECK_MS: i64 = 600_000;

fn delete(harness: &mut Harness, topic: &str) -> Result<ErrorCode, ErrorCode> {
    let request = OffsetDeleteRequest {
        group_id: GROUP.into(),
        topics: vec![OffsetDeleteRequestTopic {
            name: topic.into(),
            partitions: vec![OffsetDeleteRequestPartition::default()],
        }],
    };
    let result = harness.shard.delete_offsets(harness.now, request);
    harness.collect();
    result.map(|topics| ErrorCode::from(topics[0].partitions[0].error_code))
}

#[test]
fn a_commit_is_checked_by_member_and_generation() {
    let mut harness = Harness::new();
    let member = harness.stable_group(1).remove(0);
    let nobody = Member { generation: -1, ..Member::default() };
    let cases = [
        ("the member", member.clone(), Ok(ErrorCode::None)),
        ("an old generation", Member { generation: 0, ..member.clone() }, Err(ErrorCode::IllegalGeneration)),
        ("no generation", Member { generation: -1, ..member.clone() }, Err(ErrorCode::IllegalGeneration)),
        ("a stranger", Member { id: "x".into(), ..member.clone() }, Err(ErrorCode::UnknownMemberId)),
        ("nobody", nobody, Err(ErrorCode::UnknownMemberId)),
        ("an instance", Member { instance: Some("i".into()), ..member.clone() }, Err(ErrorCode::UnknownMemberId)),
    ];
    for (name, member, expected) in cases {
        assert_eq!(harness.commit(9, commit_request(&member, 5)), expected, "{name}");
    }
    assert_eq!(harness.fetch("t", 0), Ok(5));
}

#[test]
fn a_member_may_commit_while_others_join_but_not_before_it_has_its_assignment() {
    let mut harness = Harness::new();
    let member = harness.stable_group(1).remove(0);
    let token = harness.join_dynamic();
    assert_eq!(harness.commit(9, commit_request(&member, 5)), Ok(ErrorCode::None));
    let rejoined = harness.join(9, super::harness::join_request(&member.id));
    let rejoined = Member::from(&harness.joined(rejoined));
    harness.joined(token);
    assert_eq!(harness.commit(9, commit_request(&rejoined, 6)), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(harness.fetch("t", 0), Ok(5));
}

#[test]
fn a_commit_is_as_good_as_a_heartbeat() {
    let mut harness = Harness::new();
    let member = harness.stable_group(1).remove(0);
    for offset in 0..5 {
        harness.advance(i64::from(SESSION_MS) - 1);
        assert_eq!(harness.commit(9, commit_request(&member, offset)), Ok(ErrorCode::None));
    }
    assert_eq!(harness.state(), "Stable");
}

#[test]
fn offsets_can_be_stored_under_a_group_without_members() {
    let mut harness = Harness::new();
    assert_eq!(harness.commit(9, simple_commit("t", 0, 42)), Ok(ErrorCode::None));
    assert_eq!(harness.fetch("t", 0), Ok(42));
    assert_eq!(harness.state(), "Empty");
    let groups = harness.shard.list_groups(&[], &[]);
    assert_eq!((groups.len(), groups[0].protocol_type.as_str()), (1, ""));
    harness.restart();
    assert_eq!(harness.fetch("t", 0), Ok(42));
    assert_eq!(harness.state(), "Empty");
}

#[test]
fn a_commit_of_a_generation_to_no_group_is_refused_by_version() {
    let member = Member { id: "m".into(), instance: None, generation: 1 };
    for version in 2..=10 {
        let expected = if version >= 9 { ErrorCode::GroupIdNotFound } else { ErrorCode::IllegalGeneration };
        let mut harness = Harness::new();
        assert_eq!(harness.commit(version, commit_request(&member, 5)), Err(expected));
        assert!(harness.log.is_empty() && harness.shard.list_groups(&[], &[]).is_empty());
    }
}

#[test]
fn metadata_longer_than_the_limit_fails_its_partition_alone() {
    let mut harness = Harness::new();
    let mut request = simple_commit("t", 0, 1);
    request.topics[0].partitions[0].committed_metadata = Some("x".repeat(4_097));
    request.topics.push(commit_topic("u", 0, 2));
    let topics = harness.shard.commit_offsets(harness.now, &caller(9), request).unwrap();
    let errors: Vec<_> = topics.iter().map(|topic| ErrorCode::from(topic.partitions[0].error_code)).collect();
    assert_eq!(errors, [ErrorCode::OffsetMetadataTooLarge, ErrorCode::None]);
    assert_eq!((harness.fetch("t", 0), harness.fetch("u", 0)), (Ok(-1), Ok(2)));
}

#[test]
fn a_commit_too_large_for_a_batch_changes_nothing() {
    let mut harness = Harness::with_config(GroupCoordinatorConfig { max_batch_bytes: 1_000, ..Default::default() });
    let mut request = simple_commit("t", 0, 1);
    request.topics = (0..50).map(|index| commit_topic(&format!("topic-{index}"), 0, 1)).collect();
    assert_eq!(harness.commit(9, request), Err(ErrorCode::UnknownServerError));
    assert!(harness.log.is_empty());
    assert_eq!(harness.fetch("topic-0", 0), Ok(-1));
}

#[test]
fn epoch_metadata_and_topic_id_come_back_as_they_were_committed() {
    let mut harness = Harness::new();
    harness.commit(9, simple_commit("t", 0, 42)).unwrap();
    for _ in 0..2 {
        let topics = harness.shard.fetch_offsets(GROUP, None, false);
        let partition = &topics[0].partitions[0];
        assert_eq!(topics[0].name, "t");
        assert_eq!((partition.committed_offset, partition.committed_leader_epoch), (42, 3));
        assert_eq!(partition.metadata.as_deref(), Some("note"));
        harness.restart();
    }
}

#[test]
fn an_offset_of_an_older_topic_of_the_same_name_is_not_given() {
    let mut harness = Harness::new();
    harness.commit(9, simple_commit("t", 0, 42)).unwrap();
    for (id, expected) in [(topic_id("t"), 42), (topic_id("another"), -1), (Uuid::ZERO, 42)] {
        let request = vltava_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics {
            name: "t".into(),
            topic_id: id,
            partition_indexes: vec![0],
            ..Default::default()
        };
        let topics = harness.shard.fetch_offsets(GROUP, Some(&[request]), false);
        assert_eq!(topics[0].partitions[0].committed_offset, expected);
    }
}

#[test]
fn offsets_of_topics_that_are_subscribed_to_cannot_be_deleted() {
    let mut harness = Harness::new();
    assert_eq!(delete(&mut harness, "t"), Err(ErrorCode::GroupIdNotFound));
    let member = harness.stable_group(1).remove(0);
    let mut request = commit_request(&member, 5);
    request.topics.push(commit_topic("other", 0, 7));
    harness.commit(9, request).unwrap();
    assert_eq!(delete(&mut harness, "t"), Ok(ErrorCode::GroupSubscribedToTopic));
    assert_eq!(delete(&mut harness, "other"), Ok(ErrorCode::None));
    assert_eq!((harness.fetch("t", 0), harness.fetch("other", 0)), (Ok(5), Ok(-1)));
    harness.restart();
    assert_eq!((harness.fetch("t", 0), harness.fetch("other", 0)), (Ok(5), Ok(-1)));
    harness.leave(&[(&member.id, None)]);
    assert_eq!(delete(&mut harness, "t"), Ok(ErrorCode::None));
    assert_eq!(harness.fetch("t", 0), Ok(-1));
}

#[test]
fn a_group_with_members_that_are_not_consumers_deletes_no_offsets() {
    let mut harness = Harness::new();
    let mut request = super::harness::join_request("");
    request.protocol_type = "connect".into();
    harness.join(0, request);
    assert_eq!(delete(&mut harness, "t"), Err(ErrorCode::NonEmptyGroup));
}

#[test]
fn offsets_expire_when_the_group_has_been_empty_for_the_retention() {
    let mut harness = Harness::new();
    let member = harness.stable_group(1).remove(0);
    harness.commit(9, commit_request(&member, 5)).unwrap();
    harness.leave(&[(&member.id, None)]);
    harness.advance(RETENTION_MS - CHECK_MS);
    assert_eq!(harness.fetch("t", 0), Ok(5));
    harness.advance(2 * CHECK_MS);
    assert_eq!(harness.fetch("t", 0), Ok(-1));
    assert_eq!(harness.state(), "Dead", "nothing is left of the group");
    harness.restart();
    assert_eq!(harness.state(), "Dead");
}

#[test]
fn an_offset_of_a_subscribed_topic_does_not_expire() {
    let mut harness = Harness::new();
    let member = harness.stable_group(1).remove(0);
    let mut request = commit_request(&member, 5);
    request.topics.push(commit_topic("other", 0, 7));
    harness.commit(9, request).unwrap();
    let step = i64::from(SESSION_MS) - 1;
    for _ in 0..=(RETENTION_MS + CHECK_MS) / step {
        harness.advance(step);
        assert_eq!(harness.heartbeat(&member), ErrorCode::None);
    }
    assert_eq!((harness.fetch("t", 0), harness.fetch("other", 0)), (Ok(5), Ok(-1)));
}

#[test]
fn offsets_without_members_expire_by_their_commit_or_the_client_s_retention() {
    let mut harness = Harness::new();
    harness.commit(9, simple_commit("t", 0, 1)).unwrap();
    let short = OffsetCommitRequest { retention_time_ms: 1_000, ..simple_commit("u", 0, 2) };
    harness.commit(4, short).unwrap();
    harness.restart();
    harness.advance(CHECK_MS);
    assert_eq!((harness.fetch("t", 0), harness.fetch("u", 0)), (Ok(1), Ok(-1)));
    harness.advance(RETENTION_MS);
    assert_eq!(harness.fetch("t", 0), Ok(-1));
    assert!(harness.shard.list_groups(&[], &[]).is_empty());
}

#[test]
fn a_group_that_nobody_finished_joining_goes_with_the_next_check() {
    let mut harness = Harness::new();
    harness.join_now(9, super::harness::join_request(""));
    assert_eq!(harness.state(), "Empty");
    harness.advance(CHECK_MS);
    assert_eq!(harness.state(), "Dead");
}

#[test]
fn the_offsets_of_a_deleted_topic_go_and_those_of_its_successor_stay() {
    let mut harness = Harness::new();
    harness.commit(9, simple_commit("t", 0, 1)).unwrap();
    harness.commit(9, simple_commit("t", 1, 2)).unwrap();
    harness.commit(9, simple_commit("u", 0, 3)).unwrap();
    harness.shard.topics_deleted(harness.now, &[("t".into(), topic_id("another"))]);
    harness.collect();
    assert_eq!(harness.fetch("t", 0), Ok(1));
    harness.shard.topics_deleted(harness.now, &[("t".into(), topic_id("t"))]);
    harness.collect();
    harness.restart();
    assert_eq!((harness.fetch("t", 0), harness.fetch("t", 1), harness.fetch("u", 0)), (Ok(-1), Ok(-1), Ok(3)));
}

/// Replays the record of a transactional commit, as loading does.
fn replay_pending(harness: &mut Harness, position: i64, producer_id: i64, offset: i64) {
    let offset = CommittedOffset {
        offset,
        leader_epoch: -1,
        metadata: String::new(),
        commit_timestamp_ms: harness.now.timestamp_ms,
        expire_timestamp_ms: None,
        topic_id: topic_id("t"),
    };
    harness.shard.replay(position, producer_id, CoordinatorRecord::offset_commit(GROUP, "t", 0, offset));
}

#[test]
fn an_offset_of_an_open_transaction_makes_the_partition_unstable() {
    for (committed, expected) in [(true, 9), (false, 1)] {
        let mut harness = Harness::new();
        replay_pending(&mut harness, 0, -1, 1);
        replay_pending(&mut harness, 1, 77, 9);
        assert_eq!(harness.fetch("t", 0), Err(ErrorCode::UnstableOffsetCommit));
        harness.shard.replay_end_transaction(77, committed);
        assert_eq!(harness.fetch("t", 0), Ok(expected));
    }
}

#[test]
fn a_commit_after_that_of_a_transaction_wins_over_it() {
    let mut harness = Harness::new();
    replay_pending(&mut harness, 5, 77, 9);
    replay_pending(&mut harness, 6, -1, 20);
    harness.shard.replay_end_transaction(77, true);
    assert_eq!(harness.fetch("t", 0), Ok(20));
}

#[test]
fn a_removed_offset_is_not_brought_back_by_an_open_transaction() {
    let mut harness = Harness::new();
    replay_pending(&mut harness, 0, 77, 9);
    harness.shard.topics_deleted(harness.now, &[("t".into(), topic_id("t"))]);
    harness.collect();
    assert_eq!(harness.log.len(), 1, "the tombstone is in the log");
    harness.shard.replay_end_transaction(77, true);
    assert_eq!(harness.fetch("t", 0), Ok(-1));
}
