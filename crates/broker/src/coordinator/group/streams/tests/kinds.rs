//! Groups become streams groups and other ones, are listed, described, deleted and expire.

use super::*;
use crate::coordinator::group::tests::harness::{join_request, simple_commit};
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::ConsumerGroupHeartbeatRequest;

fn leave(harness: &mut Harness, topics: &TopicTable, client: &Client) {
    send(harness, topics, &StreamsGroupHeartbeatRequest { member_epoch: -1, topology: None, ..client.request() })
        .unwrap();
}

#[test]
fn an_empty_classic_group_becomes_one_and_an_empty_one_becomes_classic() {
    let mut harness = harness(|_| {});
    let topics = all_topics(2);
    harness.commit(9, simple_commit("in", 0, 5)).unwrap();
    let mut one = Client::new("one", "p1");
    beat(&mut harness, &topics, &mut one);
    assert_eq!(harness.fetch("in", 0), Ok(5), "offsets stay");
    let listed = harness.shard.list_groups(&[], &["streams".into()]);
    assert_eq!((listed.len(), listed[0].protocol_type.as_str()), (1, "streams"));
    assert_eq!(harness.shard.list_groups(&["stable".into()], &[])[0].group_type, "streams");

    let refused = harness.join_now(9, join_request(""));
    assert_eq!(ErrorCode::from(refused.error_code), ErrorCode::InconsistentGroupProtocol);
    let error = harness.shard.delete_groups(harness.now, &[GROUP.into()])[0].error_code;
    assert_eq!(ErrorCode::from(error), ErrorCode::NonEmptyGroup);

    leave(&mut harness, &topics, &one);
    harness.stable_group(1);
    assert_eq!(harness.shard.list_groups(&[], &[])[0].group_type, "classic");
    let refused = send(&mut harness, &topics, &Client::new("two", "p2").request()).unwrap_err();
    assert_eq!(refused.error, ErrorCode::GroupIdNotFound);
    assert_eq!(refused.message.as_deref(), Some("Group group is not a streams group."));
}

#[test]
fn a_consumer_group_does_not_become_one_nor_the_other_way_round() {
    let topics = all_topics(2);
    let consumer = ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: "consumer".into(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec!["in".into()]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    let mut first = harness(|_| {});
    first.shard.consumer_group_heartbeat(first.now, &caller(1), &topics, &consumer).unwrap();
    let refused = send(&mut first, &topics, &Client::new("one", "p1").request()).unwrap_err();
    assert_eq!(refused.error, ErrorCode::GroupIdNotFound);
    let mut second = harness(|_| {});
    beat(&mut second, &topics, &mut Client::new("one", "p1"));
    let refused = second.shard.consumer_group_heartbeat(second.now, &caller(1), &topics, &consumer).unwrap_err();
    assert_eq!(refused.error, ErrorCode::GroupIdNotFound);
}

#[test]
fn an_empty_group_is_deleted_with_its_records_and_offsets() {
    let mut harness = harness(|_| {});
    let topics = all_topics(2);
    let mut one = Client::new("one", "p1");
    beat(&mut harness, &topics, &mut one);
    leave(&mut harness, &topics, &one);
    harness.commit(9, simple_commit("in", 0, 5)).unwrap();
    let deleted = harness.shard.delete_groups(harness.now, &[GROUP.into()]);
    assert_eq!(ErrorCode::from(deleted[0].error_code), ErrorCode::None);
    harness.collect();
    harness.restart();
    assert!(harness.shard.list_groups(&[], &[]).is_empty());
    assert_eq!(harness.fetch("in", 0), Ok(-1));
    let described = harness.shard.describe_streams_group(GROUP);
    assert_eq!(ErrorCode::from(described.error_code), ErrorCode::GroupIdNotFound);
    assert_eq!(described.error_message.as_deref(), Some("Group group not found."));
}

#[test]
fn offsets_of_a_group_with_members_stay_and_those_of_an_empty_one_expire_with_it() {
    let mut config = GroupCoordinatorConfig { offsets_retention_ms: 900_000, ..GroupCoordinatorConfig::default() };
    config.streams.initial_rebalance_delay_ms = 0;
    let mut harness = Harness::with_config(config);
    let topics = all_topics(2);
    let mut one = Client::new("one", "p1");
    beat(&mut harness, &topics, &mut one);
    let commit = |one: &Client| {
        let mut request = simple_commit("in", 0, 5);
        (request.member_id, request.generation_id_or_member_epoch) = (one.id.clone(), one.epoch);
        request
    };
    harness.commit(9, commit(&one)).unwrap();
    let step_ms = 40_000;
    for _ in 0..(2 * 900_000 / step_ms) {
        harness.advance(step_ms);
        beat(&mut harness, &topics, &mut one);
    }
    assert_eq!(harness.fetch("in", 0), Ok(5), "the application reads the topic");
    leave(&mut harness, &topics, &one);
    harness.advance(harness.config.offsets_retention_check_interval_ms);
    assert_eq!(harness.fetch("in", 0), Ok(-1));
    assert!(harness.shard.list_groups(&[], &[]).is_empty());
}

#[test]
fn a_description_has_what_members_have_and_shall_have() {
    let mut harness = harness(|_| {});
    let topics = all_topics(2);
    let mut clients = [Client::new("one", "p1"), Client::new("two", "p2")];
    settle(&mut harness, &topics, &mut clients);
    let group = harness.shard.describe_streams_group(GROUP);
    assert_eq!((group.group_state.as_str(), group.group_epoch, group.assignment_epoch), ("Stable", 3, 3));
    let topology = group.topology.unwrap();
    let subtopologies = topology.subtopologies.unwrap();
    let count = &subtopologies[1];
    assert_eq!((count.subtopology_id.as_str(), count.repartition_source_topics[0].partitions), ("1", 2));
    assert_eq!(count.state_changelog_topics[0].partitions, 2);
    for (member, client) in group.members.iter().zip(&clients) {
        assert_eq!(
            (member.member_id.as_str(), member.process_id.as_str()),
            (client.id.as_str(), client.process.as_str())
        );
        let active = member.assignment.active_tasks.iter();
        let active: Held =
            active.map(|it| (it.subtopology_id.clone(), it.partitions.iter().copied().collect())).collect();
        assert_eq!(active, client.active);
        assert_eq!(member.assignment, member.target_assignment);
    }
}
