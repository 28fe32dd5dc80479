//! What is of the streams protocol alone.

use std::collections::BTreeMap;
use std::time::Duration;

use vltava_protocol::ApiKey;
use vltava_protocol::messages::streams_group_heartbeat_request as request;
use vltava_protocol::messages::streams_group_heartbeat_response as response;

use super::*;
use crate::consumer::close_options::GroupMembershipOperation;
use crate::consumer::membership::modern::MemberState;
use crate::consumer::membership::modern::tests::{Heard, INTERVAL, Spoken};
use crate::consumer::membership::tests as bench;
use crate::consumer::membership::{Acquire, Membership as _, Step};
use crate::consumer::streams_group::{InternalTopic, StreamsTaskId, Subtopology};

type Bench = bench::Bench<StreamsMembership>;

/// Tasks by sub-topology.
type Tasks<'a> = &'a [(&'a str, &'a [i32])];

fn config() -> MembershipConfig {
    MembershipConfig { rack_id: Some("r1".into()), ..bench::config() }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn pairs(some: &[(&str, &str)]) -> BTreeMap<String, String> {
    some.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Lines are cut into words in 0, which are counted in 1.
fn member() -> StreamsMember {
    let internal = |partitions, config| InternalTopic { partitions, replication_factor: -1, config };
    let lines = Subtopology {
        source_topics: set(&["lines"]),
        repartition_sink_topics: set(&["app-words"]),
        ..Subtopology::default()
    };
    let words = Subtopology {
        source_topics: set(&["names"]),
        repartition_source_topics: [("app-words".to_owned(), internal(Some(3), pairs(&[("retention.ms", "-1")])))]
            .into(),
        state_changelog_topics: [(
            "app-counts-changelog".to_owned(),
            internal(Some(7), pairs(&[("cleanup.policy", "compact")])),
        )]
        .into(),
        copartition_groups: vec![set(&["app-words", "names"])],
        ..Subtopology::default()
    };
    StreamsMember {
        process_id: "p".into(),
        endpoint: Some(("host".into(), 7070)),
        client_tags: pairs(&[("zone", "a")]),
        subtopologies: [("0".to_owned(), lines), ("1".to_owned(), words)].into(),
    }
}

fn ids(tasks: Tasks<'_>) -> BTreeSet<StreamsTaskId> {
    let of = |(name, partitions): &(&str, &[i32])| {
        let subtopology = (*name).to_owned();
        partitions
            .iter()
            .map(move |&partition| StreamsTaskId { subtopology: subtopology.clone(), partition })
            .collect::<Vec<_>>()
    };
    tasks.iter().flat_map(of).collect()
}

fn listed(tasks: Tasks<'_>) -> Option<Vec<request::TaskIds>> {
    let one = |(name, partitions): &(&str, &[i32])| request::TaskIds {
        subtopology_id: (*name).to_owned(),
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    Some(tasks.iter().map(one).collect())
}

fn told(tasks: Tasks<'_>) -> Vec<response::TaskIds> {
    let one = |(name, partitions): &(&str, &[i32])| response::TaskIds {
        subtopology_id: (*name).to_owned(),
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    tasks.iter().map(one).collect()
}

/// An answer with a target: active, standby and warm-up tasks.
fn target(epoch: i32, active: Tasks<'_>, standby: Tasks<'_>, warmup: Tasks<'_>) -> StreamsGroupHeartbeatResponse {
    StreamsGroupHeartbeatResponse {
        active_tasks: Some(told(active)),
        standby_tasks: Some(told(standby)),
        warmup_tasks: Some(told(warmup)),
        ..nothing(epoch)
    }
}

/// An answer without news.
fn nothing(epoch: i32) -> StreamsGroupHeartbeatResponse {
    StreamsGroupHeartbeatResponse {
        member_epoch: epoch,
        heartbeat_interval_ms: 5000,
        status: Some(Vec::new()),
        ..Default::default()
    }
}

fn status(code: i8) -> Option<Vec<response::Status>> {
    Some(vec![response::Status { status_code: code, status_detail: "why".into(), ..Default::default() }])
}

/// The heartbeat that says nothing new.
fn plain(epoch: i32) -> StreamsGroupHeartbeatRequest {
    StreamsGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: "me".into(),
        member_epoch: epoch,
        ..Default::default()
    }
}

fn has(epoch: i32, active: Tasks<'_>, standby: Tasks<'_>, warmup: Tasks<'_>) -> StreamsGroupHeartbeatRequest {
    StreamsGroupHeartbeatRequest {
        active_tasks: listed(active),
        standby_tasks: listed(standby),
        warmup_tasks: listed(warmup),
        ..plain(epoch)
    }
}

impl Spoken for StreamsMembership {
    type Request = StreamsGroupHeartbeatRequest;

    const TOPICS: &'static [&'static str] = &["lines", "names", "app-words"];
    const INSTANCES: &'static [Option<&'static str>] = &[None];

    fn settings() -> MembershipConfig {
        config()
    }

    fn new_member(config: MembershipConfig, now: Instant) -> Self {
        Self::new(config, member(), now)
    }

    fn state(&self) -> MemberState {
        self.state()
    }

    fn request(request: GroupRequest) -> StreamsGroupHeartbeatRequest {
        let GroupRequest::StreamsHeartbeat(request) = request else { panic!("{request:?} is no heartbeat") };
        *request
    }

    fn heard(request: &StreamsGroupHeartbeatRequest) -> Heard {
        let partitions = |tasks: &Vec<request::TaskIds>| tasks.iter().flat_map(|one| one.partitions.clone()).collect();
        Heard { epoch: request.member_epoch, held: request.active_tasks.as_ref().map(partitions) }
    }

    fn refusal(code: ErrorCode) -> GroupResponse {
        let error_message = Some("the broker's words".to_owned());
        let response = StreamsGroupHeartbeatResponse { error_code: code.code(), error_message, ..Default::default() };
        GroupResponse::StreamsHeartbeat(response)
    }

    fn told(epoch: i32, active: Option<&[i32]>) -> GroupResponse {
        let target = active.map(|partitions| target(epoch, &[("0", partitions)], &[], &[]));
        GroupResponse::StreamsHeartbeat(target.unwrap_or_else(|| nothing(epoch)))
    }
}

impl Bench {
    /// About to join.
    fn new() -> Self {
        let mut bench = Self::joining(config());
        assert!(matches!(bench.step(), Step::Wait));
        bench.find_coordinator();
        bench
    }

    /// In the group with epoch 1, with task 0_0 and a standby of 1_1.
    fn with_standby() -> Self {
        let mut bench = Self::new();
        bench.exchange(target(1, &[("0", &[0])], &[("1", &[1])], &[]));
        bench.take_over();
        bench.exchange(nothing(1));
        assert_eq!((bench.member.state(), bench.beat()), (MemberState::Stable, None));
        bench
    }

    fn answer(&mut self, token: u64, answer: StreamsGroupHeartbeatResponse) {
        self.respond(token, Ok(GroupResponse::StreamsHeartbeat(answer)));
    }

    /// Sends the heartbeat that is due, and answers it.
    fn exchange(&mut self, answer: StreamsGroupHeartbeatResponse) -> StreamsGroupHeartbeatRequest {
        let (token, request) = self.beat().expect("a heartbeat is due");
        self.answer(token, answer);
        request
    }

    /// As [`exchange`](Self::exchange), after the interval.
    fn exchange_later(&mut self, answer: StreamsGroupHeartbeatResponse) -> StreamsGroupHeartbeatRequest {
        self.now += INTERVAL;
        self.exchange(answer)
    }
}

fn tps(some: &[(&str, i32)]) -> BTreeSet<TopicPartition> {
    some.iter().map(|(topic, partition)| TopicPartition::new(*topic, *partition)).collect()
}

#[test]
fn a_member_joins_with_its_topology_and_then_says_what_it_has() {
    let mut bench = Bench::new();
    let (token, request) = bench.beat().unwrap();
    let pair =
        |key: &str, value: &str| request::KeyValue { key: key.into(), value: value.into(), ..Default::default() };
    let lines = request::Subtopology {
        subtopology_id: "0".into(),
        source_topics: vec!["lines".into()],
        repartition_sink_topics: vec!["app-words".into()],
        ..Default::default()
    };
    let words = request::Subtopology {
        subtopology_id: "1".into(),
        source_topics: vec!["names".into()],
        repartition_source_topics: vec![request::TopicInfo {
            name: "app-words".into(),
            partitions: 3,
            replication_factor: -1,
            topic_configs: vec![pair("retention.ms", "-1")],
            ..Default::default()
        }],
        state_changelog_topics: vec![request::TopicInfo {
            name: "app-counts-changelog".into(),
            partitions: 0,
            replication_factor: -1,
            topic_configs: vec![pair("cleanup.policy", "compact")],
            ..Default::default()
        }],
        copartition_groups: vec![request::CopartitionGroup {
            source_topics: vec![0],
            repartition_source_topics: vec![0],
            ..Default::default()
        }],
        ..Default::default()
    };
    let joins = StreamsGroupHeartbeatRequest {
        endpoint_information_epoch: -1,
        rack_id: Some("r1".into()),
        rebalance_timeout_ms: 300_000,
        topology: Some(request::Topology { epoch: 0, subtopologies: vec![lines, words], ..Default::default() }),
        process_id: Some("p".into()),
        user_endpoint: Some(request::Endpoint { host: "host".into(), port: 7070, ..Default::default() }),
        client_tags: Some(vec![pair("zone", "a")]),
        ..has(0, &[], &[], &[])
    };
    assert_eq!(request, joins);

    bench.answer(token, target(1, &[("0", &[0, 2]), ("1", &[1])], &[("1", &[0])], &[("1", &[2])]));
    let taken = bench.take_over();
    assert_eq!(taken, tps(&[("lines", 0), ("lines", 2), ("names", 1), ("app-words", 1)]));
    let (token, request) = bench.beat().unwrap();
    assert_eq!(request, has(1, &[("0", &[0, 2]), ("1", &[1])], &[("1", &[0])], &[("1", &[2])]));
    bench.answer(token, nothing(1));
    assert_eq!(bench.exchange_later(nothing(1)), plain(1));
}

#[test]
fn the_listener_hears_of_standbys_and_readiness_though_no_partition_comes_or_goes() {
    let mut bench = Bench::with_standby();
    let assignment = |bench: &Bench| bench.member.streams_group().unwrap().assignment;
    let ready = |standby, is_group_ready| StreamsAssignment {
        active: ids(&[("0", &[0])]),
        standby: ids(standby),
        warmup: BTreeSet::new(),
        is_group_ready,
    };
    assert_eq!(assignment(&bench), ready(&[("1", &[1])], true));

    bench.exchange_later(target(2, &[("0", &[0])], &[("1", &[2])], &[]));
    assert_eq!(bench.release(), (tps(&[("lines", 0)]), false));
    let Step::Acquire(Acquire { partitions, .. }) = bench.step() else { panic!("the listener hears nothing") };
    assert_eq!(partitions, tps(&[("lines", 0)]));
    assert_eq!(assignment(&bench), ready(&[("1", &[2])], true), "within the listener's call it is the new one");
    bench.member.acquired();
    assert_eq!(bench.exchange(nothing(2)), has(2, &[("0", &[0])], &[("1", &[2])], &[]));

    bench.exchange_later(StreamsGroupHeartbeatResponse { status: status(3), ..nothing(2) });
    bench.take_over();
    assert_eq!(assignment(&bench), ready(&[("1", &[2])], false));
    bench.exchange(StreamsGroupHeartbeatResponse { status: status(3), ..nothing(2) });
    bench.exchange_later(nothing(2));
    bench.take_over();
    assert_eq!(assignment(&bench), ready(&[("1", &[2])], true));
}

#[test]
fn tasks_are_named_until_they_are_given_up_and_as_soon_as_they_are_taken() {
    let mut bench = Bench::with_standby();
    bench.exchange_later(target(2, &[("1", &[1])], &[], &[]));
    assert_eq!(bench.release(), (BTreeSet::new(), false));
    let Step::Acquire(Acquire { partitions, .. }) = bench.step() else { panic!("nothing is taken over") };
    assert_eq!(partitions, tps(&[("names", 1), ("app-words", 1)]));
    // An answer is lost, and the coordinator is told anew before the listener has returned.
    bench.now += INTERVAL;
    let (token, request) = bench.beat().unwrap();
    assert_eq!(request, plain(2));
    bench.respond(token, Err(ClientError::timeout("heartbeat", INTERVAL)));
    bench.find_coordinator();
    bench.now += INTERVAL;
    let (_, request) = bench.beat().unwrap();
    assert_eq!(request, has(2, &[("0", &[0]), ("1", &[1])], &[("1", &[1])], &[]));
}

#[test]
fn who_may_have_missed_an_assignment_gives_up_its_tasks_in_good_order_and_joins_anew() {
    // What the answers after one that was lost are, and whether the member joins anew.
    let cases: [(&[StreamsGroupHeartbeatResponse], bool); 3] = [
        (&[nothing(1)], true),
        (&[nothing(2)], true),
        (&[target(2, &[("0", &[0])], &[("1", &[1])], &[]), nothing(2)], false),
    ];
    for (answers, rejoins) in cases {
        let mut bench = Bench::with_standby();
        bench.now += INTERVAL;
        let (token, _) = bench.beat().unwrap();
        bench.respond(token, Err(ClientError::timeout("heartbeat", INTERVAL)));
        bench.find_coordinator();
        for answer in answers {
            bench.exchange_later(answer.clone());
        }
        if !rejoins {
            assert!(!bench.member.rejoin_needed());
            continue;
        }
        assert!(bench.member.rejoin_needed());
        assert_eq!(bench.release(), (BTreeSet::new(), false), "not lost: what was done is committed");
        assert_eq!(bench.member.state(), MemberState::Joining);
        let joins = bench.exchange(target(2, &[("0", &[0])], &[], &[]));
        assert_eq!((joins.member_epoch, joins.active_tasks), (0, Some(Vec::new())));
        assert!(joins.topology.is_some());
        assert_eq!(bench.take_over(), tps(&[("lines", 0)]));
    }
}

#[test]
fn who_was_refused_has_missed_no_assignment() {
    let mut bench = Bench::with_standby();
    bench.now += INTERVAL;
    let (token, _) = bench.beat().unwrap();
    bench.refuse(token, ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(bench.exchange_later(nothing(1)), has(1, &[("0", &[0])], &[("1", &[1])], &[]));
    assert!(!bench.member.rejoin_needed());
}

#[test]
fn an_answer_to_what_was_asked_before_joining_anew_counts_for_nothing() {
    let mut bench = Bench::with_standby();
    bench.now += INTERVAL;
    let (token, _) = bench.beat().unwrap();
    bench.respond(token, Err(ClientError::timeout("heartbeat", INTERVAL)));
    bench.find_coordinator();
    bench.exchange_later(nothing(1));
    bench.now += INTERVAL;
    let (late, _) = bench.beat().unwrap();
    bench.release();
    bench.answer(late, target(1, &[("0", &[1])], &[], &[]));
    assert_eq!(bench.member.state(), MemberState::Joining);
    assert_eq!(bench.beat().unwrap().1.member_epoch, 0);
}

#[test]
fn a_cluster_that_does_not_know_the_protocol_is_told_in_kafkas_words() {
    let words = "The cluster does not support the STREAMS group protocol or does not support the versions of the STREAMS \
                 group protocol used by this client (used versions: 0 to 0).";
    let unsupported = ClientError::UnsupportedVersion {
        api: ApiKey::StreamsGroupHeartbeat,
        client_min: 0,
        client_max: 0,
        broker: None,
    };
    for answer in [Err(unsupported), Ok(StreamsMembership::refusal(ErrorCode::UnsupportedVersion))] {
        let mut bench = Bench::new();
        let (token, _) = bench.beat().unwrap();
        bench.respond(token, answer);
        let Step::Release(release) = bench.step() else { panic!("nothing is given up") };
        assert!(release.lost && release.always_tell, "standbys are lost too");
        bench.member.released();
        let Step::Fail(error) = bench.step() else { panic!("nothing is told") };
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn an_answer_that_makes_no_sense_ends_the_member() {
    let some = StreamsGroupHeartbeatResponse { standby_tasks: None, ..target(2, &[], &[], &[]) };
    for (answer, why) in [(target(2, &[("7", &[0])], &[], &[]), "7_0"), (some, "some kinds of tasks")] {
        let mut bench = Bench::with_standby();
        bench.exchange_later(answer);
        assert_eq!(bench.release(), (BTreeSet::new(), true));
        let Step::Fail(error) = bench.step() else { panic!("nothing is told") };
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn a_request_to_end_the_application_is_told_at_once_and_until_it_is_heard() {
    let mut bench = Bench::with_standby();
    bench.member.request_shutdown_of_application();
    let (token, request) = bench.beat().expect("it does not wait for the interval");
    assert!(request.shutdown_application);
    bench.respond(token, Err(ClientError::timeout("heartbeat", INTERVAL)));
    bench.find_coordinator();
    bench.now += Duration::from_secs(1);
    let (token, request) = bench.beat().expect("it may not have been heard");
    assert!(request.shutdown_application);
    bench.answer(token, StreamsGroupHeartbeatResponse { status: status(4), ..nothing(1) });
    assert_eq!(bench.beat(), None);
    let statuses = bench.member.streams_group().unwrap().statuses;
    assert_eq!(*statuses, [StreamsGroupStatus::ShutdownApplication("why".into())]);
}

#[test]
fn endpoints_are_taken_over_and_their_epoch_is_told() {
    let mut bench = Bench::with_standby();
    let topic = |topic: &str, partitions: &[i32]| response::TopicPartition {
        topic: topic.into(),
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    let endpoints = vec![response::EndpointToPartitions {
        user_endpoint: response::Endpoint { host: "other".into(), port: 9, ..Default::default() },
        active_partitions: vec![topic("lines", &[0, 1])],
        standby_partitions: vec![topic("names", &[2])],
        ..Default::default()
    }];
    let answer = StreamsGroupHeartbeatResponse {
        endpoint_information_epoch: 4,
        partitions_by_user_endpoint: Some(endpoints),
        ..nothing(1)
    };
    bench.exchange_later(answer);
    let at = ("other".to_owned(), 9);
    let expected = EndpointPartitions {
        active: [(at.clone(), tps(&[("lines", 0), ("lines", 1)]))].into(),
        standby: [(at, tps(&[("names", 2)]))].into(),
    };
    assert_eq!(*bench.member.streams_group().unwrap().endpoints, expected);
    let request = bench.exchange_later(StreamsGroupHeartbeatResponse { endpoint_information_epoch: 4, ..nothing(1) });
    assert_eq!(request.endpoint_information_epoch, 4);
    assert_eq!(*bench.member.streams_group().unwrap().endpoints, expected, "what is not told has not changed");
}

#[test]
fn a_member_that_goes_has_no_tasks() {
    let mut bench = Bench::with_standby();
    bench.member.leave("test", GroupMembershipOperation::Default, &bench.coordinator);
    assert_eq!(bench.beat().unwrap().1, plain(-1));
    assert!(bench.member.generation().is_reset());
    assert_eq!(bench.member.streams_group().unwrap().assignment, StreamsAssignment::default());
}
