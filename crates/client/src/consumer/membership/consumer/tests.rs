//! What is of the consumer protocol alone.

use std::time::Duration;

use vltava_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use vltava_protocol::messages::consumer_group_heartbeat_response as response;

use super::*;
use crate::config::GroupProtocol;
use crate::consumer::membership::modern::MemberState;
use crate::consumer::membership::modern::tests::{Heard, INTERVAL, Spoken, known};
use crate::consumer::membership::tests as bench;
use crate::consumer::membership::{Membership as _, Step};
use crate::consumer::subscription::SubscriptionPattern;

type Bench = bench::Bench<ConsumerMembership>;

fn config() -> MembershipConfig {
    MembershipConfig { group_protocol: GroupProtocol::Consumer, ..bench::config() }
}

fn id(number: u8) -> Uuid {
    Uuid::from_bytes([number; 16])
}

fn tps(topic: &str, partitions: &[i32]) -> BTreeSet<TopicPartition> {
    partitions.iter().map(|partition| TopicPartition::new(topic, *partition)).collect()
}

fn held(topics: &[(u8, &[i32])]) -> Option<Vec<TopicPartitions>> {
    let one = |(topic, partitions): &(u8, &[i32])| TopicPartitions {
        topic_id: id(*topic),
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    Some(topics.iter().map(one).collect())
}

/// An answer with a target: partitions by the numbers of topics. Topic `t` has the number 1.
fn told(member_epoch: i32, target: Option<&[(u8, &[i32])]>) -> ConsumerGroupHeartbeatResponse {
    let one = |(topic, partitions): &(u8, &[i32])| response::TopicPartitions {
        topic_id: id(*topic),
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    let assignment = target.map(|topics| response::Assignment {
        topic_partitions: topics.iter().map(one).collect(),
        ..Default::default()
    });
    ConsumerGroupHeartbeatResponse { member_epoch, heartbeat_interval_ms: 5000, assignment, ..Default::default() }
}

impl Spoken for ConsumerMembership {
    type Request = ConsumerGroupHeartbeatRequest;

    const TOPICS: &'static [&'static str] = &["t"];
    const INSTANCES: &'static [Option<&'static str>] = &[None, Some("static")];

    fn settings() -> MembershipConfig {
        config()
    }

    fn new_member(config: MembershipConfig, now: Instant) -> Self {
        Self::new(config, now)
    }

    fn state(&self) -> MemberState {
        self.state()
    }

    fn request(request: GroupRequest) -> ConsumerGroupHeartbeatRequest {
        let GroupRequest::ConsumerHeartbeat(request) = request else { panic!("{request:?} is no heartbeat") };
        request
    }

    fn heard(request: &ConsumerGroupHeartbeatRequest) -> Heard {
        let partitions = |topics: &Vec<TopicPartitions>| topics.iter().flat_map(|one| one.partitions.clone()).collect();
        Heard { epoch: request.member_epoch, held: request.topic_partitions.as_ref().map(partitions) }
    }

    fn refusal(code: ErrorCode) -> GroupResponse {
        let error_message = Some("the broker's words".to_owned());
        let response = ConsumerGroupHeartbeatResponse { error_code: code.code(), error_message, ..Default::default() };
        GroupResponse::ConsumerHeartbeat(response)
    }

    fn told(epoch: i32, target: Option<&[i32]>) -> GroupResponse {
        let topics = target.map(|partitions| [(1, partitions)]);
        GroupResponse::ConsumerHeartbeat(told(epoch, topics.as_ref().map(|topics| &topics[..])))
    }
}

impl Bench {
    fn know(&mut self, topics: &[(&str, u8)]) {
        self.member.on_metadata(&BTreeMap::new(), &known(topics));
    }

    fn answer(&mut self, token: u64, epoch: i32, target: Option<&[(u8, &[i32])]>) {
        self.respond(token, Ok(GroupResponse::ConsumerHeartbeat(told(epoch, target))));
    }

    /// After the interval, a heartbeat that is answered with another target.
    fn retarget_topics(&mut self, epoch: i32, target: &[(u8, &[i32])]) {
        self.pass(INTERVAL);
        let (token, _) = self.beat().unwrap();
        self.answer(token, epoch, Some(target));
    }
}

/// The heartbeat that says nothing new.
fn plain(epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: "me".into(),
        member_epoch: epoch,
        ..Default::default()
    }
}

fn full(epoch: i32, topic_partitions: Option<Vec<TopicPartitions>>) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 300_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions,
        ..plain(epoch)
    }
}

#[test]
fn what_the_settings_name_is_told_when_joining() {
    let mut config = config();
    config.group_instance_id = Some("static".into());
    config.remote_assignor = Some("range".into());
    config.rack_id = Some("r1".into());
    let mut bench = Bench::joining(config);
    bench.subscription.unsubscribe();
    bench.subscription.subscribe_coordinator_pattern(SubscriptionPattern::new("a|b")).unwrap();
    bench.step();
    bench.find_coordinator();
    let (token, request) = bench.beat().unwrap();
    let said = ConsumerGroupHeartbeatRequest {
        instance_id: Some("static".into()),
        server_assignor: Some("range".into()),
        rack_id: Some("r1".into()),
        subscribed_topic_names: Some(Vec::new()),
        subscribed_topic_regex: Some("a|b".into()),
        ..full(0, held(&[]))
    };
    assert_eq!(request, said);
    bench.refuse(token, ErrorCode::CoordinatorLoadInProgress);
    bench.pass(Duration::from_millis(100));
    assert_eq!(bench.beat().unwrap().1, said, "it joins still");
}

#[test]
fn another_subscription_is_told_with_the_next_heartbeat() {
    let mut bench = Bench::stable(config());
    bench.subscription.subscribe_topics(["t".to_owned(), "u".to_owned()].into()).unwrap();
    assert!(matches!(bench.step(), Step::Wait));
    assert_eq!(bench.beat(), None, "not before the interval, as in Kafka");
    bench.pass(INTERVAL);
    let names = Some(vec!["t".to_owned(), "u".to_owned()]);
    let (_, request) = bench.beat().unwrap();
    assert_eq!(request, ConsumerGroupHeartbeatRequest { subscribed_topic_names: names, ..plain(1) });
}

#[test]
fn a_pattern_that_is_taken_back_is_told_as_an_empty_one() {
    let mut bench = Bench::joining(config());
    bench.subscription.unsubscribe();
    bench.subscription.subscribe_coordinator_pattern(SubscriptionPattern::new("t.*")).unwrap();
    bench.step();
    bench.find_coordinator();
    let (token, _) = bench.beat().unwrap();
    bench.answer(token, 1, Some(&[]));
    bench.subscription.unsubscribe();
    bench.subscription.subscribe_topics(["t".to_owned()].into()).unwrap();
    bench.take_over();
    let (_, request) = bench.beat().unwrap();
    assert_eq!(request.subscribed_topic_regex.as_deref(), Some(""));
    assert_eq!(request.subscribed_topic_names, Some(vec!["t".to_owned()]));
}

#[test]
fn what_the_application_reads_of_a_refusal_is_what_kafka_says() {
    let texts = [
        (ErrorCode::UnsupportedVersion, NO_PROTOCOL),
        (
            ErrorCode::InvalidRegularExpression,
            "Invalid RE2J SubscriptionPattern provided in the call to subscribe. the broker's words",
        ),
        (ErrorCode::UnsupportedAssignor, "the broker's words"),
    ];
    for (code, text) in texts {
        let mut bench = Bench::stable(config());
        bench.pass(INTERVAL);
        let (token, _) = bench.beat().unwrap();
        bench.refuse(token, code);
        bench.release();
        let Step::Fail(error) = bench.step() else { panic!("{code} is not told") };
        assert_eq!(error.to_string(), format!("{}: {text}", code.name()));
    }
    let unsupported = |client_min| ClientError::UnsupportedVersion {
        api: vltava_protocol::ApiKey::ConsumerGroupHeartbeat,
        client_min,
        client_max: 1,
        broker: None,
    };
    for (error, text) in [(unsupported(0), NO_PROTOCOL), (unsupported(1), NO_REGEX)] {
        let mut bench = Bench::joining(config());
        bench.step();
        bench.find_coordinator();
        let (token, _) = bench.beat().unwrap();
        bench.respond(token, Err(error));
        bench.release();
        let Step::Fail(error) = bench.step() else { panic!("{text}") };
        assert_eq!(error.to_string(), format!("UNSUPPORTED_VERSION: {text}"));
    }
}

const NO_PROTOCOL: &str = "The cluster does not support the new CONSUMER group protocol. Set group.protocol=classic on the \
     consumer configs to revert to the CLASSIC protocol until the cluster is upgraded.";
const NO_REGEX: &str = "The cluster does not support regular expressions resolution on ConsumerGroupHeartbeat API version 0. \
     It must be upgraded to use ConsumerGroupHeartbeat API version >= 1 to allow to subscribe to a SubscriptionPattern.";

#[test]
fn topics_without_a_name_are_waited_for() {
    let mut bench = Bench::stable(config());
    bench.retarget_topics(2, &[(1, &[0, 1]), (2, &[4])]);
    assert_eq!(bench.member.unresolved(bench.now), [id(2)].into());
    assert_eq!(bench.member.unresolved(bench.now), BTreeSet::new(), "not before a pause");
    assert_eq!(bench.member.next_tick(&bench.coordinator), Some(bench.now + Duration::from_millis(100)));
    assert!(matches!(bench.step(), Step::Wait));
    let (token, request) = bench.beat().expect("what has a name is acknowledged");
    assert_eq!(request, ConsumerGroupHeartbeatRequest { topic_partitions: held(&[(1, &[0, 1])]), ..plain(2) });
    bench.answer(token, 2, None);
    assert!(matches!(bench.step(), Step::Wait));
    assert_eq!(bench.beat(), None, "once");
    bench.now += Duration::from_millis(100);
    assert_eq!(bench.member.unresolved(bench.now), [id(2)].into());
    bench.know(&[("t", 1), ("u", 2)]);
    assert_eq!(bench.member.unresolved(bench.now + INTERVAL), BTreeSet::new());
    assert_eq!(bench.member.take_assigned_topics(), Some(["t".to_owned(), "u".to_owned()].into()));
    let mut all = tps("t", &[0, 1]);
    all.extend(tps("u", &[4]));
    assert_eq!(bench.take_over(), all);
}

#[test]
fn names_of_topics_come_from_a_look_up_too() {
    let mut bench = Bench::joining(config());
    bench.know(&[]);
    bench.step();
    bench.find_coordinator();
    let (token, _) = bench.beat().unwrap();
    bench.answer(token, 1, Some(&[(1, &[3])]));
    assert_eq!(bench.member.unresolved(bench.now), [id(1)].into());
    assert_eq!(bench.take_over(), BTreeSet::new(), "the listener hears that there is nothing yet");
    bench.member.on_topic_names([(id(1), "t".to_owned()), (id(5), "other".to_owned())].into());
    assert_eq!(bench.member.take_assigned_topics(), Some(["t".to_owned()].into()));
    let (token, request) = bench.beat().unwrap();
    assert_eq!(request.topic_partitions, held(&[]));
    bench.release();
    assert!(matches!(bench.step(), Step::Wait), "the coordinator reads that the member holds nothing");
    bench.answer(token, 1, None);
    assert_eq!(bench.acquire(), tps("t", &[3]));
}

#[test]
fn a_topic_that_was_made_anew_is_given_up_before_it_is_taken_over() {
    let mut bench = Bench::stable(config());
    assert_eq!(bench.member.deleted_topics(), BTreeSet::new());
    bench.know(&[]);
    assert_eq!(bench.member.deleted_topics(), BTreeSet::new(), "that may be an error of the metadata");
    bench.know(&[("t", 8)]);
    assert_eq!(bench.member.deleted_topics(), ["t".to_owned()].into(), "before the coordinator says so");
    bench.retarget_topics(2, &[(8, &[0, 1])]);
    let Step::Release(release) = bench.step() else { panic!("the other topic is not given up") };
    assert_eq!((release.keep, release.lost), (BTreeSet::new(), false));
    assert_eq!(release.deleted, tps("t", &[0, 1]), "offsets of the one mean nothing in the other");
    bench.subscription.assign_from_group(BTreeSet::new());
    bench.member.released();
    assert_eq!(bench.acquire(), tps("t", &[0, 1]));
    assert_eq!(bench.beat().unwrap().1.topic_partitions, held(&[(8, &[0, 1])]));
}
