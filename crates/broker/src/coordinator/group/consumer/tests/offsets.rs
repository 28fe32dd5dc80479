//! Offsets of consumer groups: a member commits by its epoch.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::ConsumerGroupHeartbeatRequest;

use super::*;
use crate::coordinator::group::tests::harness::{Member, commit_request, simple_commit};

fn member(id: &str, epoch: i32) -> Member {
    Member { id: id.into(), instance: None, generation: epoch }
}

#[test]
fn a_member_commits_by_its_epoch() {
    let mut harness = Harness::new();
    let topics = TopicTable::new(&[("t", 4)]);
    let mut a = Client::new("a");
    beat(&mut harness, &topics, &mut a);
    let epoch = a.epoch;
    let cases = [
        (9, member("a", epoch), Ok(ErrorCode::None)),
        (9, member("a", epoch + 1), Err(ErrorCode::StaleMemberEpoch)),
        (9, member("a", epoch - 1), Err(ErrorCode::StaleMemberEpoch)),
        (9, member("b", epoch), Err(ErrorCode::UnknownMemberId)),
        (9, member("", -1), Err(ErrorCode::UnknownMemberId)),
        (8, member("a", epoch), Err(ErrorCode::UnsupportedVersion)),
    ];
    for (version, member, expected) in cases {
        assert_eq!(harness.commit(version, commit_request(&member, 7)), expected, "{member:?}");
    }
    assert_eq!(harness.fetch("t", 0), Ok(7));
}

#[test]
fn a_member_one_epoch_behind_commits_what_it_has_had_before() {
    let mut harness = Harness::new();
    let topics = TopicTable::new(&[("t", 4)]);
    let mut a = Client::new("a");
    beat(&mut harness, &topics, &mut a);
    let old = member("a", a.epoch);
    harness.advance(1_000);
    let more =
        ConsumerGroupHeartbeatRequest { subscribed_topic_names: Some(vec!["t".into(), "u".into()]), ..a.request() };
    assert!(send(&mut harness, &topics, &more).unwrap().member_epoch > old.generation);
    assert_eq!(harness.commit(9, commit_request(&old, 7)), Ok(ErrorCode::None));
    let mut request = commit_request(&old, 8);
    request.topics[0].partitions[0].partition_index = 9;
    assert_eq!(harness.commit(9, request), Err(ErrorCode::StaleMemberEpoch), "a partition that it never had");
}

#[test]
fn offsets_are_asked_for_by_epoch_or_by_nobody() {
    let mut harness = Harness::new();
    let topics = TopicTable::new(&[("t", 4)]);
    let mut a = Client::new("a");
    beat(&mut harness, &topics, &mut a);
    let cases = [
        (None, -1, Ok(())),
        (Some("a"), a.epoch, Ok(())),
        (Some("a"), a.epoch - 1, Err(ErrorCode::StaleMemberEpoch)),
        (Some("b"), a.epoch, Err(ErrorCode::UnknownMemberId)),
    ];
    for (member_id, epoch, expected) in cases {
        assert_eq!(harness.shard.validate_fetch(GROUP, member_id, epoch), expected);
    }
    assert_eq!(harness.shard.validate_fetch("nosuch", Some("a"), 3), Ok(()));
}

#[test]
fn stored_offsets_do_not_keep_a_group_from_speaking_the_consumer_protocol() {
    let mut harness = Harness::new();
    let topics = TopicTable::new(&[("t", 4)]);
    harness.commit(9, simple_commit("t", 0, 42)).unwrap();
    let mut a = Client::new("a");
    beat(&mut harness, &topics, &mut a);
    assert_eq!(harness.fetch("t", 0), Ok(42));
    assert_replay_is_equal(&mut harness);
    assert_eq!(harness.fetch("t", 0), Ok(42));
    let leave = ConsumerGroupHeartbeatRequest { member_epoch: -1, ..a.request() };
    send(&mut harness, &topics, &leave).unwrap();
    harness.advance(8 * 24 * 60 * 60 * 1_000);
    assert_eq!(harness.fetch("t", 0), Ok(-1), "it expires by its commit");
    assert!(harness.shard.list_groups(&[], &[]).is_empty());
}
