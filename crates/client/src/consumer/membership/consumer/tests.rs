//! A member against a coordinator that answers by hand.

use std::time::Duration;

use vltava_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use vltava_protocol::messages::consumer_group_heartbeat_response as response;
use vltava_protocol::messages::metadata_response::MetadataResponseTopic;
use vltava_protocol::messages::{ConsumerGroupHeartbeatResponse, MetadataResponse};

use super::*;
use crate::TopicPartition;
use crate::config::{AutoOffsetReset, GroupProtocol};
use crate::consumer::assignor::RebalanceProtocol;
use crate::consumer::membership::Acquire;
use crate::consumer::subscription::SubscriptionPattern;

const INTERVAL: Duration = Duration::from_secs(5);

fn config() -> MembershipConfig {
    MembershipConfig {
        group_id: "g".into(),
        group_instance_id: None,
        group_protocol: GroupProtocol::Consumer,
        member_id: "me".into(),
        remote_assignor: None,
        rack_id: None,
        protocol: RebalanceProtocol::Eager,
        session_timeout: Duration::from_secs(45),
        rebalance_timeout: Duration::from_secs(300),
        heartbeat_interval: Duration::from_secs(3),
        retry_backoff: Duration::from_millis(100),
        retry_backoff_max: Duration::from_secs(1),
    }
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

/// A member, what it subscribes to, and the time. Topic `t` has the id 1.
struct Bench {
    member: ConsumerMembership,
    coordinator: Coordinator,
    subscription: SubscriptionState,
    now: Instant,
}

impl Bench {
    fn new(config: MembershipConfig) -> Self {
        let now = Instant::now();
        let coordinator = Coordinator::new(config.retry_backoff, config.retry_backoff_max);
        let mut subscription = SubscriptionState::new(AutoOffsetReset::Latest);
        subscription.subscribe_topics(["t".to_owned()].into()).unwrap();
        let mut bench = Self { member: ConsumerMembership::new(config, now), coordinator, subscription, now };
        bench.know(&[("t", 1)]);
        bench
    }

    fn know(&mut self, topics: &[(&str, u8)]) {
        let topic = |(name, number): &(&str, u8)| MetadataResponseTopic {
            name: Some((*name).to_owned()),
            topic_id: id(*number),
            ..Default::default()
        };
        let answer = MetadataResponse { topics: topics.iter().map(topic).collect(), ..Default::default() };
        let metadata = Arc::new(MetadataSnapshot::default().updated(&answer));
        self.member.on_metadata(&BTreeMap::new(), &metadata);
    }

    fn step(&mut self) -> Step {
        self.member.next_step(self.now, &mut self.coordinator, &mut self.subscription)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.member.tick(self.now, &mut self.coordinator);
    }

    fn find_coordinator(&mut self) {
        self.coordinator.want();
        assert!(self.coordinator.poll(self.now), "nobody looks for the coordinator");
        self.coordinator.on_found(self.now, &Ok(7));
        self.member.on_coordinator(self.now);
    }

    /// The next heartbeat, if there is one to send now.
    fn beat(&mut self) -> Option<(u64, ConsumerGroupHeartbeatRequest)> {
        self.member.tick(self.now, &mut self.coordinator);
        match self.member.next_request()? {
            (token, GroupRequest::ConsumerHeartbeat(request)) => Some((token, request)),
            other => panic!("{other:?} is no heartbeat"),
        }
    }

    fn answer(&mut self, token: u64, epoch: i32, assignment: Option<&[(u8, &[i32])]>) {
        let one = |(topic, partitions): &(u8, &[i32])| response::TopicPartitions {
            topic_id: id(*topic),
            partitions: partitions.to_vec(),
            ..Default::default()
        };
        let assignment = assignment.map(|topics| response::Assignment {
            topic_partitions: topics.iter().map(one).collect(),
            ..Default::default()
        });
        let response = ConsumerGroupHeartbeatResponse {
            member_epoch: epoch,
            heartbeat_interval_ms: 5000,
            assignment,
            ..Default::default()
        };
        self.respond(token, Ok(response));
    }

    fn refuse(&mut self, token: u64, code: ErrorCode) {
        let error_message = Some("the broker's words".to_owned());
        let response = ConsumerGroupHeartbeatResponse { error_code: code.code(), error_message, ..Default::default() };
        self.respond(token, Ok(response));
    }

    fn respond(&mut self, token: u64, answer: Result<ConsumerGroupHeartbeatResponse, ClientError>) {
        let answer = answer.map(GroupResponse::ConsumerHeartbeat);
        self.member.on_response(self.now, token, answer, &mut self.coordinator);
    }

    /// Gives up partitions as the core does; what is kept, and whether the rest is lost.
    fn release(&mut self) -> (BTreeSet<TopicPartition>, bool) {
        let Step::Release(release) = self.step() else { panic!("nothing is given up") };
        self.subscription.assign_from_group(release.keep.clone());
        self.member.released();
        (release.keep, release.lost)
    }

    fn acquire(&mut self) -> BTreeSet<TopicPartition> {
        let Step::Acquire(Acquire { partitions, notify: None }) = self.step() else { panic!("nothing is taken over") };
        self.subscription.assign_from_group(partitions.clone());
        self.member.acquired();
        partitions
    }

    fn take_over(&mut self) -> BTreeSet<TopicPartition> {
        self.release();
        self.acquire()
    }

    /// In the group with epoch 1, and partitions 0 and 1 of `t`.
    fn stable(config: MembershipConfig) -> Self {
        let mut bench = Self::new(config);
        assert!(matches!(bench.step(), Step::Wait));
        bench.find_coordinator();
        let (token, _) = bench.beat().unwrap();
        bench.answer(token, 1, Some(&[(1, &[0, 1])]));
        assert_eq!(bench.take_over(), tps("t", &[0, 1]));
        let (token, _) = bench.beat().unwrap();
        bench.answer(token, 1, None);
        assert_eq!((bench.member.state(), bench.beat()), (MemberState::Stable, None));
        bench
    }

    /// After the interval, a heartbeat that is answered with another target.
    fn retarget(&mut self, epoch: i32, target: &[(u8, &[i32])]) {
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
fn a_member_joins_with_everything_and_then_says_what_is_new() {
    let mut bench = Bench::new(config());
    assert_eq!(bench.beat(), None, "who does not poll does not join");
    assert!(matches!(bench.step(), Step::Wait));
    assert_eq!(bench.beat(), None, "there is no coordinator yet");
    bench.find_coordinator();
    let (token, request) = bench.beat().unwrap();
    assert_eq!(request, full(0, held(&[])));
    assert_eq!(bench.beat(), None, "one at a time");
    assert_eq!(bench.member.commit_generation(), Err(CommitVerdict::Failed));

    bench.answer(token, 1, Some(&[(1, &[0, 1])]));
    assert_eq!(bench.beat(), None, "there is nothing to say before the interval");
    assert_eq!(bench.take_over(), tps("t", &[0, 1]));
    let (token, request) = bench.beat().expect("it is taken over, which is told at once");
    assert_eq!(request, ConsumerGroupHeartbeatRequest { topic_partitions: held(&[(1, &[0, 1])]), ..plain(1) });
    bench.answer(token, 1, None);
    assert_eq!(
        bench.member.commit_generation().unwrap(),
        &Generation { id: 1, member_id: "me".into(), protocol: None }
    );

    assert_eq!(bench.member.next_tick(&bench.coordinator), Some(bench.now + INTERVAL));
    bench.pass(INTERVAL);
    assert_eq!(bench.beat().unwrap().1, plain(1));
}

#[test]
fn what_the_settings_name_is_told_when_joining() {
    let mut config = config();
    config.group_instance_id = Some("static".into());
    config.remote_assignor = Some("range".into());
    config.rack_id = Some("r1".into());
    let mut bench = Bench::new(config);
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
    let mut bench = Bench::new(config());
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

/// What a refusal means: the state, whether the application is told, whether another coordinator is looked for.
#[test]
fn refused_heartbeats() {
    use MemberState::{Fatal, Fenced, Stable};
    let cases = [
        (ErrorCode::CoordinatorLoadInProgress, Stable, false, false),
        (ErrorCode::NotCoordinator, Stable, false, true),
        (ErrorCode::CoordinatorNotAvailable, Stable, false, true),
        (ErrorCode::FencedMemberEpoch, Fenced, false, false),
        (ErrorCode::UnknownMemberId, Fenced, false, false),
        (ErrorCode::TopicAuthorizationFailed, Stable, true, false),
        (ErrorCode::GroupAuthorizationFailed, Fatal, true, false),
        (ErrorCode::UnreleasedInstanceId, Fatal, true, false),
        (ErrorCode::FencedInstanceId, Fatal, true, false),
        (ErrorCode::UnsupportedAssignor, Fatal, true, false),
        (ErrorCode::InvalidRegularExpression, Fatal, true, false),
        (ErrorCode::InvalidRequest, Fatal, true, false),
        (ErrorCode::GroupMaxSizeReached, Fatal, true, false),
        (ErrorCode::UnsupportedVersion, Fatal, true, false),
        (ErrorCode::GroupIdNotFound, Fatal, true, false),
        (ErrorCode::UnknownServerError, Fatal, true, false),
    ];
    for (code, state, is_told, loses_coordinator) in cases {
        let mut bench = Bench::stable(config());
        bench.pass(INTERVAL);
        let (token, _) = bench.beat().unwrap();
        bench.refuse(token, code);
        assert_eq!(bench.member.state(), state, "{code}");
        assert_eq!(bench.coordinator.node().is_none(), loses_coordinator, "{code}");
        if state != Stable {
            assert_eq!(bench.release(), (BTreeSet::new(), true), "{code}");
            assert_eq!(bench.member.commit_generation(), Err(CommitVerdict::Failed), "{code}");
        }
        let error = match bench.step() {
            Step::Fail(error) => Some(error),
            Step::Wait => None,
            other => panic!("{code}: {other:?}"),
        };
        assert_eq!(error.as_ref().and_then(ClientError::code), is_told.then_some(code));
        match state {
            Fatal => {
                assert!(matches!(bench.step(), Step::Fail(_)), "{code}: the consumer is of no use any more");
                bench.pass(Duration::from_secs(60));
                assert_eq!((bench.beat(), bench.member.next_tick(&bench.coordinator)), (None, None));
            }
            Fenced => assert_eq!(bench.beat().unwrap().1, full(0, held(&[])), "{code}: it joins at once"),
            _ => {
                if loses_coordinator {
                    bench.find_coordinator();
                }
                assert_eq!(bench.beat(), None, "{code}: after a pause");
                assert_eq!(bench.member.next_tick(&bench.coordinator), Some(bench.now + Duration::from_millis(100)));
                bench.pass(Duration::from_millis(100));
                let everything = full(1, held(&[(1, &[0, 1])]));
                assert_eq!(bench.beat().unwrap().1, everything, "{code}: nobody knows what was taken in");
                assert!(matches!(bench.step(), Step::Wait), "{code}: told once");
            }
        }
    }
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
        let mut bench = Bench::new(config());
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
fn a_heartbeat_without_an_answer_is_made_again_in_full_with_growing_pauses() {
    let mut bench = Bench::stable(config());
    bench.pass(INTERVAL);
    for pause in [100, 200, 400, 800, 1000] {
        let (token, _) = bench.beat().unwrap();
        bench.respond(token, Err(ClientError::timeout("heartbeat", Duration::from_secs(30))));
        assert_eq!(bench.coordinator.node(), None);
        bench.find_coordinator();
        bench.pass(Duration::from_millis(pause - 1));
        assert_eq!(bench.beat(), None, "{pause}");
        bench.now += Duration::from_millis(1);
    }
    let (token, request) = bench.beat().unwrap();
    assert_eq!(request, full(1, held(&[(1, &[0, 1])])));
    bench.answer(token, 1, Some(&[(1, &[0, 1])]));
    assert_eq!(bench.member.state(), MemberState::Stable, "the same assignment is no other");
    assert!(matches!(bench.step(), Step::Wait));
}

#[test]
fn an_answer_of_the_former_coordinator_counts_for_nothing() {
    let mut bench = Bench::stable(config());
    bench.pass(INTERVAL);
    let (token, _) = bench.beat().unwrap();
    bench.coordinator.lost("a commit failed");
    bench.find_coordinator();
    let (second, request) = bench.beat().expect("the next one goes at once");
    assert_eq!(request, full(1, held(&[(1, &[0, 1])])), "since the answer may have had an assignment");
    bench.answer(token, 9, Some(&[]));
    assert_eq!(bench.member.generation().id, 1);
    bench.answer(second, 2, Some(&[(1, &[0])]));
    assert_eq!(bench.member.generation().id, 2);
}

#[test]
fn what_is_revoked_is_told_when_the_listener_knows() {
    let mut bench = Bench::stable(config());
    bench.retarget(1, &[(1, &[0])]);
    assert!(matches!(bench.step(), Step::Release(_)));
    // The commit before takes its time, while heartbeats go on and say nothing of it.
    bench.pass(INTERVAL);
    let (token, request) = bench.beat().unwrap();
    assert_eq!(request, plain(1));
    bench.answer(token, 1, None);
    assert_eq!(bench.release(), (tps("t", &[0]), false));
    assert_eq!(bench.beat(), None, "not before the rest is taken over");
    assert_eq!(bench.acquire(), tps("t", &[0]));
    let (_, request) = bench.beat().unwrap();
    assert_eq!(request, ConsumerGroupHeartbeatRequest { topic_partitions: held(&[(1, &[0])]), ..plain(1) });
}

#[test]
fn what_is_being_taken_over_is_held() {
    let mut bench = Bench::stable(config());
    bench.retarget(2, &[(1, &[1, 2])]);
    bench.release();
    assert!(matches!(bench.step(), Step::Acquire(_)));
    // The listener takes its time.
    bench.pass(INTERVAL);
    let (token, request) = bench.beat().unwrap();
    assert_eq!(request, plain(2), "it is not acknowledged");
    bench.refuse(token, ErrorCode::CoordinatorLoadInProgress);
    bench.pass(Duration::from_millis(100));
    assert_eq!(bench.beat().unwrap().1.topic_partitions, held(&[(1, &[0, 1, 2])]));
}

#[test]
fn what_others_may_have_by_now_is_not_taken_over() {
    let mut bench = Bench::stable(config());
    bench.retarget(2, &[(1, &[1, 2, 3])]);
    // A heartbeat in full that names neither 2 nor 3 is answered when they are in another target.
    bench.pass(INTERVAL);
    let (token, _) = bench.beat().unwrap();
    bench.refuse(token, ErrorCode::CoordinatorLoadInProgress);
    bench.pass(Duration::from_millis(100));
    let (token, request) = bench.beat().unwrap();
    assert_eq!(request.topic_partitions, held(&[(1, &[0, 1])]));
    bench.release();
    assert!(matches!(bench.step(), Step::Wait));
    bench.answer(token, 3, Some(&[(1, &[2])]));
    assert_eq!(bench.acquire(), tps("t", &[1, 2]), "1 is still held, 3 is not its own any more");
    let (token, request) = bench.beat().unwrap();
    assert_eq!(request.topic_partitions, held(&[(1, &[1, 2])]));
    bench.answer(token, 3, None);
    assert_eq!(bench.take_over(), tps("t", &[2]));
}

#[test]
fn one_target_after_the_other_is_taken_over() {
    let mut bench = Bench::stable(config());
    bench.retarget(2, &[(1, &[0])]);
    assert!(matches!(bench.step(), Step::Release(_)));
    bench.retarget(3, &[(1, &[0, 1, 2])]);
    assert_eq!(bench.release(), (tps("t", &[0]), false), "what was begun is done first");
    assert_eq!(bench.acquire(), tps("t", &[0]));
    let (token, request) = bench.beat().unwrap();
    assert_eq!(request, ConsumerGroupHeartbeatRequest { topic_partitions: held(&[(1, &[0])]), ..plain(3) });
    bench.answer(token, 3, None);
    assert_eq!(bench.member.state(), MemberState::Reconciling);
    assert_eq!(bench.take_over(), tps("t", &[0, 1, 2]));
    bench.beat().unwrap();
    assert_eq!(bench.member.state(), MemberState::Stable);
}

#[test]
fn a_target_that_came_to_nothing_is_acknowledged_without_the_listener() {
    let mut bench = Bench::stable(config());
    bench.retarget(2, &[(1, &[0])]);
    bench.retarget(3, &[(1, &[0, 1])]);
    assert!(matches!(bench.step(), Step::Wait));
    let (_, request) = bench.beat().expect("the coordinator waits to hear it");
    assert_eq!(request, ConsumerGroupHeartbeatRequest { topic_partitions: held(&[(1, &[0, 1])]), ..plain(3) });
    assert_eq!(bench.member.state(), MemberState::Stable);
}

#[test]
fn topics_without_a_name_are_waited_for() {
    let mut bench = Bench::stable(config());
    bench.retarget(2, &[(1, &[0, 1]), (2, &[4])]);
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
    let mut bench = Bench::new(config());
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
    bench.retarget(2, &[(8, &[0, 1])]);
    let Step::Release(release) = bench.step() else { panic!("the other topic is not given up") };
    assert_eq!((release.keep, release.lost), (BTreeSet::new(), false));
    assert_eq!(release.deleted, tps("t", &[0, 1]), "offsets of the one mean nothing in the other");
    bench.subscription.assign_from_group(BTreeSet::new());
    bench.member.released();
    assert_eq!(bench.acquire(), tps("t", &[0, 1]));
    assert_eq!(bench.beat().unwrap().1.topic_partitions, held(&[(8, &[0, 1])]));
}

#[test]
fn who_is_fenced_in_between_loses_everything_and_joins() {
    // How far it had come: still giving up, having given up, taking over.
    for progress in 0..3 {
        let mut bench = Bench::stable(config());
        bench.retarget(2, &[(1, &[0, 2])]);
        let Step::Release(release) = bench.step() else { panic!("nothing is given up") };
        if progress > 0 {
            bench.subscription.assign_from_group(release.keep.clone());
            bench.member.released();
        }
        if progress > 1 {
            assert!(matches!(bench.step(), Step::Acquire(_)));
            bench.subscription.assign_from_group(tps("t", &[0, 2]));
        }
        bench.pass(INTERVAL);
        let (token, _) = bench.beat().unwrap();
        bench.refuse(token, ErrorCode::FencedMemberEpoch);
        // What was begun ends, and means nothing any more.
        match progress {
            0 => bench.member.released(),
            2 => bench.member.acquired(),
            _ => {}
        }
        assert_eq!(bench.beat(), None, "{progress}: not before everything is given up");
        assert!(bench.member.has_lost_partitions() && bench.member.rejoin_needed());
        assert_eq!(bench.release(), (BTreeSet::new(), true), "{progress}");
        let (token, request) = bench.beat().unwrap();
        assert_eq!(request, full(0, held(&[])), "{progress}");
        bench.answer(token, 5, Some(&[(1, &[1])]));
        assert_eq!(bench.take_over(), tps("t", &[1]), "{progress}");
    }
}

#[test]
fn who_does_not_poll_leaves_and_joins_with_the_next_poll() {
    for (instance, epoch) in [(None, -1), (Some("static".to_owned()), -2)] {
        let mut config = config();
        config.group_instance_id.clone_from(&instance);
        let mut bench = Bench::stable(config);
        bench.pass(Duration::from_secs(300));
        let (token, request) = bench.beat().unwrap();
        assert_eq!(request, ConsumerGroupHeartbeatRequest { instance_id: instance, ..plain(epoch) });
        assert!(bench.member.rejoin_needed(), "a poll that waits is woken");
        bench.answer(token, epoch, None);
        bench.pass(Duration::from_secs(300));
        assert_eq!((bench.beat(), bench.member.next_tick(&bench.coordinator)), (None, None));
        assert_eq!(bench.member.commit_generation(), Err(CommitVerdict::Failed));
        assert_eq!(bench.release(), (BTreeSet::new(), true));
        assert_eq!(bench.beat().unwrap().1.member_epoch, 0);
    }
}

#[test]
fn who_leaves_says_so_and_may_come_back() {
    use GroupMembershipOperation::{Default as OwnWay, LeaveGroup, RemainInGroup};
    let cases = [
        (None, OwnWay, Some(-1)),
        (None, LeaveGroup, Some(-1)),
        (None, RemainInGroup, None),
        (Some("static"), OwnWay, Some(-2)),
        (Some("static"), LeaveGroup, Some(-1)),
        (Some("static"), RemainInGroup, Some(-2)),
    ];
    for (instance, operation, epoch) in cases {
        let mut config = config();
        config.group_instance_id = instance.map(str::to_owned);
        let mut bench = Bench::stable(config);
        bench.pass(INTERVAL);
        let (late, _) = bench.beat().unwrap();
        bench.member.leave("it is closed", operation, &bench.coordinator);
        assert_eq!(bench.beat().map(|(_, beat)| beat.member_epoch), epoch, "{instance:?} {operation:?}");
        bench.answer(late, 7, Some(&[(1, &[0])]));
        assert_eq!((bench.member.state(), bench.beat()), (MemberState::Unsubscribed, None));
        assert!(matches!(bench.step(), Step::Wait));
        let (token, request) = bench.beat().unwrap();
        assert_eq!((request.member_epoch, request.topic_partitions), (0, held(&[])));
        bench.answer(token, 8, Some(&[(1, &[0])]));
        assert_eq!(bench.take_over(), tps("t", &[0]));
    }
}

#[test]
fn who_is_in_no_group_has_nobody_to_tell() {
    let mut bench = Bench::stable(config());
    bench.pass(INTERVAL);
    let (token, _) = bench.beat().unwrap();
    bench.refuse(token, ErrorCode::UnknownMemberId);
    bench.member.leave("it is closed", GroupMembershipOperation::LeaveGroup, &bench.coordinator);
    assert_eq!(bench.beat(), None);
}

#[test]
fn what_refused_commits_mean() {
    let mut bench = Bench::stable(config());
    let sent = bench.member.generation().clone();
    let cases = [
        (ErrorCode::StaleMemberEpoch, CommitVerdict::Stale),
        (ErrorCode::UnknownMemberId, CommitVerdict::Failed),
        (ErrorCode::IllegalGeneration, CommitVerdict::Failed),
        (ErrorCode::FencedInstanceId, CommitVerdict::Fatal),
    ];
    for (code, verdict) in cases {
        assert_eq!(bench.member.on_commit_error(code, &sent), verdict, "{code}");
        assert_eq!(bench.member.state(), MemberState::Stable, "{code}: a heartbeat tells who is out");
    }
    bench.pass(INTERVAL);
    let (token, _) = bench.beat().unwrap();
    bench.refuse(token, ErrorCode::UnknownMemberId);
    assert_eq!(bench.member.on_commit_error(ErrorCode::StaleMemberEpoch, &sent), CommitVerdict::Failed);
}

#[test]
fn a_member_without_answers_is_in_no_session() {
    let mut bench = Bench::stable(config());
    let in_session = |bench: &Bench| bench.member.is_in_session(bench.now);
    assert!(in_session(&bench));
    // Stopped between a heartbeat and its answer: what counts is when the coordinator can have got it.
    bench.pass(INTERVAL);
    let (token, _) = bench.beat().unwrap();
    bench.now += INTERVAL * 3;
    assert!(!in_session(&bench));
    bench.answer(token, 1, None);
    assert!(!in_session(&bench));
    let (token, _) = bench.beat().expect("long due");
    bench.answer(token, 1, None);
    assert!(in_session(&bench));
    bench.now += Duration::from_secs(299);
    bench.pass(Duration::ZERO);
    let (token, _) = bench.beat().unwrap();
    bench.answer(token, 1, None);
    bench.now += Duration::from_secs(1);
    assert!(!in_session(&bench), "it has not polled");
}

#[test]
fn no_member_asks_for_a_rebalance() {
    let mut bench = Bench::stable(config());
    bench.member.request_rejoin("enforced");
    assert!(matches!(bench.step(), Step::Wait) && !bench.member.rejoin_needed());
    assert_eq!(bench.beat(), None);
}
