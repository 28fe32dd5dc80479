//! Groups of the consumer protocol (KIP-848).

use vltava_protocol::Uuid;
use vltava_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use vltava_protocol::messages::leave_group_request::MemberIdentity;
use vltava_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use vltava_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest, DeleteGroupsRequest,
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest,
};

use crate::groups::{coordinator, describe as describe_classic, list};
use crate::transcript::Session;

pub(crate) const ONE: &str = "member-of-a-test-0001";
pub(crate) const TWO: &str = "member-of-a-test-0002";

/// A member that joins by names.
pub(crate) fn join(group: &str, member: &str, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        member_epoch: 0,
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(topics.iter().map(|topic| (*topic).to_owned()).collect()),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

/// A member that says nothing new.
pub(crate) fn beat(group: &str, member: &str, member_epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        member_epoch,
        rebalance_timeout_ms: -1,
        ..Default::default()
    }
}

pub(crate) fn owning(topic_id: Uuid, partitions: &[i32]) -> Option<Vec<TopicPartitions>> {
    Some(vec![TopicPartitions { topic_id, partitions: partitions.to_vec(), ..Default::default() }])
}

fn describe(groups: &[&str]) -> ConsumerGroupDescribeRequest {
    ConsumerGroupDescribeRequest { group_ids: groups.iter().map(|g| (*g).to_owned()).collect(), ..Default::default() }
}

/// A topic that the coordinator knows: Kafka's learns of it some time after the creation was answered.
pub(crate) fn create(s: &mut Session, topic: &str, partitions: usize) -> Uuid {
    let id = s.create(topic, i32::try_from(partitions).unwrap());
    let group = format!("probe-of-{topic}");
    s.until(1, &join(&group, ONE, &[topic]), |response| {
        let owned = response.assignment.iter().flat_map(|assignment| &assignment.topic_partitions);
        owned.map(|topic| topic.partitions.len()).sum::<usize>() == partitions
    });
    s.quietly(1, &beat(&group, ONE, -1));
    s.quietly(2, &DeleteGroupsRequest { groups_names: vec![group], ..Default::default() });
    id
}

/// Kafka answers in the order of its maps.
fn in_order(response: &mut ConsumerGroupDescribeResponse) {
    response.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    for group in &mut response.groups {
        group.members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
    }
}

fn call_describe(s: &mut Session, what: &str, version: i16, request: &ConsumerGroupDescribeRequest) {
    s.call_then(what, version, request, in_order);
}

fn delete(s: &mut Session, group: &str) {
    let request = DeleteGroupsRequest { groups_names: vec![group.to_owned()], ..Default::default() };
    s.call("delete", 2, &request);
}

/// Heartbeats until the group has given the member an assignment of that many partitions; gives the epoch then.
pub(crate) fn settle(s: &mut Session, group: &str, member: &str, epoch: i32, partitions: usize) -> i32 {
    let mut epoch = epoch;
    loop {
        let response = s.until(1, &beat(group, member, epoch), |_| true);
        assert_eq!(response.error_code, 0, "{response:?}");
        epoch = response.member_epoch;
        let owned = response.assignment.map(|assignment| assignment.topic_partitions).unwrap_or_default();
        if owned.iter().map(|topic| topic.partitions.len()).sum::<usize>() == partitions {
            return epoch;
        }
    }
}

pub(crate) fn life(s: &mut Session) {
    coordinator(s);
    let id = create(s, "life", 2);
    s.about("one member");
    s.call("joins", 1, &join("consumers", ONE, &["life"]));
    call_describe(s, "describe", 1, &describe(&["consumers", "no-group", ""]));
    call_describe(s, "describe, old", 0, &describe(&["consumers"]));
    s.call(
        "says what it owns",
        1,
        &ConsumerGroupHeartbeatRequest { topic_partitions: owning(id, &[0, 1]), ..beat("consumers", ONE, 1) },
    );
    s.call("says nothing new", 1, &beat("consumers", ONE, 1));
    let asked = ConsumerGroupDescribeRequest { include_authorized_operations: true, ..describe(&["consumers"]) };
    call_describe(s, "describe with operations", 1, &asked);
    s.call("describe as a classic one", 6, &describe_classic(&["consumers"]));
    s.call("describe as a classic one, old", 5, &describe_classic(&["consumers"]));
    let only = |response: &mut vltava_protocol::messages::ListGroupsResponse| {
        response.groups.retain(|group| group.group_id == "consumers");
    };
    s.call_then("list", 5, &list(&[], &[]), only);
    s.call_then("list, old", 3, &list(&[], &[]), only);
    s.call_then("list by type", 5, &list(&[], &["consumer"]), only);
    s.call_then("list by state", 5, &list(&["Stable"], &[]), only);
    s.call_then("list by another state", 5, &list(&["Assigning"], &[]), only);
    s.call(
        "the same subscription again",
        1,
        &ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: Some(vec!["life".to_owned()]),
            ..beat("consumers", ONE, 1)
        },
    );
    s.call(
        "a topic that is not there",
        1,
        &ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: Some(vec!["life".to_owned(), "later".to_owned()]),
            ..beat("consumers", ONE, 1)
        },
    );
    call_describe(s, "describe", 1, &describe(&["consumers"]));
    s.call(
        "a rack and another time-out",
        1,
        &ConsumerGroupHeartbeatRequest {
            rack_id: Some("r".to_owned()),
            rebalance_timeout_ms: 40_000,
            ..beat("consumers", ONE, 2)
        },
    );
    s.call("joins again under its id", 1, &join("consumers", ONE, &["life"]));
    call_describe(s, "describe", 1, &describe(&["consumers"]));
    s.call("commit of its epoch", 9, &commit("consumers", ONE, 3, "life"));
    s.call("commit of an old epoch", 9, &commit("consumers", ONE, 0, "life"));
    s.call("commit of a later epoch", 9, &commit("consumers", ONE, 9, "life"));
    s.call("commit of no member", 9, &commit("consumers", "", -1, "life"));
    s.call("commit of an unknown member", 9, &commit("consumers", TWO, 3, "life"));
    delete(s, "consumers");
    s.call("leaves", 1, &beat("consumers", ONE, -1));
    call_describe(s, "describe an empty one", 1, &describe(&["consumers"]));
    s.call("describe an empty one as a classic one", 6, &describe_classic(&["consumers"]));
    s.call_then("list an empty one", 5, &list(&[], &[]), only);
    delete(s, "consumers");
    call_describe(s, "describe a deleted one", 1, &describe(&["consumers"]));
}

fn commit(group: &str, member: &str, epoch: i32, topic: &str) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: epoch,
        member_id: member.to_owned(),
        retention_time_ms: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: topic.to_owned(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: 1,
                committed_leader_epoch: -1,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

pub(crate) fn by_regex(s: &mut Session) {
    coordinator(s);
    create(s, "regex-a", 1);
    s.about("a member by regular expression");
    let regex = |pattern: &str| ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some(pattern.to_owned()),
        ..join("by-regex", ONE, &[])
    };
    // When the expression is resolved differs: see `deviations.txt`.
    let joined = s.quietly(1, &regex("regex-.*"));
    let has_partitions = joined.assignment.is_some_and(|assignment| !assignment.topic_partitions.is_empty());
    let epoch = if has_partitions { joined.member_epoch } else { settle(s, "by-regex", ONE, joined.member_epoch, 1) };
    call_describe(s, "describe", 1, &describe(&["by-regex"]));
    s.call_then(
        "one that is none",
        1,
        &ConsumerGroupHeartbeatRequest { subscribed_topic_regex: Some("(".to_owned()), ..beat("by-regex", ONE, epoch) },
        |response| {
            // The reason is in the words of Java's library.
            response.error_message = None;
        },
    );
    let named = s.call(
        "an empty one and names",
        1,
        &ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: Some(vec!["regex-a".to_owned()]),
            subscribed_topic_regex: Some(String::new()),
            ..beat("by-regex", ONE, epoch)
        },
    );
    s.call("says nothing new", 1, &beat("by-regex", ONE, named.member_epoch));
    call_describe(s, "describe", 1, &describe(&["by-regex"]));
    s.call("leaves", 1, &beat("by-regex", ONE, -1));
    delete(s, "by-regex");
    s.about("an empty regular expression at the join");
    s.call("without names", 1, &regex(""));
    call_describe(s, "describe", 1, &describe(&["by-regex"]));
    s.call(
        "without names, with an empty list",
        1,
        &ConsumerGroupHeartbeatRequest { subscribed_topic_names: Some(Vec::new()), ..regex("") },
    );
    s.call("leaves", 1, &beat("by-regex", ONE, -1));
    delete(s, "by-regex");
}

pub(crate) fn errors(s: &mut Session) {
    coordinator(s);
    let id = create(s, "errors", 1);
    s.about("joins");
    let valid = join("errors", ONE, &["errors"]);
    let with = |change: fn(&mut ConsumerGroupHeartbeatRequest)| {
        let mut request = valid.clone();
        change(&mut request);
        request
    };
    for (what, request) in [
        ("an empty group", with(|r| r.group_id = String::new())),
        ("a blank group", with(|r| r.group_id = "  ".to_owned())),
        ("an empty member", with(|r| r.member_id = String::new())),
        ("a blank member", with(|r| r.member_id = " ".to_owned())),
        ("an empty instance", with(|r| r.instance_id = Some(String::new()))),
        ("an empty rack", with(|r| r.rack_id = Some(String::new()))),
        ("a blank rack", with(|r| r.rack_id = Some(" ".to_owned()))),
        ("no rebalance time-out", with(|r| r.rebalance_timeout_ms = -1)),
        ("a rebalance time-out of 0", with(|r| r.rebalance_timeout_ms = 0)),
        ("no partitions", with(|r| r.topic_partitions = None)),
        ("partitions", with(|r| r.topic_partitions = owning(Uuid::from_bytes([7; 16]), &[0]))),
        ("no topics", with(|r| r.subscribed_topic_names = None)),
        ("an empty list of topics", with(|r| r.subscribed_topic_names = Some(Vec::new()))),
        ("an unknown assignor", with(|r| r.server_assignor = Some("nobody".to_owned()))),
        ("an empty assignor", with(|r| r.server_assignor = Some(String::new()))),
        ("epoch -3", with(|r| r.member_epoch = -3)),
        ("epoch -2 without an instance", with(|r| r.member_epoch = -2)),
        ("epoch 5 of an unknown group", with(|r| r.member_epoch = 5)),
        ("leaving an unknown group", with(|r| r.member_epoch = -1)),
        (
            "leaving an unknown group as an instance",
            with(|r| {
                r.member_epoch = -2;
                r.instance_id = Some("i".to_owned());
            }),
        ),
    ] {
        s.call(what, 1, &request);
    }
    s.call("no member in a version that gives one", 0, &{
        let mut request = valid.clone();
        request.group_id = String::new();
        request
    });

    s.about("in a group");
    s.call("joins", 1, &valid);
    for (what, request) in [
        ("an unknown member", beat("errors", TWO, 1)),
        ("an old epoch", beat("errors", ONE, 7)),
        ("a member that leaves and is unknown", beat("errors", TWO, -1)),
        (
            "an instance unknown",
            ConsumerGroupHeartbeatRequest { instance_id: Some("i".to_owned()), ..beat("errors", ONE, 1) },
        ),
        (
            "owning what it was not given",
            ConsumerGroupHeartbeatRequest { topic_partitions: owning(id, &[0, 1, 2]), ..beat("errors", ONE, 1) },
        ),
        ("a previous epoch and nothing owned", beat("errors", ONE, 0)),
    ] {
        s.call(what, 1, &request);
    }

    s.about("the classic protocol to it");
    s.call(
        "join",
        9,
        &JoinGroupRequest {
            group_id: "errors".to_owned(),
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 30_000,
            protocol_type: "connect".to_owned(),
            ..Default::default()
        },
    );
    s.call(
        "sync",
        5,
        &SyncGroupRequest {
            group_id: "errors".to_owned(),
            generation_id: 1,
            member_id: ONE.to_owned(),
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("range".to_owned()),
            ..Default::default()
        },
    );
    s.call(
        "heartbeat",
        4,
        &HeartbeatRequest {
            group_id: "errors".to_owned(),
            generation_id: 1,
            member_id: ONE.to_owned(),
            ..Default::default()
        },
    );
    let leave = |member: &str, instance: Option<&str>| LeaveGroupRequest {
        group_id: "errors".to_owned(),
        members: vec![MemberIdentity {
            member_id: member.to_owned(),
            group_instance_id: instance.map(str::to_owned),
            ..Default::default()
        }],
        ..Default::default()
    };
    s.call("leave of an unknown member", 5, &leave(TWO, None));
    s.call("leave of an unknown instance", 5, &leave("", Some("i")));
    s.call("leave of the member as another instance", 5, &leave(ONE, Some("i")));
    s.call("leave", 5, &leave(ONE, None));
    call_describe(s, "describe", 1, &describe(&["errors"]));
    delete(s, "errors");

    s.about("static members");
    let fixed = |member: &str, epoch: i32| ConsumerGroupHeartbeatRequest {
        instance_id: Some("i".to_owned()),
        member_epoch: epoch,
        ..join("errors", member, &["errors"])
    };
    s.call("joins", 1, &fixed(ONE, 0));
    s.call("another of its instance", 1, &fixed(TWO, 0));
    s.call(
        "leaves for a while",
        1,
        &ConsumerGroupHeartbeatRequest { instance_id: Some("i".to_owned()), ..beat("errors", ONE, -2) },
    );
    call_describe(s, "describe", 1, &describe(&["errors"]));
    s.call("another takes its place", 1, &fixed(TWO, 0));
    call_describe(s, "describe", 1, &describe(&["errors"]));
    s.call(
        "the old one",
        1,
        &ConsumerGroupHeartbeatRequest { instance_id: Some("i".to_owned()), ..beat("errors", ONE, 1) },
    );
    s.call("leaves by the classic request", 5, &leave("", Some("i")));
    call_describe(s, "describe", 1, &describe(&["errors"]));
    delete(s, "errors");

    s.about("a group of the other protocol");
    s.quietly(9, &commit("simple-one", "", -1, "errors"));
    call_describe(s, "describe", 1, &describe(&["simple-one"]));
    s.call("a consumer that is not first", 1, &beat("simple-one", ONE, 3));
    delete(s, "simple-one");
}

pub(crate) fn rebalance(s: &mut Session) {
    coordinator(s);
    let id = create(s, "rebalance", 4);
    s.about("two members");
    s.call("the first joins", 1, &join("rebalance", ONE, &["rebalance"]));
    s.call(
        "it owns all",
        1,
        &ConsumerGroupHeartbeatRequest { topic_partitions: owning(id, &[0, 1, 2, 3]), ..beat("rebalance", ONE, 1) },
    );
    s.call("the second joins", 1, &join("rebalance", TWO, &["rebalance"]));
    call_describe(s, "describe before the first knows", 1, &describe(&["rebalance"]));
    s.call("the first learns of it", 1, &beat("rebalance", ONE, 1));
    call_describe(s, "describe while it gives up", 1, &describe(&["rebalance"]));
    s.call("the second waits", 1, &beat("rebalance", TWO, 2));
    s.call(
        "the first has given up",
        1,
        &ConsumerGroupHeartbeatRequest { topic_partitions: owning(id, &[0, 1]), ..beat("rebalance", ONE, 1) },
    );
    call_describe(s, "describe when it has given up", 1, &describe(&["rebalance"]));
    s.call("the second gets them", 1, &beat("rebalance", TWO, 2));
    call_describe(s, "describe at the end", 1, &describe(&["rebalance"]));
    s.call("the second leaves", 1, &beat("rebalance", TWO, -1));
    call_describe(s, "describe without it", 1, &describe(&["rebalance"]));
    s.call("the first leaves", 1, &beat("rebalance", ONE, -1));
    delete(s, "rebalance");
}
