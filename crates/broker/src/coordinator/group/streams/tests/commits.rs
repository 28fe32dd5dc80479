//! Offsets of members of streams groups.

use super::*;
use crate::coordinator::group::tests::harness::simple_commit;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::TxnOffsetCommitRequest;
use vltava_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};

/// A group whose first member has given up half of its tasks: it is in epoch 3, and was given what it has in 2.
fn shared() -> (Harness, [Client; 2]) {
    let mut harness = harness(|_| {});
    let topics = all_topics(2);
    let mut one = Client::new("one", "p1");
    beat(&mut harness, &topics, &mut one);
    harness.advance(1_000);
    let mut clients = [one, Client::new("two", "p2")];
    settle(&mut harness, &topics, &mut clients);
    (harness, clients)
}

#[test]
fn a_commit_comes_from_a_member_that_has_the_task_in_that_epoch() {
    let (mut harness, [one, two]) = shared();
    let of = |client: &Client| *client.active.get("0").unwrap().first().unwrap();
    let (own, other) = (of(&one), of(&two));
    let cases = [
        ("one", 3, 9, own, None),
        ("one", 2, 9, own, None),
        ("one", 2, 9, other, Some(ErrorCode::StaleMemberEpoch)),
        ("one", 1, 9, own, Some(ErrorCode::StaleMemberEpoch)),
        ("one", 4, 9, own, Some(ErrorCode::StaleMemberEpoch)),
        ("one", 3, 8, own, Some(ErrorCode::UnsupportedVersion)),
        ("nobody", 3, 9, own, Some(ErrorCode::UnknownMemberId)),
        ("", -1, 9, own, Some(ErrorCode::UnknownMemberId)),
    ];
    for (member, epoch, version, partition, expected) in cases {
        let mut request = simple_commit("in", partition, 7);
        (request.member_id, request.generation_id_or_member_epoch) = (member.into(), epoch);
        let result = harness.commit(version, request).err();
        assert_eq!(result, expected, "{member} in {epoch}, version {version}, partition {partition}");
    }
    assert_eq!(harness.fetch("in", own), Ok(7));
}

#[test]
fn a_commit_in_a_transaction_is_checked_likewise() {
    let (harness, [one, _]) = shared();
    let own = *one.active.get("0").unwrap().first().unwrap();
    let commit = |member: &str, epoch: i32| TxnOffsetCommitRequest {
        group_id: GROUP.into(),
        member_id: member.into(),
        generation_id: epoch,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: "in".into(),
            partitions: vec![TxnOffsetCommitRequestPartition { partition_index: own, ..Default::default() }],
            ..TxnOffsetCommitRequestTopic::default()
        }],
        ..TxnOffsetCommitRequest::default()
    };
    let cases = [
        (commit("one", 3), None),
        (commit("one", 2), None),
        (commit("one", 1), Some(ErrorCode::IllegalGeneration)),
        (commit("nobody", 3), Some(ErrorCode::UnknownMemberId)),
        (commit("", -1), None),
    ];
    for (request, expected) in cases {
        let result = harness.shard.prepare_transactional_commit(harness.now, &request, &all_topics(2));
        assert_eq!(result.err(), expected, "{} in {}", request.member_id, request.generation_id);
    }
}

#[test]
fn offsets_are_told_to_members_that_know_their_epoch() {
    let (harness, _) = shared();
    let cases = [
        (Some("one"), 3, Ok(())),
        (Some("one"), 2, Err(ErrorCode::StaleMemberEpoch)),
        (Some("nobody"), 3, Err(ErrorCode::UnknownMemberId)),
        (None, -1, Ok(())),
    ];
    for (member, epoch, expected) in cases {
        assert_eq!(harness.shard.validate_fetch(GROUP, member, epoch), expected);
    }
}
