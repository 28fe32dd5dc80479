//! Streams groups (KIP-1071).

use vltava_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use vltava_protocol::messages::streams_group_heartbeat_request::{
    CopartitionGroup, Endpoint, KeyValue, Subtopology, TaskIds, TopicInfo, Topology,
};
use vltava_protocol::messages::{
    DeleteGroupsRequest, OffsetCommitRequest, StreamsGroupDescribeRequest, StreamsGroupDescribeResponse,
    StreamsGroupHeartbeatRequest,
};

use crate::consumer_groups::{self, ONE, TWO, create};
use crate::groups::{coordinator, describe as describe_classic, list};
use crate::transcript::Session;

fn topic(name: &str) -> TopicInfo {
    TopicInfo { name: name.to_owned(), ..Default::default() }
}

/// What counts by another key: `NAME-in`, `NAME-repartition`, `NAME-changelog`.
fn topology(name: &str) -> Topology {
    let named = |part: &str| format!("{name}-{part}");
    let config = KeyValue { key: "cleanup.policy".to_owned(), value: "compact".to_owned(), ..Default::default() };
    let read = Subtopology {
        subtopology_id: "0".to_owned(),
        source_topics: vec![named("in")],
        repartition_sink_topics: vec![named("repartition")],
        ..Default::default()
    };
    let count = Subtopology {
        subtopology_id: "1".to_owned(),
        repartition_source_topics: vec![topic(&named("repartition"))],
        state_changelog_topics: vec![TopicInfo { topic_configs: vec![config], ..topic(&named("changelog")) }],
        ..Default::default()
    };
    Topology { epoch: 0, subtopologies: vec![read, count], ..Default::default() }
}

/// What reads one topic.
pub(crate) fn reader(topic: &str) -> Topology {
    let read =
        Subtopology { subtopology_id: "0".to_owned(), source_topics: vec![topic.to_owned()], ..Default::default() };
    Topology { epoch: 0, subtopologies: vec![read], ..Default::default() }
}

/// A member that joins, of a process of its own.
pub(crate) fn join(group: &str, member: &str, topology: Topology) -> StreamsGroupHeartbeatRequest {
    StreamsGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        rebalance_timeout_ms: 30_000,
        topology: Some(topology),
        process_id: Some(format!("process-of-{member}")),
        active_tasks: Some(Vec::new()),
        standby_tasks: Some(Vec::new()),
        warmup_tasks: Some(Vec::new()),
        ..Default::default()
    }
}

/// A member that says nothing new.
pub(crate) fn beat(group: &str, member: &str, member_epoch: i32) -> StreamsGroupHeartbeatRequest {
    StreamsGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        member_epoch,
        ..Default::default()
    }
}

fn owning(group: &str, member: &str, member_epoch: i32, active: &[(&str, &[i32])]) -> StreamsGroupHeartbeatRequest {
    let tasks = active.iter().map(|(id, partitions)| TaskIds {
        subtopology_id: (*id).to_owned(),
        partitions: partitions.to_vec(),
        ..Default::default()
    });
    StreamsGroupHeartbeatRequest {
        active_tasks: Some(tasks.collect()),
        standby_tasks: Some(Vec::new()),
        warmup_tasks: Some(Vec::new()),
        ..beat(group, member, member_epoch)
    }
}

fn describe(groups: &[&str]) -> StreamsGroupDescribeRequest {
    StreamsGroupDescribeRequest { group_ids: groups.iter().map(|g| (*g).to_owned()).collect(), ..Default::default() }
}

/// Kafka answers in the order of its maps.
pub(crate) fn in_order(response: &mut StreamsGroupDescribeResponse) {
    response.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    for group in &mut response.groups {
        group.members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
    }
}

/// What Kafka tells of the counts of a new group's topics is 0 until another record of the group is written.
fn without_counts(response: &mut StreamsGroupDescribeResponse) {
    in_order(response);
    let topologies = response.groups.iter_mut().filter_map(|group| group.topology.as_mut());
    for subtopology in topologies.flat_map(|topology| topology.subtopologies.iter_mut().flatten()) {
        let changelogs = subtopology.state_changelog_topics.iter_mut();
        changelogs.chain(&mut subtopology.repartition_source_topics).for_each(|topic| topic.partitions = 0);
    }
}

fn call_describe(s: &mut Session, what: &str, request: &StreamsGroupDescribeRequest) {
    s.call_then(what, 0, request, in_order);
}

fn commit(group: &str, member: &str, epoch: i32, topic: &str, partition: i32) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: epoch,
        member_id: member.to_owned(),
        retention_time_ms: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: topic.to_owned(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: partition,
                committed_offset: 5,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn delete(s: &mut Session, group: &str) {
    let request = DeleteGroupsRequest { groups_names: vec![group.to_owned()], ..Default::default() };
    s.call("delete", 2, &request);
}

/// Two members from join to leave, with topics that are there.
pub(crate) fn life(s: &mut Session) {
    coordinator(s);
    for part in ["in", "repartition", "changelog"] {
        create(s, &format!("flow-{part}"), 2);
    }
    s.about("one member");
    s.call("joins", 0, &join("flow", ONE, topology("flow")));
    s.call_then("describe", 0, &describe(&["flow", "no-group", ""]), without_counts);
    s.call("says what it has", 0, &owning("flow", ONE, 2, &[("0", &[0, 1]), ("1", &[0, 1])]));
    s.call("says nothing new", 0, &beat("flow", ONE, 2));
    let asked = StreamsGroupDescribeRequest { include_authorized_operations: true, ..describe(&["flow"]) };
    s.call_then("describe with operations", 0, &asked, without_counts);
    let only = |response: &mut vltava_protocol::messages::ListGroupsResponse| {
        response.groups.retain(|group| group.group_id == "flow");
    };
    s.call_then("list", 5, &list(&[], &[]), only);
    s.call_then("list by type", 5, &list(&[], &["streams"]), only);
    s.call_then("list by another type", 5, &list(&[], &["consumer"]), only);
    s.call_then("list by state", 5, &list(&["Stable"], &[]), only);
    s.call("describe as a classic one", 6, &describe_classic(&["flow"]));
    s.call("a consumer joins", 1, &consumer_groups::join("flow", TWO, &["flow-in"]));

    s.about("two members");
    s.call("the other joins", 0, &join("flow", TWO, topology("flow")));
    s.call("a task that is not one", 0, &owning("flow", ONE, 2, &[("0", &[0, 1]), ("1", &[0, 2])]));
    s.call("a subtopology that is not there", 0, &owning("flow", ONE, 2, &[("7", &[0])]));
    s.call("the first is to give up", 0, &owning("flow", ONE, 2, &[("0", &[0, 1]), ("1", &[0, 1])]));
    call_describe(s, "describe", &describe(&["flow"]));
    s.call("says it has not yet", 0, &owning("flow", ONE, 2, &[("0", &[0, 1]), ("1", &[0, 1])]));
    s.call("the other waits", 0, &owning("flow", TWO, 3, &[]));
    s.call("the first has given up", 0, &owning("flow", ONE, 2, &[("0", &[0]), ("1", &[0])]));
    s.call("the other has them", 0, &owning("flow", TWO, 3, &[]));
    call_describe(s, "describe", &describe(&["flow"]));
    s.call("an answer was lost", 0, &owning("flow", TWO, 3, &[("0", &[1]), ("1", &[1])]));
    s.call("a later epoch", 0, &beat("flow", TWO, 9));
    s.call("an older epoch", 0, &owning("flow", TWO, 1, &[]));
    s.call(
        "a rack, an endpoint and tags",
        0,
        &StreamsGroupHeartbeatRequest {
            rack_id: Some("r".to_owned()),
            user_endpoint: Some(Endpoint { host: "h".to_owned(), port: 80, ..Default::default() }),
            client_tags: Some(vec![KeyValue { key: "k".to_owned(), value: "v".to_owned(), ..Default::default() }]),
            ..beat("flow", TWO, 3)
        },
    );
    call_describe(s, "describe", &describe(&["flow"]));

    s.about("offsets");
    s.call("commit of its epoch", 9, &commit("flow", ONE, 3, "flow-in", 0));
    s.call("commit of the epoch in which it was given", 9, &commit("flow", ONE, 2, "flow-in", 0));
    s.call("commit of another's task in an old epoch", 9, &commit("flow", ONE, 2, "flow-in", 1));
    s.call("commit of a later epoch", 9, &commit("flow", ONE, 9, "flow-in", 0));
    s.call("commit of an older version", 8, &commit("flow", ONE, 3, "flow-in", 0));
    s.call("commit of no member", 9, &commit("flow", "", -1, "flow-in", 0));

    s.about("the end");
    delete(s, "flow");
    s.call(
        "the other leaves and wants all to end",
        0,
        &StreamsGroupHeartbeatRequest { shutdown_application: true, ..beat("flow", TWO, -1) },
    );
    s.call("the first is told so", 0, &beat("flow", ONE, 3));
    s.call("leaves", 0, &beat("flow", ONE, -1));
    s.call("leaves again", 0, &beat("flow", ONE, -1));
    call_describe(s, "describe an empty one", &describe(&["flow"]));
    s.call("commit of no member", 9, &commit("flow", "", -1, "flow-in", 0));
    s.call_then("list an empty one", 5, &list(&[], &[]), only);
    delete(s, "flow");
    call_describe(s, "describe a deleted one", &describe(&["flow"]));
    s.call("leaves a deleted one", 0, &beat("flow", ONE, -1));
    s.call("goes on in a deleted one", 0, &beat("flow", ONE, 4));
}

/// Topics that are missing, are made, or do not fit.
pub(crate) fn topics(s: &mut Session) {
    coordinator(s);
    s.about("missing topics");
    s.call("joins before its topic is there", 0, &join("later", ONE, topology("later")));
    call_describe(s, "describe", &describe(&["later"]));
    create(s, "later-in", 2);
    s.call_then("internal topics are made", 0, &join("later", ONE, topology("later")), |answer| {
        answer.member_epoch = 0;
    });
    s.until(0, &join("later", ONE, topology("later")), |answer| answer.status.as_ref().is_some_and(Vec::is_empty));
    s.call_then("describe", 0, &describe(&["later"]), |answer| {
        let group = &mut answer.groups[0];
        (group.group_epoch, group.assignment_epoch, group.members[0].member_epoch) = (0, 0, 0);
    });

    s.about("topics that do not fit");
    create(s, "wrong-in", 2);
    create(s, "wrong-repartition", 3);
    s.call("another number of partitions", 0, &join("wrong", ONE, topology("wrong")));
    let joined = |group: CopartitionGroup| {
        let mut topology = reader("later-in");
        topology.subtopologies[0].source_topics.push("wrong-repartition".to_owned());
        topology.subtopologies[0].copartition_groups.push(group);
        topology
    };
    let both = CopartitionGroup { source_topics: vec![0, 1], ..Default::default() };
    s.call("two that are joined", 0, &join("wrong-join", ONE, joined(both)));
    let beyond = CopartitionGroup { source_topics: vec![0, 9], ..Default::default() };
    s.call("one that is not there", 0, &join("beyond", ONE, joined(beyond)));

    s.about("topologies");
    let epoch = |epoch: i32| Topology { epoch, ..reader("later-in") };
    s.call("an epoch", 0, &join("epochs", ONE, epoch(5)));
    s.call("an older epoch", 0, &join("epochs", TWO, epoch(4)));
    s.call("a later epoch", 0, &join("epochs", TWO, epoch(6)));
    s.call("another topology", 0, &join("epochs", TWO, Topology { epoch: 5, ..reader("wrong-in") }));
    let mut sink = reader("later-in");
    sink.subtopologies[0].repartition_source_topics.push(topic("nobody-writes"));
    s.call("a repartition topic that nobody writes", 0, &join("sink", ONE, sink));
    let mut round = reader("later-in");
    round.subtopologies[0].source_topics.clear();
    round.subtopologies[0].repartition_source_topics.push(topic("round"));
    round.subtopologies[0].repartition_sink_topics.push("round".to_owned());
    s.call("a round", 0, &join("round", ONE, round));
    let nothing = Topology { subtopologies: vec![Subtopology::default()], ..Default::default() };
    s.call("nothing that is read", 0, &join("nothing", ONE, nothing));
    s.call("no subtopologies", 0, &join("empty", ONE, Topology::default()));
    s.call(
        "a negative epoch",
        0,
        &StreamsGroupHeartbeatRequest { topology: Some(epoch(-1)), ..join("negative", ONE, epoch(0)) },
    );
    s.call("a topic of Kafka's", 0, &join("names", ONE, reader("__consumer_offsets")));
    s.call("a name that is none", 0, &join("names", ONE, reader("a/b")));
}

/// Requests that contradict themselves.
pub(crate) fn errors(s: &mut Session) {
    coordinator(s);
    create(s, "e-in", 1);
    let joining = || join("e", ONE, reader("e-in"));
    let some = || vec![TaskIds { subtopology_id: "0".to_owned(), partitions: vec![0], ..Default::default() }];
    type Spoil = (&'static str, StreamsGroupHeartbeatRequest);
    let cases: Vec<Spoil> = vec![
        ("no member id", StreamsGroupHeartbeatRequest { member_id: String::new(), ..joining() }),
        ("no group id", StreamsGroupHeartbeatRequest { group_id: String::new(), ..joining() }),
        ("an empty rack", StreamsGroupHeartbeatRequest { rack_id: Some(String::new()), ..joining() }),
        ("an instance id", StreamsGroupHeartbeatRequest { instance_id: Some("i".to_owned()), ..joining() }),
        ("no time-out", StreamsGroupHeartbeatRequest { rebalance_timeout_ms: -1, ..joining() }),
        ("no topology", StreamsGroupHeartbeatRequest { topology: None, ..joining() }),
        ("active tasks", StreamsGroupHeartbeatRequest { active_tasks: Some(some()), ..joining() }),
        ("standby tasks", StreamsGroupHeartbeatRequest { standby_tasks: Some(some()), ..joining() }),
        ("warm-up tasks", StreamsGroupHeartbeatRequest { warmup_tasks: Some(some()), ..joining() }),
        ("offsets", StreamsGroupHeartbeatRequest { task_offsets: Some(Vec::new()), ..joining() }),
        ("end offsets", StreamsGroupHeartbeatRequest { task_end_offsets: Some(Vec::new()), ..joining() }),
        ("no process", StreamsGroupHeartbeatRequest { process_id: None, ..joining() }),
    ];
    s.about("joins");
    for (what, request) in cases {
        s.call(what, 0, &request);
    }
    let mut pattern = reader("e-in");
    pattern.subtopologies[0].source_topic_regex.push("e.*".to_owned());
    s.call("a pattern", 0, &join("e", ONE, pattern));
    let mut counted = reader("e-in");
    counted.subtopologies[0].state_changelog_topics.push(TopicInfo { partitions: 3, ..topic("e-changelog") });
    s.call("a changelog with a count", 0, &join("e", ONE, counted));
    s.about("heartbeats");
    s.call("an unknown member", 0, &beat("e", TWO, 2));
    s.call("an unknown member leaves", 0, &beat("e", TWO, -1));
    s.call("a static one leaves", 0, &beat("e", ONE, -2));
    s.call("an epoch that is none", 0, &beat("e", ONE, -3));
    s.call(
        "a topology later",
        0,
        &StreamsGroupHeartbeatRequest { topology: Some(reader("e-in")), ..beat("e", ONE, 2) },
    );
    s.call(
        "tasks of one kind only",
        0,
        &StreamsGroupHeartbeatRequest { active_tasks: Some(Vec::new()), ..beat("e", ONE, 2) },
    );
    s.call("a group that is not there", 0, &beat("no-group", ONE, 2));
    s.call("leaves a group that is not there", 0, &beat("no-group", ONE, -1));
}
