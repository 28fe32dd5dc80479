//! Classic groups, and the offsets of groups.

use bytes::Bytes;
use vltava_protocol::Uuid;
use vltava_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use vltava_protocol::messages::leave_group_request::MemberIdentity;
use vltava_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use vltava_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use vltava_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use vltava_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use vltava_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, DescribeGroupsResponse, FindCoordinatorRequest, HeartbeatRequest,
    JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, ListGroupsResponse, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
};

use crate::transcript::Session;

/// Has the groups served.
pub(crate) fn coordinator(s: &mut Session) {
    let request = FindCoordinatorRequest { coordinator_keys: vec!["any".to_owned()], ..Default::default() };
    s.until(6, &request, |found| found.coordinators[0].error_code == 0);
    // The coordinator may still be loading behind the address that is told already.
    let groups = ["a", "b", "c", "d", "e", "f", "g", "h"].map(str::to_owned).to_vec();
    let request = DescribeGroupsRequest { groups, ..Default::default() };
    s.until(5, &request, |found| found.groups.iter().all(|group| group.error_code == 0));
}

fn join(group: &str, member: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.to_owned(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        member_id: member.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".to_owned(),
            metadata: Bytes::from_static(b"\0\0\0\0\0\0\xff\xff\xff\xff"),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn sync(group: &str, generation_id: i32, member: &str, assignment: &'static [u8]) -> SyncGroupRequest {
    let assignments = match assignment {
        b"" => Vec::new(),
        _ => vec![SyncGroupRequestAssignment {
            member_id: member.to_owned(),
            assignment: Bytes::from_static(assignment),
            ..Default::default()
        }],
    };
    SyncGroupRequest {
        group_id: group.to_owned(),
        generation_id,
        member_id: member.to_owned(),
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("range".to_owned()),
        assignments,
        ..Default::default()
    }
}

fn heartbeat(group: &str, generation_id: i32, member: &str) -> HeartbeatRequest {
    HeartbeatRequest { group_id: group.to_owned(), generation_id, member_id: member.to_owned(), ..Default::default() }
}

fn leave(group: &str, members: &[(&str, Option<&str>)]) -> LeaveGroupRequest {
    let members = members.iter().map(|(member, instance)| MemberIdentity {
        member_id: (*member).to_owned(),
        group_instance_id: instance.map(str::to_owned),
        ..Default::default()
    });
    LeaveGroupRequest { group_id: group.to_owned(), members: members.collect(), ..Default::default() }
}

pub(crate) fn describe(groups: &[&str]) -> DescribeGroupsRequest {
    DescribeGroupsRequest { groups: groups.iter().map(|g| (*g).to_owned()).collect(), ..Default::default() }
}

/// Kafka answers in the order of its maps.
fn in_order(response: &mut DescribeGroupsResponse) {
    response.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
}

/// Of the groups that a case made, in order.
fn only<'a>(groups: &'a [&str]) -> impl FnOnce(&mut ListGroupsResponse) + 'a {
    |response| {
        response.groups.retain(|group| groups.contains(&group.group_id.as_str()));
        response.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    }
}

pub(crate) fn list(states: &[&str], types: &[&str]) -> ListGroupsRequest {
    let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    ListGroupsRequest { states_filter: all(states), types_filter: all(types), ..Default::default() }
}

pub(crate) fn classic(s: &mut Session) {
    coordinator(s);
    s.about("wrong joins");
    s.call("an empty group", 9, &join("", ""));
    s.call("a session too short", 9, &JoinGroupRequest { session_timeout_ms: 999, ..join("g", "") });
    s.call("a session too long", 9, &JoinGroupRequest { session_timeout_ms: 1_800_001, ..join("g", "") });
    s.call("a negative session", 9, &JoinGroupRequest { session_timeout_ms: -1, ..join("g", "") });
    s.call("no protocols", 9, &JoinGroupRequest { protocols: Vec::new(), ..join("g", "") });
    s.call("no protocol type", 9, &JoinGroupRequest { protocol_type: String::new(), ..join("g", "") });
    s.call("an unknown member of no group", 9, &join("g", "unknown"));
    s.call("an unknown member of no group, old", 0, &join("g", "unknown"));
    let unnamed = s.quietly(9, &join("classic", ""));
    s.name("pending", &unnamed.member_id);
    s.call("which members of a pending one", 5, &describe(&["classic"]));
    s.call("a pending member's heartbeat", 4, &heartbeat("classic", 0, &unnamed.member_id));
    s.call("a pending member leaves", 5, &leave("classic", &[(&unnamed.member_id, None)]));

    s.about("a member");
    let unnamed = s.quietly(9, &join("classic", ""));
    s.name("member", &unnamed.member_id);
    let member = unnamed.member_id;
    s.call("joins", 9, &join("classic", &member));
    s.call("another protocol type", 9, &JoinGroupRequest { protocol_type: "other".to_owned(), ..join("classic", "") });
    let mut other = join("classic", "");
    other.protocols[0].name = "sticky".to_owned();
    s.call("another protocol", 9, &other);
    s.call("describe while it is preparing", 6, &describe(&["classic"]));
    s.call("heartbeat before sync", 4, &heartbeat("classic", 1, &member));
    s.call("sync of an old generation", 5, &sync("classic", 0, &member, b"x"));
    s.call("sync of an unknown member", 5, &sync("classic", 1, "unknown", b"x"));
    s.call("sync of no group", 5, &sync("no-group", 1, "unknown", b"x"));
    s.call("sync of an empty group", 5, &sync("", 1, "unknown", b"x"));
    let request = sync("classic", 1, &member, b"x");
    s.call("sync with another type", 5, &SyncGroupRequest { protocol_type: Some("no".to_owned()), ..request.clone() });
    s.call("sync with another name", 5, &SyncGroupRequest { protocol_name: Some("no".to_owned()), ..request.clone() });
    s.call("sync with no name", 5, &SyncGroupRequest { protocol_name: None, ..request.clone() });
    s.call("sync", 5, &request);
    s.call("sync again, without assignments", 3, &sync("classic", 1, &member, b""));
    s.call("heartbeat", 4, &heartbeat("classic", 1, &member));
    s.call("heartbeat of an old generation", 4, &heartbeat("classic", 0, &member));
    s.call("heartbeat of a later generation", 4, &heartbeat("classic", 7, &member));
    s.call("heartbeat of an unknown member", 4, &heartbeat("classic", 1, "unknown"));
    s.call("heartbeat of no group", 4, &heartbeat("no-group", 1, "unknown"));
    s.call("heartbeat of an empty group", 4, &heartbeat("", 1, "unknown"));
    let fenced = HeartbeatRequest { group_instance_id: Some("i".to_owned()), ..heartbeat("classic", 1, &member) };
    s.call("heartbeat of an unknown instance", 4, &fenced);
    s.call_then("describe", 6, &describe(&["classic", "no-group", ""]), in_order);
    s.call_then("describe, old", 0, &describe(&["classic", "no-group", ""]), in_order);
    let asked = DescribeGroupsRequest { include_authorized_operations: true, ..describe(&["classic", "no-group"]) };
    s.call_then("describe with operations", 6, &asked, in_order);
    s.call_then("list", 5, &list(&[], &[]), only(&["classic"]));
    s.call_then("list, old", 0, &list(&[], &[]), only(&["classic"]));
    s.call_then("list by state", 5, &list(&["stable"], &[]), only(&["classic"]));
    s.call_then("list by an unknown state", 5, &list(&["nonsense"], &[]), only(&["classic"]));
    s.call_then("list by type", 5, &list(&[], &["Classic"]), only(&["classic"]));
    s.call_then("list by an unknown type", 5, &list(&[], &["nonsense"]), only(&["classic"]));
    let delete = DeleteGroupsRequest {
        groups_names: ["classic", "no-group", "", "classic"].map(str::to_owned).to_vec(),
        ..Default::default()
    };
    s.call_then("delete groups", 2, &delete, |response| {
        response.results.sort_by(|a, b| (&a.group_id, a.error_code).cmp(&(&b.group_id, b.error_code)));
    });

    s.about("leaving");
    s.call("no members", 5, &leave("classic", &[]));
    s.call("an empty group", 5, &leave("", &[("unknown", None)]));
    s.call("no group", 5, &leave("no-group", &[("unknown", None)]));
    s.call(
        "no group, old",
        1,
        &LeaveGroupRequest { group_id: "no-group".to_owned(), member_id: "unknown".to_owned(), ..Default::default() },
    );
    s.call("an unknown member and an unknown instance", 5, &leave("classic", &[("unknown", None), ("", Some("i"))]));
    s.call("the member, twice", 5, &leave("classic", &[(&member, None), (&member, None)]));
    s.call("describe an empty one", 6, &describe(&["classic"]));
    s.call_then("list an empty one", 5, &list(&["Empty"], &[]), only(&["classic"]));
    s.call_then("delete groups", 2, &delete, |response| {
        response.results.sort_by(|a, b| (&a.group_id, a.error_code).cmp(&(&b.group_id, b.error_code)));
    });
    s.call_then("list none", 5, &list(&[], &[]), only(&["classic"]));
    s.quietly(2, &DeleteGroupsRequest { groups_names: vec!["g".to_owned()], ..Default::default() });
}

fn commit(group: &str, topic: &str, partition: i32, offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: -1,
        retention_time_ms: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: topic.to_owned(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: partition,
                committed_offset: offset,
                committed_leader_epoch: -1,
                committed_metadata: Some("m".to_owned()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn fetch(group: &str, topics: Option<&[(&str, &[i32])]>) -> OffsetFetchRequest {
    let topic = |(name, partitions): &(&str, &[i32])| OffsetFetchRequestTopics {
        name: (*name).to_owned(),
        partition_indexes: partitions.to_vec(),
        ..Default::default()
    };
    OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.to_owned(),
            member_epoch: -1,
            topics: topics.map(|topics| topics.iter().map(topic).collect()),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn delete(group: &str, topic: &str, partitions: &[i32]) -> OffsetDeleteRequest {
    OffsetDeleteRequest {
        group_id: group.to_owned(),
        topics: vec![OffsetDeleteRequestTopic {
            name: topic.to_owned(),
            partitions: partitions
                .iter()
                .map(|index| OffsetDeleteRequestPartition { partition_index: *index })
                .collect(),
        }],
    }
}

pub(crate) fn offsets(s: &mut Session) {
    coordinator(s);
    let id = s.create("offsets", 2);
    s.about("commits");
    s.call("a first commit", 9, &commit("simple", "offsets", 0, 5));
    s.call("by id", 10, &{
        let mut request = commit("simple", "", 1, 6);
        request.topics[0].topic_id = id;
        request
    });
    s.call("by an unknown id", 10, &{
        let mut request = commit("simple", "", 1, 6);
        request.topics[0].topic_id = Uuid::from_bytes([7; 16]);
        request
    });
    s.call("by no id", 10, &commit("simple", "", 1, 6));
    s.call("an empty group", 9, &commit("", "offsets", 0, 5));
    s.call("an unknown topic", 9, &commit("simple", "unknown", 0, 5));
    s.call("an empty topic", 9, &commit("simple", "", 0, 5));
    s.call("an unknown partition", 9, &commit("simple", "offsets", 2, 5));
    s.call("a negative partition", 9, &commit("simple", "offsets", -1, 5));
    s.call("a negative offset", 9, &commit("negative", "offsets", 0, -7));
    s.call("long metadata", 9, &{
        let mut request = commit("simple", "offsets", 0, 5);
        request.topics[0].partitions[0].committed_metadata = Some("x".repeat(5000));
        request
    });
    s.call("null metadata", 9, &{
        let mut request = commit("nothing", "offsets", 0, 5);
        request.topics[0].partitions[0].committed_metadata = None;
        request
    });
    s.call("no topics", 9, &OffsetCommitRequest { topics: Vec::new(), ..commit("simple", "offsets", 0, 5) });
    s.call("no topics of no group", 9, &OffsetCommitRequest { topics: Vec::new(), ..commit("", "offsets", 0, 5) });
    s.call(
        "a generation",
        9,
        &OffsetCommitRequest {
            generation_id_or_member_epoch: 3,
            member_id: "unknown".to_owned(),
            ..commit("simple", "offsets", 0, 5)
        },
    );
    s.call(
        "a generation of no group",
        9,
        &OffsetCommitRequest {
            generation_id_or_member_epoch: 3,
            member_id: "unknown".to_owned(),
            ..commit("no-group", "offsets", 0, 5)
        },
    );
    s.call(
        "a generation of no group, old",
        8,
        &OffsetCommitRequest {
            generation_id_or_member_epoch: 3,
            member_id: "unknown".to_owned(),
            ..commit("no-group", "offsets", 0, 5)
        },
    );
    s.call("a topic twice", 9, &{
        let mut request = commit("twice", "offsets", 0, 5);
        request.topics.push(request.topics[0].clone());
        request.topics[1].partitions[0].committed_offset = 9;
        request
    });

    s.about("fetches");
    s.call("of a partition", 9, &fetch("simple", Some(&[("offsets", &[0, 1, 2, -1])])));
    s.call("of all", 9, &fetch("simple", None));
    s.call("of no topics", 9, &fetch("simple", Some(&[])));
    s.call("of an unknown topic", 9, &fetch("simple", Some(&[("unknown", &[0])])));
    s.call("of no group", 9, &fetch("no-group", Some(&[("offsets", &[0])])));
    s.call("of all of no group", 9, &fetch("no-group", None));
    s.call("of an empty group", 9, &fetch("", Some(&[("offsets", &[0])])));
    s.call("of a topic twice", 9, &fetch("twice", Some(&[("offsets", &[0]), ("offsets", &[0])])));
    s.call("null metadata", 9, &fetch("nothing", None));
    s.call("a negative offset", 9, &fetch("negative", None));
    s.call("by no id", 10, &fetch("simple", Some(&[("offsets", &[0])])));
    let mut by_id = fetch("simple", Some(&[("", &[0, 1, 2]), ("", &[0])]));
    by_id.groups[0].topics.as_mut().unwrap()[0].topic_id = id;
    by_id.groups[0].topics.as_mut().unwrap()[1].topic_id = Uuid::from_bytes([7; 16]);
    s.call("by id", 10, &by_id);
    s.call("all by id", 10, &fetch("simple", None));
    let mut member = fetch("simple", None);
    member.groups[0].member_id = Some("unknown".to_owned());
    member.groups[0].member_epoch = 3;
    s.call("of an unknown member", 9, &member);
    s.call("no groups", 9, &OffsetFetchRequest::default());
    let twice = [fetch("simple", None).groups, fetch("simple", None).groups].concat();
    s.call("a group twice", 9, &OffsetFetchRequest { groups: twice, ..Default::default() });
    let topics = vec![OffsetFetchRequestTopic {
        name: "offsets".to_owned(),
        partition_indexes: vec![0, 9],
        ..Default::default()
    }];
    let old = OffsetFetchRequest { group_id: "simple".to_owned(), topics: Some(topics), ..Default::default() };
    s.call("old", 1, &old);
    s.call("old, an empty group", 1, &OffsetFetchRequest { group_id: String::new(), ..old.clone() });
    s.call("less old, all", 5, &OffsetFetchRequest { topics: None, ..old });

    s.about("deletions");
    s.call("of an unknown group", 0, &delete("no-group", "offsets", &[0]));
    s.call("of an empty group", 0, &delete("", "offsets", &[0]));
    s.call("of an unknown topic", 0, &delete("simple", "unknown", &[0]));
    s.call("of partitions", 0, &delete("simple", "offsets", &[0, 2, -1]));
    s.call("of no topics", 0, &OffsetDeleteRequest { group_id: "simple".to_owned(), topics: Vec::new() });
    s.call("of no topics of no group", 0, &OffsetDeleteRequest { group_id: "no-group".to_owned(), topics: Vec::new() });
    s.call("what is left", 9, &fetch("simple", None));
    s.call_then("list", 5, &list(&[], &[]), only(&["simple", "negative", "nothing", "twice"]));
    s.call("describe", 6, &describe(&["simple"]));
    let groups = ["simple", "negative", "nothing", "twice", ""].map(str::to_owned).to_vec();
    s.quietly(2, &DeleteGroupsRequest { groups_names: groups, ..Default::default() });
}
