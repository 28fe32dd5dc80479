//! How members come, share tasks, and go.

use super::*;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::streams_group_heartbeat_request::Endpoint;

#[test]
fn a_first_member_gets_all_tasks_and_a_second_one_half_of_them() {
    let mut harness = harness(|_| {});
    let topics = all_topics(2);
    let mut one = Client::new("one", "p1");
    let response = beat(&mut harness, &topics, &mut one);
    assert_eq!((response.error_code, response.member_epoch, response.heartbeat_interval_ms), (0, 2, 5000));
    assert_eq!(one.tasks(), ["0_0", "0_1", "1_0", "1_1"]);
    assert_eq!(response.status, Some(Vec::new()));
    assert_eq!(group_state(&harness), "Stable");

    harness.advance(1_000);
    let mut two = Client::new("two", "p2");
    beat(&mut harness, &topics, &mut two);
    assert_eq!((two.epoch, two.tasks().len()), (3, 0), "what it shall have is still of the first");
    assert_eq!(group_state(&harness), "Reconciling");
    // The first is told to give up, is in its old epoch until it has, and is given no task meanwhile.
    assert_eq!(beat(&mut harness, &topics, &mut one).member_epoch, 2);
    assert_eq!(one.tasks().len(), 2);
    assert_eq!(beat(&mut harness, &topics, &mut one).member_epoch, 3);
    beat(&mut harness, &topics, &mut two);
    assert_eq!(two.tasks().len(), 2);
    assert_eq!(group_state(&harness), "Stable");
    assert_replay_is_equal(&mut harness);
}

#[test]
fn tasks_of_who_leaves_or_is_not_heard_of_go_to_the_others() {
    for leaves in [true, false] {
        let mut harness = harness(|_| {});
        let topics = all_topics(3);
        let mut clients = [Client::new("one", "p1"), Client::new("two", "p2")];
        settle(&mut harness, &topics, &mut clients);
        let [mut one, two] = clients;
        if leaves {
            let request = StreamsGroupHeartbeatRequest { member_epoch: -1, ..two.request() };
            let response = send(&mut harness, &topics, &request).unwrap();
            assert_eq!((response.member_epoch, response.status), (-1, Some(Vec::new())));
        } else {
            for _ in 0..10 {
                harness.advance(5_000);
                beat(&mut harness, &topics, &mut one);
            }
        }
        settle(&mut harness, &topics, std::slice::from_mut(&mut one));
        assert_eq!(one.tasks().len(), 6, "leaves: {leaves}");
        let error = send(&mut harness, &topics, &two.request()).unwrap_err();
        assert_eq!(error.error, ErrorCode::UnknownMemberId);
        assert_eq!(error.message.as_deref(), Some("Member two is not a member of group group."));
    }
}

#[test]
fn who_does_not_give_up_in_time_is_out() {
    let mut harness = harness(|_| {});
    let topics = all_topics(2);
    let mut one = Client::new("one", "p1");
    beat(&mut harness, &topics, &mut one);
    harness.advance(1_000);
    beat(&mut harness, &topics, &mut Client::new("two", "p2"));
    let stuck = one.clone();
    send(&mut harness, &topics, &stuck.request()).unwrap();
    for _ in 0..12 {
        harness.advance(5_000);
        let _ = send(&mut harness, &topics, &stuck.request());
    }
    assert_eq!(send(&mut harness, &topics, &stuck.request()).unwrap_err().error, ErrorCode::UnknownMemberId);
}

#[test]
fn standbys_are_in_other_processes_than_the_active_tasks() {
    let mut harness = harness(|config| config.num_standby_replicas = 1);
    let topics = all_topics(2);
    let mut clients = [Client::new("one", "p1"), Client::new("two", "p1"), Client::new("three", "p2")];
    settle(&mut harness, &topics, &mut clients);
    for client in &clients {
        let process: Vec<_> = clients.iter().filter(|other| other.process == client.process).collect();
        for standby in text(&client.standby) {
            assert!(process.iter().all(|other| !other.tasks().contains(&standby)), "{clients:#?}");
        }
    }
    assert_eq!(clients.iter().map(|client| text(&client.standby).len()).sum::<usize>(), 2);
}

#[test]
fn a_group_that_was_empty_waits_before_its_first_assignment() {
    let mut harness = harness(|config| config.initial_rebalance_delay_ms = 3_000);
    let topics = all_topics(2);
    let (mut one, mut two) = (Client::new("one", "p1"), Client::new("two", "p2"));
    let delayed = (5, "Assignment delayed due to the configured initial rebalance delay.".to_owned());
    for client in [&mut one, &mut two] {
        let response = beat(&mut harness, &topics, client);
        assert_eq!((response.member_epoch, statuses(&response)), (1, vec![delayed.clone()]));
        assert!(client.tasks().is_empty());
    }
    assert_eq!(group_state(&harness), "Assigning");
    harness.advance(3_000);
    assert_eq!(group_state(&harness), "Reconciling");
    for client in [&mut one, &mut two] {
        assert_eq!(statuses(&beat(&mut harness, &topics, client)), []);
        assert_eq!((client.epoch, client.tasks().len()), (3, 2));
    }
}

#[test]
fn an_assignment_waits_for_the_interval() {
    let mut harness = harness(|_| {});
    let topics = all_topics(2);
    beat(&mut harness, &topics, &mut Client::new("one", "p1"));
    let response = beat(&mut harness, &topics, &mut Client::new("two", "p2"));
    assert_eq!(statuses(&response), [(5, "Assignment delayed due to the configured assignment interval.".to_owned())]);
    assert_eq!(group_state(&harness), "Assigning");
}

#[test]
fn an_epoch_is_checked_as_kafka_does() {
    let mut harness = harness(|_| {});
    let topics = all_topics(2);
    let mut one = Client::new("one", "p1");
    beat(&mut harness, &topics, &mut one);
    let cases = [
        (3, Some(ErrorCode::FencedMemberEpoch)),
        (1, Some(ErrorCode::FencedMemberEpoch)),
        (2, None),
        // The epoch before, by a member that has not heard of the new one.
        (0, None),
    ];
    for (epoch, expected) in cases {
        let request = StreamsGroupHeartbeatRequest {
            member_epoch: epoch,
            ..Client { epoch, active: if epoch == 0 { Held::new() } else { one.active.clone() }, ..one.clone() }
                .request()
        };
        assert_eq!(send(&mut harness, &topics, &request).err().map(|error| error.error), expected, "{epoch}");
    }
}

#[test]
fn a_full_group_lets_nobody_else_in() {
    let mut harness = harness(|config| config.max_size = 1);
    let topics = all_topics(2);
    let mut one = Client::new("one", "p1");
    beat(&mut harness, &topics, &mut one);
    one.is_fenced();
    beat(&mut harness, &topics, &mut one);
    let refused = send(&mut harness, &topics, &Client::new("two", "p2").request()).unwrap_err();
    assert_eq!(refused.error, ErrorCode::GroupMaxSizeReached);
    let text = "The streams group has reached its maximum capacity of 1 members.";
    assert_eq!(refused.message.as_deref(), Some(text));
}

#[test]
fn what_a_request_may_not_say_is_refused_with_kafkas_texts() {
    type Spoil = fn(&mut StreamsGroupHeartbeatRequest);
    let joining: [(Spoil, ErrorCode, &str); 10] = [
        (|it| it.member_id = " ".into(), ErrorCode::InvalidRequest, "MemberId can't be empty."),
        (|it| it.group_id.clear(), ErrorCode::InvalidRequest, "GroupId can't be empty."),
        (|it| it.rack_id = Some(String::new()), ErrorCode::InvalidRequest, "RackId can't be empty."),
        (|it| it.instance_id = Some("i".into()), ErrorCode::InvalidRequest, "Static membership is not yet supported."),
        (
            |it| it.rebalance_timeout_ms = -1,
            ErrorCode::InvalidRequest,
            "RebalanceTimeoutMs must be provided in first request.",
        ),
        (|it| it.topology = None, ErrorCode::InvalidRequest, "Topology must be non-null when (re-)joining."),
        (|it| it.task_offsets = Some(Vec::new()), ErrorCode::InvalidRequest, "TaskOffsets are not supported yet."),
        (
            |it| it.active_tasks = Some(ids(&Held::from([("0".into(), BTreeSet::from([0]))]))),
            ErrorCode::InvalidRequest,
            "ActiveTasks must be empty when (re-)joining.",
        ),
        (
            |it| it.topology.as_mut().unwrap().subtopologies[0].source_topic_regex.push("a.*".into()),
            ErrorCode::InvalidRequest,
            "Regular expressions for source topics are not supported yet.",
        ),
        (
            |it| it.topology.as_mut().unwrap().subtopologies[1].state_changelog_topics[0].partitions = 3,
            ErrorCode::StreamsInvalidTopology,
            "Changelog topic changelog must have an undefined partition count, but it is set to 3.",
        ),
    ];
    let later: [(Spoil, &str); 5] = [
        (|it| it.member_epoch = -3, "MemberEpoch is -3, but must be greater than or equal to -2."),
        (|it| it.member_epoch = -2, "InstanceId can't be null."),
        (|it| it.topology = Some(topology()), "Topology can only be provided when (re-)joining."),
        (|it| it.standby_tasks = None, "If one task-type is non-null, all must be non-null."),
        (
            |it| it.active_tasks = Some(ids(&Held::from([("0".into(), BTreeSet::from([2]))]))),
            "Task 2 for subtopology 0 is invalid. Number of tasks for this subtopology: 2",
        ),
    ];
    let mut harness = harness(|_| {});
    let topics = all_topics(2);
    let mut one = Client::new("one", "p1");
    for (spoil, error, text) in joining {
        let mut request = one.request();
        spoil(&mut request);
        let refused = send(&mut harness, &topics, &request).unwrap_err();
        assert_eq!((refused.error, refused.message.as_deref()), (error, Some(text)));
        assert!(harness.log.is_empty(), "nothing is recorded of what is refused");
    }
    beat(&mut harness, &topics, &mut one);
    for (spoil, text) in later {
        let mut request = one.request();
        spoil(&mut request);
        let refused = send(&mut harness, &topics, &request).unwrap_err();
        assert_eq!((refused.error, refused.message.as_deref()), (ErrorCode::InvalidRequest, Some(text)));
    }
}

#[test]
fn a_shutdown_is_told_to_all_until_the_group_is_empty() {
    let mut harness = harness(|_| {});
    let topics = all_topics(2);
    let mut clients = [Client::new("one", "p1"), Client::new("two", "p2")];
    settle(&mut harness, &topics, &mut clients);
    let [mut one, two] = clients;
    let request = StreamsGroupHeartbeatRequest { member_epoch: -1, shutdown_application: true, ..two.request() };
    send(&mut harness, &topics, &request).unwrap();
    let text =
        "Streams group member two encountered a fatal error and requested a shutdown for the entire application.";
    let told = statuses(&beat(&mut harness, &topics, &mut one));
    assert!(told.contains(&(4, text.to_owned())), "{told:?}");
    send(&mut harness, &topics, &StreamsGroupHeartbeatRequest { member_epoch: -1, ..one.request() }).unwrap();
    assert_eq!(group_state(&harness), "Empty");
    let told = statuses(&beat(&mut harness, &topics, &mut Client::new("three", "p3")));
    assert!(told.iter().all(|(code, _)| *code != 4), "{told:?}");
}

#[test]
fn members_with_endpoints_learn_where_partitions_are() {
    let mut harness = harness(|_| {});
    let topics = all_topics(2);
    let mut one = Client::new("one", "p1");
    let endpoint = Endpoint { host: "localhost".into(), port: 8080, ..Endpoint::default() };
    let request = StreamsGroupHeartbeatRequest { user_endpoint: Some(endpoint), ..one.request() };
    let response = send(&mut harness, &topics, &request).unwrap();
    one.follow(&response);
    let told = response.partitions_by_user_endpoint.unwrap();
    assert_eq!((told.len(), told[0].user_endpoint.host.as_str(), told[0].user_endpoint.port), (1, "localhost", 8080));
    let partitions =
        |topic: &str| told[0].active_partitions.iter().find(|it| it.topic == topic).map(|it| it.partitions.clone());
    assert_eq!((partitions("in"), partitions("repartition")), (Some(vec![0, 1]), Some(vec![0, 1])));
    assert_eq!(response.endpoint_information_epoch, 1);
    // Who knows that epoch is told nothing.
    let request = StreamsGroupHeartbeatRequest { endpoint_information_epoch: 1, ..one.request() };
    assert_eq!(send(&mut harness, &topics, &request).unwrap().partitions_by_user_endpoint, None);
}
