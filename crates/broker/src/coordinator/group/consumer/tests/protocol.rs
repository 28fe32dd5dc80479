//! Joining, moving partitions, leaving.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{ConsumerGroupHeartbeatRequest, JoinGroupRequest};

use super::*;
use crate::coordinator::group::GroupCoordinatorConfig;
use crate::coordinator::group::config::ConsumerGroupConfig;
use crate::coordinator::group::tests::harness::join_request;

fn refusal(result: Result<ConsumerGroupHeartbeatResponse, Refused>) -> ErrorCode {
    result.unwrap_err().error
}

#[test]
fn a_request_that_contradicts_itself_is_refused_with_kafka_s_text() {
    let ok = || Client::new("m").request();
    let cases: Vec<(ConsumerGroupHeartbeatRequest, ErrorCode, &str)> = vec![
        (
            ConsumerGroupHeartbeatRequest { member_id: " ".into(), ..ok() },
            ErrorCode::InvalidRequest,
            "MemberId can't be empty.",
        ),
        (
            ConsumerGroupHeartbeatRequest { group_id: String::new(), ..ok() },
            ErrorCode::InvalidRequest,
            "GroupId can't be empty.",
        ),
        (
            ConsumerGroupHeartbeatRequest { instance_id: Some(String::new()), ..ok() },
            ErrorCode::InvalidRequest,
            "InstanceId can't be empty.",
        ),
        (
            ConsumerGroupHeartbeatRequest { rebalance_timeout_ms: -1, ..ok() },
            ErrorCode::InvalidRequest,
            "RebalanceTimeoutMs must be provided in first request.",
        ),
        (
            ConsumerGroupHeartbeatRequest { topic_partitions: None, ..ok() },
            ErrorCode::InvalidRequest,
            "TopicPartitions must be empty when (re-)joining.",
        ),
        (
            ConsumerGroupHeartbeatRequest { subscribed_topic_names: None, ..ok() },
            ErrorCode::InvalidRequest,
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        ),
        (
            ConsumerGroupHeartbeatRequest { member_epoch: -2, ..ok() },
            ErrorCode::InvalidRequest,
            "InstanceId can't be null.",
        ),
        (
            ConsumerGroupHeartbeatRequest { member_epoch: -3, ..ok() },
            ErrorCode::InvalidRequest,
            "MemberEpoch is invalid.",
        ),
        (ConsumerGroupHeartbeatRequest { group_id: "x".repeat(40_000), ..ok() }, ErrorCode::UnknownServerError, ""),
        (
            ConsumerGroupHeartbeatRequest { subscribed_topic_regex: Some("x".repeat(40_000)), ..ok() },
            ErrorCode::UnknownServerError,
            "",
        ),
        (
            ConsumerGroupHeartbeatRequest { server_assignor: Some("mine".into()), ..ok() },
            ErrorCode::UnsupportedAssignor,
            "ServerAssignor mine is not supported. Supported assignors: uniform, range.",
        ),
        (
            ConsumerGroupHeartbeatRequest { member_epoch: 1, ..ok() },
            ErrorCode::GroupIdNotFound,
            "Consumer group group not found.",
        ),
        (
            ConsumerGroupHeartbeatRequest { member_epoch: -1, ..ok() },
            ErrorCode::GroupIdNotFound,
            "Group group not found.",
        ),
    ];
    for (request, error, text) in cases {
        let mut harness = Harness::new();
        let refused = send(&mut harness, &TopicTable::new(&[("t", 1)]), &request).unwrap_err();
        assert_eq!(refused, Refused { error, message: (!text.is_empty()).then(|| text.into()) });
        assert!(harness.log.is_empty());
    }
}

#[test]
fn the_first_member_has_everything_with_its_first_answer() {
    let mut harness = Harness::new();
    let topics = TopicTable::new(&[("t", 3), ("other", 2)]);
    let mut client = Client::new("a");
    beat(&mut harness, &topics, &mut client);
    assert_eq!((client.epoch, client.partitions("t")), (2, vec![0, 1, 2]));
    assert_eq!(group_state(&harness), "Stable");
    let listed = harness.shard.list_groups(&[], &["Consumer".into()]);
    assert_eq!((listed[0].group_type.as_str(), listed[0].protocol_type.as_str()), ("consumer", "consumer"));
    assert_replay_is_equal(&mut harness);
}

#[test]
fn an_answer_without_news_has_no_assignment() {
    let mut harness = Harness::new();
    let topics = TopicTable::new(&[("t", 3)]);
    let mut client = Client::new("a");
    beat(&mut harness, &topics, &mut client);
    let records = harness.log.len();
    let quiet = ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: "a".into(),
        member_epoch: client.epoch,
        ..ConsumerGroupHeartbeatRequest::default()
    };
    let response = send(&mut harness, &topics, &quiet).unwrap();
    assert_eq!((response.assignment, response.heartbeat_interval_ms), (None, 5_000));
    assert_eq!(harness.log.len(), records, "nothing is written");
    let full = send(&mut harness, &topics, &client.request()).unwrap();
    assert!(full.assignment.is_some(), "who tells everything is told everything");
}

#[test]
fn a_partition_is_given_up_before_it_is_given() {
    let mut harness = Harness::new();
    let topics = TopicTable::new(&[("t", 4)]);
    let mut a = Client::new("a");
    beat(&mut harness, &topics, &mut a);
    harness.advance(1_000);
    let mut b = Client::new("b");
    beat(&mut harness, &topics, &mut b);
    assert!(b.held.is_empty(), "all partitions are held by the other");
    assert_eq!(group_state(&harness), "Reconciling");

    let told = send(&mut harness, &topics, &a.request()).unwrap();
    assert_eq!(told.member_epoch, a.epoch, "the epoch stays until the partitions are given up");
    let waiting = send(&mut harness, &topics, &b.request()).unwrap();
    b.follow(&waiting);
    assert!(b.held.is_empty());
    a.follow(&told);
    assert_eq!(a.partitions("t").len(), 2);
    beat(&mut harness, &topics, &mut a);
    beat(&mut harness, &topics, &mut b);
    assert_eq!(b.partitions("t").len(), 2);
    assert_eq!((a.epoch, b.epoch), (3, 3));
    assert_eq!(group_state(&harness), "Stable");
    assert_replay_is_equal(&mut harness);
}

#[test]
fn a_member_that_does_not_give_up_its_partitions_in_time_is_out() {
    let mut harness = Harness::new();
    let topics = TopicTable::new(&[("t", 4)]);
    let mut a = Client::new("a");
    beat(&mut harness, &topics, &mut a);
    harness.advance(1_000);
    let mut b = Client::new("b");
    beat(&mut harness, &topics, &mut b);
    for _ in 0..12 {
        // It says that it holds all it ever had.
        send(&mut harness, &topics, &a.request()).unwrap();
        beat(&mut harness, &topics, &mut b);
        harness.advance(5_000);
    }
    assert_eq!(refusal(send(&mut harness, &topics, &a.request())), ErrorCode::UnknownMemberId);
    settle(&mut harness, &topics, std::slice::from_mut(&mut b));
    assert_eq!(b.partitions("t"), [0, 1, 2, 3]);
}

#[test]
fn a_member_that_is_silent_for_its_session_is_out() {
    let mut harness = Harness::new();
    let topics = TopicTable::new(&[("t", 4)]);
    let mut clients = [Client::new("a"), Client::new("b")];
    settle(&mut harness, &topics, &mut clients);
    let [mut a, b] = clients;
    for _ in 0..10 {
        beat(&mut harness, &topics, &mut a);
        harness.advance(5_000);
    }
    assert_eq!(refusal(send(&mut harness, &topics, &b.request())), ErrorCode::UnknownMemberId);
    settle(&mut harness, &topics, std::slice::from_mut(&mut a));
    assert_eq!(a.partitions("t"), [0, 1, 2, 3]);
    assert_replay_is_equal(&mut harness);
}

#[test]
fn a_member_that_leaves_gives_its_partitions_back_at_once() {
    let mut harness = Harness::new();
    let topics = TopicTable::new(&[("t", 4)]);
    let mut clients = [Client::new("a"), Client::new("b")];
    settle(&mut harness, &topics, &mut clients);
    let [mut a, b] = clients;
    let leave = ConsumerGroupHeartbeatRequest { member_epoch: -1, ..b.request() };
    assert_eq!(send(&mut harness, &topics, &leave).unwrap().member_epoch, -1);
    settle(&mut harness, &topics, std::slice::from_mut(&mut a));
    assert_eq!(a.partitions("t"), [0, 1, 2, 3]);
    let leave = ConsumerGroupHeartbeatRequest { member_epoch: -1, ..a.request() };
    send(&mut harness, &topics, &leave).unwrap();
    assert_eq!(group_state(&harness), "Empty");
    assert_replay_is_equal(&mut harness);
}

#[test]
fn a_member_of_another_epoch_is_fenced_unless_it_only_missed_an_answer() {
    let mut harness = Harness::new();
    let topics = TopicTable::new(&[("t", 4)]);
    let mut a = Client::new("a");
    beat(&mut harness, &topics, &mut a);
    harness.advance(1_000);
    let before = a.clone();
    let subscribed =
        ConsumerGroupHeartbeatRequest { subscribed_topic_names: Some(vec!["t".into(), "u".into()]), ..a.request() };
    let missed = send(&mut harness, &topics, &subscribed).unwrap();
    assert_eq!(missed.member_epoch, a.epoch + 1);
    let again = send(&mut harness, &topics, &before.request()).unwrap();
    assert!(again.member_epoch >= missed.member_epoch, "one epoch behind, with its own partitions, is let through");
    for epoch in [99, 1] {
        let request = ConsumerGroupHeartbeatRequest { member_epoch: epoch, ..before.request() };
        assert_eq!(refusal(send(&mut harness, &topics, &request)), ErrorCode::FencedMemberEpoch);
    }
}

#[test]
fn new_partitions_and_topics_are_given_out_with_the_next_heartbeat() {
    let mut harness = Harness::new();
    let mut topics = TopicTable::new(&[("t", 2)]);
    let mut a = Client::new("a");
    beat(&mut harness, &topics, &mut a);
    harness.advance(1_000);
    topics.set("t", Some(5));
    beat(&mut harness, &topics, &mut a);
    assert_eq!(a.partitions("t"), [0, 1, 2, 3, 4]);
    harness.advance(1_000);
    topics.set("t", None);
    settle(&mut harness, &topics, std::slice::from_mut(&mut a));
    assert!(a.held.is_empty());
}

#[test]
fn an_expression_stands_for_the_topics_that_match_as_a_whole() {
    let mut harness = Harness::new();
    let mut topics = TopicTable::new(&[("log-a", 1), ("log-b", 1), ("catalog-a", 1)]);
    let by_regex = |client: &Client, regex: &str| ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: Some(Vec::new()),
        subscribed_topic_regex: Some(regex.into()),
        ..client.request()
    };
    let mut a = Client::new("a");
    let refused = send(&mut harness, &topics, &by_regex(&a, "log-[")).unwrap_err();
    assert_eq!(refused.error, ErrorCode::InvalidRegularExpression);
    let response = send(&mut harness, &topics, &by_regex(&a, "log-.*")).unwrap();
    a.follow(&response);
    assert_eq!(a.held.len(), 2);
    assert_replay_is_equal(&mut harness);
    harness.advance(1_000);
    topics.set("log-c", Some(1));
    let response = send(&mut harness, &topics, &by_regex(&a, "log-.*")).unwrap();
    a.follow(&response);
    assert_eq!(a.held.len(), 3);
    harness.advance(1_000);
    let response = send(&mut harness, &topics, &by_regex(&a, "catalog-.*")).unwrap();
    a.follow(&response);
    let response = send(&mut harness, &topics, &by_regex(&a, "catalog-.*")).unwrap();
    a.follow(&response);
    assert_eq!(a.held.keys().copied().collect::<Vec<_>>(), [topic_id("catalog-a")]);
    assert_eq!(harness.shard.consumer_group(GROUP).unwrap().own.regexes.len(), 1, "the other expression is forgotten");
}

#[test]
fn a_target_is_not_computed_again_within_the_interval() {
    let mut harness = Harness::new();
    let topics = TopicTable::new(&[("t", 4)]);
    let mut a = Client::new("a");
    beat(&mut harness, &topics, &mut a);
    let mut b = Client::new("b");
    beat(&mut harness, &topics, &mut b);
    assert_eq!(group_state(&harness), "Assigning");
    assert_eq!((b.epoch, b.held.len()), (2, 0));
    harness.advance(1_000);
    settle(&mut harness, &topics, &mut [a, b]);
    assert_eq!(group_state(&harness), "Stable");
}

#[test]
fn most_members_choose_the_assignor() {
    let mut harness = Harness::new();
    let topics = TopicTable::new(&[("t", 2)]);
    for (name, assignor, expected) in
        [("a", None, "uniform"), ("b", Some("range"), "range"), ("c", Some("uniform"), "uniform")]
    {
        let request =
            ConsumerGroupHeartbeatRequest { server_assignor: assignor.map(Into::into), ..Client::new(name).request() };
        send(&mut harness, &topics, &request).unwrap();
        assert_eq!(harness.shard.describe_consumer_group(&topics, GROUP).assignor_name, expected);
    }
}

#[test]
fn a_static_member_that_comes_back_takes_up_what_it_had() {
    let mut harness = Harness::new();
    let topics = TopicTable::new(&[("t", 4)]);
    let mut clients = [Client::fixed("a", "x"), Client::new("b")];
    settle(&mut harness, &topics, &mut clients);
    let [a, mut b] = clients;
    let thief = Client::fixed("c", "x");
    assert_eq!(refusal(send(&mut harness, &topics, &thief.request())), ErrorCode::UnreleasedInstanceId);
    let pause = ConsumerGroupHeartbeatRequest { member_epoch: -2, ..a.request() };
    assert_eq!(send(&mut harness, &topics, &pause).unwrap().member_epoch, -2);
    beat(&mut harness, &topics, &mut b);
    assert_eq!(b.partitions("t").len(), 2, "what it had is kept for it");
    let mut back = Client::fixed("c", "x");
    beat(&mut harness, &topics, &mut back);
    assert_eq!(back.held, a.held);
    assert_eq!(refusal(send(&mut harness, &topics, &a.request())), ErrorCode::FencedInstanceId);
    let unknown = ConsumerGroupHeartbeatRequest { member_epoch: 5, ..Client::fixed("d", "y").request() };
    assert_eq!(refusal(send(&mut harness, &topics, &unknown)), ErrorCode::UnknownMemberId);
    assert_replay_is_equal(&mut harness);
}

#[test]
fn a_full_group_lets_nobody_in() {
    let consumer = ConsumerGroupConfig { max_size: 1, ..ConsumerGroupConfig::default() };
    let mut harness = Harness::with_config(GroupCoordinatorConfig { consumer, ..Default::default() });
    let topics = TopicTable::new(&[("t", 4)]);
    let mut a = Client::new("a");
    beat(&mut harness, &topics, &mut a);
    assert_eq!(refusal(send(&mut harness, &topics, &Client::new("b").request())), ErrorCode::GroupMaxSizeReached);
    beat(&mut harness, &topics, &mut a);
}

#[test]
fn a_group_without_members_changes_its_protocol_and_one_with_members_does_not() {
    let mut harness = Harness::new();
    let topics = TopicTable::new(&[("t", 4)]);
    let member = harness.stable_group(1).remove(0);
    assert_eq!(refusal(send(&mut harness, &topics, &Client::new("a").request())), ErrorCode::GroupIdNotFound);
    harness.leave(&[(&member.id, None)]);
    let mut a = Client::new("a");
    beat(&mut harness, &topics, &mut a);
    assert_eq!(group_state(&harness), "Stable");
    assert_replay_is_equal(&mut harness);
    let described = harness.shard.describe_group(6, GROUP);
    assert_eq!(described.error_message.as_deref(), Some("Group group is not a classic group."));

    let response = harness.join_now(9, join_request(""));
    assert_eq!(ErrorCode::from(response.error_code), ErrorCode::InconsistentGroupProtocol);
    let leave = ConsumerGroupHeartbeatRequest { member_epoch: -1, ..a.request() };
    send(&mut harness, &topics, &leave).unwrap();
    let token = harness.join(0, JoinGroupRequest { ..join_request("") });
    harness.advance(3_000);
    assert_eq!(harness.joined(token).generation_id, 1);
    harness.restart();
    assert_eq!(harness.state(), "Empty");
    assert_eq!(refusal(send(&mut harness, &topics, &a.request())), ErrorCode::GroupIdNotFound);
}

#[test]
fn a_group_is_deleted_with_all_its_records_once_it_is_empty() {
    let mut harness = Harness::new();
    let topics = TopicTable::new(&[("t", 4)]);
    let mut a = Client::new("a");
    beat(&mut harness, &topics, &mut a);
    let delete = |harness: &mut Harness| {
        let results = harness.shard.delete_groups(harness.now, &[GROUP.into()]);
        harness.collect();
        ErrorCode::from(results[0].error_code)
    };
    assert_eq!(delete(&mut harness), ErrorCode::NonEmptyGroup);
    let leave = ConsumerGroupHeartbeatRequest { member_epoch: -1, ..a.request() };
    send(&mut harness, &topics, &leave).unwrap();
    assert_eq!(delete(&mut harness), ErrorCode::None);
    harness.restart();
    assert!(harness.shard.list_groups(&[], &[]).is_empty());
    // What compaction leaves of the log are tombstones alone.
    let mut last = BTreeMap::new();
    for record in &harness.log {
        last.insert(record.key.clone(), record.value.clone());
    }
    assert!(last.values().all(Option::is_none), "{last:?}");
}
