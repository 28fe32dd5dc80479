//! What holds for every member whose coordinator assigns, under each of the protocols.

use std::fmt::Debug;

use vltava_protocol::Uuid;
use vltava_protocol::messages::MetadataResponse;
use vltava_protocol::messages::metadata_response::MetadataResponseTopic;

use super::*;
use crate::TopicPartition;
use crate::consumer::membership::Acquire;
use crate::consumer::membership::consumer::ConsumerMembership;
use crate::consumer::membership::streams::StreamsMembership;
use crate::consumer::membership::tests::Bench;

pub(in super::super) const INTERVAL: Duration = Duration::from_secs(5);

/// What the rules have to know of a member. They assign numbers: partitions of one topic, or tasks that read them.
pub(in super::super) trait Spoken: Membership + Sized {
    type Request: Debug + PartialEq;

    /// What the member subscribes to; the first is the one whose partitions are assigned.
    const TOPICS: &'static [&'static str];
    /// The names that a member may have and that outlive restarts.
    const INSTANCES: &'static [Option<&'static str>];

    fn settings() -> MembershipConfig;

    fn new_member(config: MembershipConfig, now: Instant) -> Self;

    fn state(&self) -> MemberState;

    /// The request as it is.
    fn request(request: GroupRequest) -> Self::Request;

    /// What it says of the epoch and of what the member has.
    fn heard(request: &Self::Request) -> Heard;

    fn refusal(code: ErrorCode) -> GroupResponse;

    fn told(epoch: i32, target: Option<&[i32]>) -> GroupResponse;
}

/// What a heartbeat says.
#[derive(Debug, PartialEq)]
pub(in super::super) struct Heard {
    pub(in super::super) epoch: i32,
    pub(in super::super) held: Option<Vec<i32>>,
}

fn says(epoch: i32, held: Option<&[i32]>) -> Heard {
    Heard { epoch, held: held.map(<[i32]>::to_vec) }
}

fn tps<M: Spoken>(partitions: &[i32]) -> BTreeSet<TopicPartition> {
    partitions.iter().map(|partition| TopicPartition::new(M::TOPICS[0], *partition)).collect()
}

impl<M: Spoken> Bench<M> {
    /// Before its first `poll`.
    pub(in super::super) fn joining(config: MembershipConfig) -> Self {
        let mut bench = Self::of(config, M::TOPICS, M::new_member);
        bench.member.on_metadata(&BTreeMap::new(), &known(&[(M::TOPICS[0], 1)]));
        bench
    }

    pub(in super::super) fn find_coordinator(&mut self) {
        self.coordinator.want();
        self.found(7);
    }

    /// The next heartbeat, if there is one to send now.
    pub(in super::super) fn beat(&mut self) -> Option<(u64, M::Request)> {
        self.next_request().map(|(token, request)| (token, M::request(request)))
    }

    fn heard(&mut self) -> Option<(u64, Heard)> {
        self.beat().map(|(token, request)| (token, M::heard(&request)))
    }

    fn tell(&mut self, token: u64, epoch: i32, target: Option<&[i32]>) {
        self.respond(token, Ok(M::told(epoch, target)));
    }

    pub(in super::super) fn refuse(&mut self, token: u64, code: ErrorCode) {
        self.respond(token, Ok(M::refusal(code)));
    }

    /// Gives up partitions as the core does; what is kept, and whether the rest is lost.
    pub(in super::super) fn release(&mut self) -> (BTreeSet<TopicPartition>, bool) {
        let Step::Release(release) = self.step() else { panic!("nothing is given up") };
        self.subscription.assign_from_group(release.keep.clone());
        self.member.released();
        (release.keep, release.lost)
    }

    pub(in super::super) fn acquire(&mut self) -> BTreeSet<TopicPartition> {
        let Step::Acquire(Acquire { partitions, notify: None }) = self.step() else { panic!("nothing is taken over") };
        self.subscription.assign_from_group(partitions.clone());
        self.member.acquired();
        partitions
    }

    pub(in super::super) fn take_over(&mut self) -> BTreeSet<TopicPartition> {
        self.release();
        self.acquire()
    }

    /// In the group with epoch 1, and with 0 and 1.
    pub(in super::super) fn stable(config: MembershipConfig) -> Self {
        let mut bench = Self::joining(config);
        assert!(matches!(bench.step(), Step::Wait));
        bench.find_coordinator();
        let (token, _) = bench.beat().unwrap();
        bench.tell(token, 1, Some(&[0, 1]));
        assert_eq!(bench.take_over(), tps::<M>(&[0, 1]));
        let (token, _) = bench.beat().unwrap();
        bench.tell(token, 1, None);
        assert_eq!((bench.member.state(), bench.beat()), (MemberState::Stable, None));
        bench
    }

    /// After the interval, a heartbeat that is answered with another target.
    fn retarget(&mut self, epoch: i32, target: &[i32]) {
        self.pass(INTERVAL);
        let (token, _) = self.beat().unwrap();
        self.tell(token, epoch, Some(target));
    }
}

/// Metadata with these topics and their ids.
pub(in super::super) fn known(topics: &[(&str, u8)]) -> Arc<MetadataSnapshot> {
    let topic = |(name, number): &(&str, u8)| MetadataResponseTopic {
        name: Some((*name).to_owned()),
        topic_id: Uuid::from_bytes([*number; 16]),
        ..Default::default()
    };
    let answer = MetadataResponse { topics: topics.iter().map(topic).collect(), ..Default::default() };
    Arc::new(MetadataSnapshot::default().updated(&answer))
}

/// Makes each rule a test under each protocol.
macro_rules! rules {
    ($($rule:ident)*) => {
        $(mod $rule {
            #[test]
            fn of_consumer_groups() {
                super::$rule::<super::ConsumerMembership>();
            }

            #[test]
            fn of_streams_groups() {
                super::$rule::<super::StreamsMembership>();
            }
        })*
    };
}

rules! {
    a_member_joins_and_then_says_what_is_new
    refused_heartbeats
    a_heartbeat_without_an_answer_is_made_again_in_full_with_growing_pauses
    an_answer_of_the_former_coordinator_counts_for_nothing
    what_is_revoked_is_told_when_the_listener_knows
    what_is_being_taken_over_is_held
    what_others_may_have_by_now_is_not_taken_over
    one_target_after_the_other_is_taken_over
    a_target_that_came_to_nothing_is_acknowledged_without_the_listener
    who_is_fenced_in_between_loses_everything_and_joins
    who_does_not_poll_leaves_and_joins_with_the_next_poll
    who_leaves_says_so_and_may_come_back
    who_is_in_no_group_has_nobody_to_tell
    what_refused_commits_mean
    a_member_without_answers_is_in_no_session
    no_member_asks_for_a_rebalance
}

fn a_member_joins_and_then_says_what_is_new<M: Spoken>() {
    let mut bench = Bench::<M>::joining(M::settings());
    assert_eq!(bench.beat(), None, "who does not poll does not join");
    assert!(matches!(bench.step(), Step::Wait));
    assert_eq!(bench.beat(), None, "there is no coordinator yet");
    bench.find_coordinator();
    let (token, heard) = bench.heard().unwrap();
    assert_eq!(heard, says(0, Some(&[])));
    assert_eq!(bench.beat(), None, "one at a time");
    assert_eq!(bench.member.commit_generation(), Err(CommitVerdict::Failed));

    bench.tell(token, 1, Some(&[0, 1]));
    assert_eq!(bench.beat(), None, "there is nothing to say before the interval");
    bench.pass(INTERVAL);
    let (token, heard) = bench.heard().unwrap();
    assert_eq!(heard, says(1, None), "who has joined has said that it has nothing");
    bench.tell(token, 1, None);
    assert_eq!(bench.take_over(), tps::<M>(&[0, 1]));
    let (token, heard) = bench.heard().expect("it is taken over, which is told at once");
    assert_eq!(heard, says(1, Some(&[0, 1])));
    bench.tell(token, 1, None);
    let generation = Generation { id: 1, member_id: "me".into(), protocol: None };
    assert_eq!(bench.member.commit_generation(), Ok(&generation));

    assert_eq!(bench.member.next_tick(&bench.coordinator), Some(bench.now + INTERVAL));
    bench.pass(INTERVAL);
    assert_eq!(bench.heard().unwrap().1, says(1, None));
}

/// What a refusal means: the state, whether the application is told, whether another coordinator is looked for.
fn refused_heartbeats<M: Spoken>() {
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
        (ErrorCode::StreamsInvalidTopology, Fatal, true, false),
        (ErrorCode::StreamsInvalidTopologyEpoch, Fatal, true, false),
        (ErrorCode::StreamsTopologyFenced, Fatal, true, false),
    ];
    for (code, state, is_told, loses_coordinator) in cases {
        let mut bench = Bench::<M>::stable(M::settings());
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
            Fenced => assert_eq!(bench.heard().unwrap().1, says(0, Some(&[])), "{code}: it joins at once"),
            _ => {
                if loses_coordinator {
                    bench.find_coordinator();
                }
                assert_eq!(bench.beat(), None, "{code}: after a pause");
                assert_eq!(bench.member.next_tick(&bench.coordinator), Some(bench.now + Duration::from_millis(100)));
                bench.pass(Duration::from_millis(100));
                let everything = says(1, Some(&[0, 1]));
                assert_eq!(bench.heard().unwrap().1, everything, "{code}: nobody knows what was taken in");
                assert!(matches!(bench.step(), Step::Wait), "{code}: told once");
            }
        }
    }
}

fn a_heartbeat_without_an_answer_is_made_again_in_full_with_growing_pauses<M: Spoken>() {
    let mut bench = Bench::<M>::stable(M::settings());
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
    let (token, heard) = bench.heard().unwrap();
    assert_eq!(heard, says(1, Some(&[0, 1])));
    bench.tell(token, 1, Some(&[0, 1]));
    assert_eq!(bench.member.state(), MemberState::Stable, "the same assignment is no other");
    assert!(matches!(bench.step(), Step::Wait));
}

fn an_answer_of_the_former_coordinator_counts_for_nothing<M: Spoken>() {
    let mut bench = Bench::<M>::stable(M::settings());
    bench.pass(INTERVAL);
    let (token, _) = bench.beat().unwrap();
    bench.coordinator.lost("a commit failed");
    bench.find_coordinator();
    let (second, heard) = bench.heard().expect("the next one goes at once");
    assert_eq!(heard, says(1, Some(&[0, 1])), "since the answer may have had an assignment");
    bench.tell(token, 9, Some(&[]));
    assert_eq!(bench.member.generation().id, 1);
    bench.tell(second, 2, Some(&[0]));
    assert_eq!(bench.member.generation().id, 2);
}

fn what_is_revoked_is_told_when_the_listener_knows<M: Spoken>() {
    let mut bench = Bench::<M>::stable(M::settings());
    bench.retarget(1, &[0]);
    assert!(matches!(bench.step(), Step::Release(_)));
    // The commit before takes its time, while heartbeats go on and say nothing of it.
    bench.pass(INTERVAL);
    let (token, heard) = bench.heard().unwrap();
    assert_eq!(heard, says(1, None));
    bench.tell(token, 1, None);
    assert_eq!(bench.release(), (tps::<M>(&[0]), false));
    assert_eq!(bench.beat(), None, "not before the rest is taken over");
    assert_eq!(bench.acquire(), tps::<M>(&[0]));
    let (_, heard) = bench.heard().unwrap();
    assert_eq!(heard, says(1, Some(&[0])));
}

fn what_is_being_taken_over_is_held<M: Spoken>() {
    let mut bench = Bench::<M>::stable(M::settings());
    bench.retarget(2, &[1, 2]);
    bench.release();
    assert!(matches!(bench.step(), Step::Acquire(_)));
    // The listener takes its time.
    bench.pass(INTERVAL);
    let (token, heard) = bench.heard().unwrap();
    assert_eq!(heard, says(2, None), "it is not acknowledged");
    bench.refuse(token, ErrorCode::CoordinatorLoadInProgress);
    bench.pass(Duration::from_millis(100));
    assert_eq!(bench.heard().unwrap().1.held.as_deref(), Some(&[0, 1, 2] as &[i32]));
}

fn what_others_may_have_by_now_is_not_taken_over<M: Spoken>() {
    let mut bench = Bench::<M>::stable(M::settings());
    bench.retarget(2, &[1, 2, 3]);
    // A heartbeat in full that names neither 2 nor 3 is answered when they are in another target.
    bench.pass(INTERVAL);
    let (token, _) = bench.beat().unwrap();
    bench.refuse(token, ErrorCode::CoordinatorLoadInProgress);
    bench.pass(Duration::from_millis(100));
    let (token, heard) = bench.heard().unwrap();
    assert_eq!(heard.held.as_deref(), Some(&[0, 1] as &[i32]));
    bench.release();
    assert!(matches!(bench.step(), Step::Wait));
    bench.tell(token, 3, Some(&[2]));
    assert_eq!(bench.acquire(), tps::<M>(&[1, 2]), "1 is still held, 3 is not its own any more");
    let (token, heard) = bench.heard().unwrap();
    assert_eq!(heard.held.as_deref(), Some(&[1, 2] as &[i32]));
    bench.tell(token, 3, None);
    assert_eq!(bench.take_over(), tps::<M>(&[2]));
}

fn one_target_after_the_other_is_taken_over<M: Spoken>() {
    let mut bench = Bench::<M>::stable(M::settings());
    bench.retarget(2, &[0]);
    assert!(matches!(bench.step(), Step::Release(_)));
    bench.retarget(3, &[0, 1, 2]);
    assert_eq!(bench.release(), (tps::<M>(&[0]), false), "what was begun is done first");
    assert_eq!(bench.acquire(), tps::<M>(&[0]));
    let (token, heard) = bench.heard().unwrap();
    assert_eq!(heard, says(3, Some(&[0])));
    bench.tell(token, 3, None);
    assert_eq!(bench.member.state(), MemberState::Reconciling);
    assert_eq!(bench.take_over(), tps::<M>(&[0, 1, 2]));
    bench.beat().unwrap();
    assert_eq!(bench.member.state(), MemberState::Stable);
}

fn a_target_that_came_to_nothing_is_acknowledged_without_the_listener<M: Spoken>() {
    let mut bench = Bench::<M>::stable(M::settings());
    bench.retarget(2, &[0]);
    bench.retarget(3, &[0, 1]);
    assert!(matches!(bench.step(), Step::Wait));
    let (_, heard) = bench.heard().expect("the coordinator waits to hear it");
    assert_eq!(heard, says(3, Some(&[0, 1])));
    assert_eq!(bench.member.state(), MemberState::Stable);
}

fn who_is_fenced_in_between_loses_everything_and_joins<M: Spoken>() {
    // How far it had come: still giving up, having given up, taking over.
    for progress in 0..3 {
        let mut bench = Bench::<M>::stable(M::settings());
        bench.retarget(2, &[0, 2]);
        let Step::Release(release) = bench.step() else { panic!("nothing is given up") };
        if progress > 0 {
            bench.subscription.assign_from_group(release.keep.clone());
            bench.member.released();
        }
        if progress > 1 {
            assert!(matches!(bench.step(), Step::Acquire(_)));
            bench.subscription.assign_from_group(tps::<M>(&[0, 2]));
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
        let (token, heard) = bench.heard().unwrap();
        assert_eq!(heard, says(0, Some(&[])), "{progress}");
        bench.tell(token, 5, Some(&[1]));
        assert_eq!(bench.take_over(), tps::<M>(&[1]), "{progress}");
    }
}

fn who_does_not_poll_leaves_and_joins_with_the_next_poll<M: Spoken>() {
    for instance in M::INSTANCES {
        let epoch = if instance.is_some() { -2 } else { -1 };
        let mut config = M::settings();
        config.group_instance_id = instance.map(str::to_owned);
        let mut bench = Bench::<M>::stable(config);
        bench.pass(Duration::from_secs(300));
        let (token, heard) = bench.heard().unwrap();
        assert_eq!(heard, says(epoch, None));
        assert!(bench.member.rejoin_needed(), "a poll that waits is woken");
        bench.tell(token, epoch, None);
        bench.pass(Duration::from_secs(300));
        assert_eq!((bench.beat(), bench.member.next_tick(&bench.coordinator)), (None, None));
        assert_eq!(bench.member.commit_generation(), Err(CommitVerdict::Failed));
        assert_eq!(bench.release(), (BTreeSet::new(), true));
        assert_eq!(bench.heard().unwrap().1, says(0, Some(&[])));
    }
}

fn who_leaves_says_so_and_may_come_back<M: Spoken>() {
    use GroupMembershipOperation::{Default as OwnWay, LeaveGroup, RemainInGroup};
    let cases = [
        (None, OwnWay, Some(-1)),
        (None, LeaveGroup, Some(-1)),
        (None, RemainInGroup, None),
        (Some("static"), OwnWay, Some(-2)),
        (Some("static"), LeaveGroup, Some(-1)),
        (Some("static"), RemainInGroup, Some(-2)),
    ];
    for (instance, operation, epoch) in cases.into_iter().filter(|(instance, ..)| M::INSTANCES.contains(instance)) {
        let mut config = M::settings();
        config.group_instance_id = instance.map(str::to_owned);
        let mut bench = Bench::<M>::stable(config);
        bench.pass(INTERVAL);
        let (late, _) = bench.beat().unwrap();
        bench.member.leave("it is closed", operation, &bench.coordinator);
        assert_eq!(bench.heard().map(|(_, heard)| heard.epoch), epoch, "{instance:?} {operation:?}");
        bench.tell(late, 7, Some(&[0]));
        assert_eq!((bench.member.state(), bench.beat()), (MemberState::Unsubscribed, None));
        assert!(matches!(bench.step(), Step::Wait));
        let (token, heard) = bench.heard().unwrap();
        assert_eq!(heard, says(0, Some(&[])));
        bench.tell(token, 8, Some(&[0]));
        assert_eq!(bench.take_over(), tps::<M>(&[0]));
    }
}

fn who_is_in_no_group_has_nobody_to_tell<M: Spoken>() {
    let mut bench = Bench::<M>::stable(M::settings());
    bench.pass(INTERVAL);
    let (token, _) = bench.beat().unwrap();
    bench.refuse(token, ErrorCode::UnknownMemberId);
    bench.member.leave("it is closed", GroupMembershipOperation::LeaveGroup, &bench.coordinator);
    assert_eq!(bench.beat(), None);
}

fn what_refused_commits_mean<M: Spoken>() {
    let mut bench = Bench::<M>::stable(M::settings());
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

fn a_member_without_answers_is_in_no_session<M: Spoken>() {
    let mut bench = Bench::<M>::stable(M::settings());
    let in_session = |bench: &Bench<M>| bench.member.is_in_session(bench.now);
    assert!(in_session(&bench));
    // Stopped between a heartbeat and its answer: what counts is when the coordinator can have got it.
    bench.pass(INTERVAL);
    let (token, _) = bench.beat().unwrap();
    bench.now += INTERVAL * 3;
    assert!(!in_session(&bench));
    bench.tell(token, 1, None);
    assert!(!in_session(&bench));
    let (token, _) = bench.beat().expect("long due");
    bench.tell(token, 1, None);
    assert!(in_session(&bench));
    bench.now += Duration::from_secs(299);
    bench.pass(Duration::ZERO);
    let (token, _) = bench.beat().unwrap();
    bench.tell(token, 1, None);
    bench.now += Duration::from_secs(1);
    assert!(!in_session(&bench), "it has not polled");
}

fn no_member_asks_for_a_rebalance<M: Spoken>() {
    let mut bench = Bench::<M>::stable(M::settings());
    bench.member.request_rejoin("enforced");
    assert!(matches!(bench.step(), Step::Wait) && !bench.member.rejoin_needed());
    assert_eq!(bench.beat(), None);
}
