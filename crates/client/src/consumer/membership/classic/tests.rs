//! A member against a coordinator that answers by hand.

use std::time::Duration;

use vltava_protocol::messages::{HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse, SyncGroupResponse};

use super::*;
use crate::consumer::assignor::{Assignment, encode_assignment};
use crate::consumer::membership::tests as bench;

type Bench = bench::Bench<ClassicMembership>;

fn config() -> MembershipConfig {
    MembershipConfig { member_id: String::new(), ..bench::config() }
}

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

impl Bench {
    fn new(config: MembershipConfig) -> Self {
        Self::of(config, &["t"], ClassicMembership::new)
    }

    /// Nothing is to be done but to stay in the group.
    fn is_at_rest(&mut self) -> bool {
        matches!(self.step(), Step::Wait) && !self.member.rejoin_needed()
    }

    fn request(&mut self) -> (u64, GroupRequest) {
        self.member.next_request().expect("a request")
    }

    fn answer(&mut self, token: u64, answer: GroupResponse) {
        self.respond(token, Ok(answer));
    }

    fn find_coordinator(&mut self) {
        assert!(matches!(self.step(), Step::Wait));
        self.found(7);
    }

    fn prepare(&mut self) -> bool {
        let Step::Release(release) = self.step() else { panic!("no preparation") };
        self.member.released();
        release.lost
    }

    fn join(&mut self) -> (u64, JoinGroupRequest) {
        assert!(matches!(self.step(), Step::Describe(_)));
        self.member.described(vec![("range".into(), Bytes::from_static(b"meta"))]);
        match self.request() {
            (token, GroupRequest::Join(join)) => (token, join),
            other => panic!("{other:?} is no join"),
        }
    }

    fn sync(&mut self) -> (u64, SyncGroupRequest) {
        match self.request() {
            (token, GroupRequest::Sync(sync)) => (token, sync),
            other => panic!("{other:?} is no sync"),
        }
    }

    /// Joins as a follower of generation `generation` and gets an assignment.
    fn become_stable(&mut self, generation: i32) {
        let (token, _) = self.join();
        self.answer(token, joined(generation, "m1", "leader"));
        let (token, _) = self.sync();
        self.answer(token, synced(ErrorCode::None));
        assert!(matches!(self.step(), Step::Acquire(_)));
        assert!(self.is_at_rest());
    }

    fn stable(config: MembershipConfig) -> Self {
        let mut bench = Self::new(config);
        bench.find_coordinator();
        bench.prepare();
        bench.become_stable(1);
        bench
    }

    fn heartbeat(&mut self, code: ErrorCode) {
        self.pass(Duration::from_secs(3));
        let (token, request) = self.request();
        assert!(matches!(request, GroupRequest::Heartbeat(_)), "{request:?}");
        let response = HeartbeatResponse { error_code: code.code(), ..Default::default() };
        self.answer(token, GroupResponse::Heartbeat(response));
    }
}

fn joined(generation: i32, member: &str, leader: &str) -> GroupResponse {
    GroupResponse::Join(JoinGroupResponse {
        generation_id: generation,
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        leader: leader.into(),
        member_id: member.into(),
        members: vec![JoinGroupResponseMember { member_id: member.into(), ..Default::default() }],
        ..Default::default()
    })
}

fn join_error(code: ErrorCode, member: &str) -> GroupResponse {
    GroupResponse::Join(JoinGroupResponse {
        error_code: code.code(),
        member_id: member.into(),
        protocol_name: None,
        ..Default::default()
    })
}

fn synced(code: ErrorCode) -> GroupResponse {
    GroupResponse::Sync(SyncGroupResponse {
        error_code: code.code(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignment: encode_assignment(&Assignment::new(vec![tp(0)])).unwrap(),
        ..Default::default()
    })
}

#[test]
fn a_new_member_joins_with_the_id_it_is_given() {
    let mut bench = Bench::new(config());
    bench.find_coordinator();
    assert!(bench.prepare(), "a member without generation has nothing to commit");
    let (token, join) = bench.join();
    assert_eq!(join.member_id, "");
    assert_eq!((join.session_timeout_ms, join.rebalance_timeout_ms), (45_000, 300_000));
    bench.answer(token, join_error(ErrorCode::MemberIdRequired, "m1"));
    let (token, join) = bench.join();
    assert_eq!(join.member_id, "m1");
    assert_eq!(join.reason.as_deref(), Some("need to re-join with the given member-id: m1"));
    bench.answer(token, joined(1, "m1", "other"));
    assert_eq!(bench.member.state(), MemberState::CompletingRebalance);
    let (token, sync) = bench.sync();
    assert_eq!((sync.generation_id, sync.member_id.as_str(), sync.assignments.len()), (1, "m1", 0));
    bench.answer(token, synced(ErrorCode::None));
    assert_eq!(
        bench.member.commit_generation(),
        Err(CommitVerdict::Rebalancing),
        "what it has is of no generation yet"
    );
    let Step::Acquire(acquire) = bench.step() else { panic!("nothing acquired") };
    assert_eq!(acquire.partitions, [tp(0)].into());
    assert_eq!(acquire.notify.map(|(protocol, _)| protocol).as_deref(), Some("range"));
    assert!(bench.is_at_rest());
    assert_eq!(bench.member.commit_generation().unwrap().id, 1);
}

#[test]
fn the_leader_assigns() {
    let mut bench = Bench::new(config());
    bench.find_coordinator();
    bench.prepare();
    let (token, _) = bench.join();
    bench.answer(token, joined(4, "m1", "m1"));
    let Step::Assign { protocol, members, skip } = bench.step() else { panic!("no assignment wanted") };
    assert_eq!((protocol.as_str(), members.len(), skip), ("range", 1, false));
    bench.member.assigned(vec![("m1".into(), Bytes::from_static(b"all"))], BTreeMap::new());
    let (token, sync) = bench.sync();
    assert_eq!(sync.assignments[0].assignment, &b"all"[..]);
    bench.answer(token, synced(ErrorCode::None));
    assert!(matches!(bench.step(), Step::Acquire(_)));
}

/// What a member does after a refused join: the pause before the next one in ms, whether the
/// application hears of it, and whether the coordinator is looked for anew.
#[test]
fn refused_joins() {
    let cases = [
        (ErrorCode::UnknownMemberId, 0, false, false),
        (ErrorCode::RebalanceInProgress, 0, false, false),
        (ErrorCode::CoordinatorLoadInProgress, 100, false, false),
        (ErrorCode::NotCoordinator, 100, false, true),
        (ErrorCode::CoordinatorNotAvailable, 100, false, true),
        (ErrorCode::FencedInstanceId, 100, true, false),
        (ErrorCode::InconsistentGroupProtocol, 100, true, false),
        (ErrorCode::InvalidSessionTimeout, 100, true, false),
        (ErrorCode::GroupAuthorizationFailed, 100, true, false),
        (ErrorCode::GroupMaxSizeReached, 100, true, false),
    ];
    for (code, pause, told, new_coordinator) in cases {
        let mut bench = Bench::new(config());
        bench.find_coordinator();
        bench.prepare();
        let (token, _) = bench.join();
        bench.answer(token, join_error(code, ""));
        if told {
            let Step::Fail(error) = bench.step() else { panic!("{code}: the application is not told") };
            assert_eq!(error.code(), Some(code));
        }
        if new_coordinator {
            bench.find_coordinator();
        }
        if code == ErrorCode::UnknownMemberId {
            assert!(bench.prepare(), "the generation is gone");
        }
        if pause > 0 {
            assert!(matches!(bench.step(), Step::Wait), "{code}");
            let retries_at = Some(bench.now + Duration::from_millis(pause));
            assert_eq!(bench.member.next_step_at(&bench.coordinator), retries_at);
            assert_eq!(
                bench.member.next_tick(&bench.coordinator),
                None,
                "only `poll` joins: without it, nothing may wake for that"
            );
            bench.now += Duration::from_millis(pause);
        }
        let (_, join) = bench.join();
        let reason = join.reason.unwrap();
        assert!(reason.contains(code.exception_name()), "{code}: {reason}");
    }
}

#[test]
fn refused_syncs_join_again() {
    let cases = [
        (ErrorCode::RebalanceInProgress, false, Some("m1")),
        (ErrorCode::IllegalGeneration, true, Some("m1")),
        (ErrorCode::UnknownMemberId, true, Some("")),
    ];
    for (code, prepares, member) in cases {
        let mut bench = Bench::new(config());
        bench.find_coordinator();
        bench.prepare();
        let (token, _) = bench.join();
        bench.answer(token, joined(1, "m1", "other"));
        let (token, _) = bench.sync();
        bench.answer(token, synced(code));
        if prepares {
            assert!(bench.prepare(), "{code}");
        }
        let (_, join) = bench.join();
        assert_eq!(Some(join.member_id.as_str()), member, "{code}");
    }
}

#[test]
fn a_lost_join_is_sent_again_to_the_coordinator_found_then() {
    let mut bench = Bench::new(config());
    bench.find_coordinator();
    bench.prepare();
    let (token, _) = bench.join();
    let lost = ClientError::timeout("join", Duration::from_secs(305));
    bench.respond(token, Err(lost));
    assert_eq!(bench.member.next_step_at(&bench.coordinator), None, "not before there is a coordinator");
    bench.find_coordinator();
    assert!(matches!(bench.step(), Step::Wait));
    bench.now += Duration::from_millis(100);
    let (second, _) = bench.join();
    // The answer to the first one comes after all.
    bench.answer(token, joined(1, "ghost", "ghost"));
    assert_eq!(bench.member.generation(), &Generation::NONE);
    bench.answer(second, joined(2, "m2", "m2"));
    assert_eq!(bench.member.generation().member_id, "m2");
}

#[test]
fn heartbeats_keep_the_session() {
    let mut bench = Bench::stable(config());
    for _ in 0..30 {
        bench.heartbeat(ErrorCode::None);
    }
    assert!(bench.is_at_rest(), "90 s with heartbeats are no reason to leave");
}

#[test]
fn a_member_that_was_away_for_its_session_knows_it_before_it_is_told() {
    let session = config().session_timeout;
    let mut bench = Bench::stable(config());
    let in_session = |bench: &Bench| bench.member.is_in_session(bench.now);
    assert!(in_session(&bench));
    // Stopped between a heartbeat and its answer: the session began when the coordinator got the heartbeat.
    bench.pass(Duration::from_secs(3));
    let (token, _) = bench.request();
    bench.now += session;
    assert!(!in_session(&bench));
    bench.answer(token, GroupResponse::Heartbeat(HeartbeatResponse::default()));
    assert!(!in_session(&bench));
    // An answer to what is sent now counts.
    bench.heartbeat(ErrorCode::None);
    assert!(in_session(&bench));
    bench.now += session - Duration::from_millis(1);
    assert!(in_session(&bench));
    // The coordinator that was looked up again has not answered a heartbeat.
    bench.pass(Duration::from_millis(1));
    bench.found(7);
    assert!(!in_session(&bench));
}

#[test]
fn a_member_that_does_not_poll_is_in_no_session() {
    let mut bench = Bench::stable(config());
    for _ in 0..99 {
        bench.heartbeat(ErrorCode::None);
    }
    assert!(bench.member.is_in_session(bench.now));
    bench.now += Duration::from_secs(3);
    assert!(!bench.member.is_in_session(bench.now));
}

#[test]
fn a_member_that_polled_before_it_heard_of_a_rebalance_has_no_more_time_to_join_it_than_the_group_gives() {
    let mut bench = Bench::stable(config());
    bench.heartbeat(ErrorCode::None);
    // The rebalance may begin now, behind that heartbeat.
    let rebalance_end = bench.now + config().rebalance_timeout;
    bench.now += Duration::from_secs(2);
    assert!(bench.is_at_rest());
    bench.now -= Duration::from_secs(2);
    while bench.now < rebalance_end - Duration::from_secs(3) {
        bench.heartbeat(ErrorCode::RebalanceInProgress);
    }
    bench.now = rebalance_end - Duration::from_millis(1);
    assert!(bench.member.is_in_session(bench.now));
    bench.now = rebalance_end;
    assert!(!bench.member.is_in_session(bench.now), "the group has gone on without it");
    // Joined again, it has all of its time.
    bench.prepare();
    bench.become_stable(2);
    bench.heartbeat(ErrorCode::None);
    assert!(bench.member.is_in_session(bench.now));
}

#[test]
fn a_rebalance_is_noticed_by_a_heartbeat_and_prepared() {
    let mut bench = Bench::stable(config());
    bench.heartbeat(ErrorCode::RebalanceInProgress);
    assert!(!bench.prepare(), "partitions are revoked, not lost");
    // Heartbeats go on until the member joins again.
    bench.heartbeat(ErrorCode::RebalanceInProgress);
    bench.become_stable(2);
}

#[test]
fn heartbeats_that_are_refused() {
    // Code, whether the partitions are lost, the member id of the next join.
    let cases = [(ErrorCode::UnknownMemberId, ""), (ErrorCode::IllegalGeneration, "m1")];
    for (code, member) in cases {
        let mut bench = Bench::stable(config());
        bench.heartbeat(code);
        assert!(bench.prepare(), "{code}: partitions are lost");
        let (_, join) = bench.join();
        assert_eq!(join.member_id, member, "{code}");
    }
}

#[test]
fn a_replaced_static_member_is_told() {
    let mut bench = Bench::stable(MembershipConfig { group_instance_id: Some("i".into()), ..config() });
    bench.heartbeat(ErrorCode::FencedInstanceId);
    let Step::Fail(error) = bench.step() else { panic!("not told") };
    assert_eq!(error.code(), Some(ErrorCode::FencedInstanceId));
    assert!(error.is_fatal());
}

#[test]
fn silence_of_the_coordinator_makes_the_member_look_for_another() {
    let mut bench = Bench::stable(config());
    bench.pass(Duration::from_secs(3));
    let (beat, _) = bench.request();
    bench.pass(Duration::from_secs(42));
    assert_eq!(bench.coordinator.node(), None);
    bench.found(8);
    // Too late, and from somebody who is not asked any more.
    let response = HeartbeatResponse { error_code: ErrorCode::UnknownMemberId.code(), ..Default::default() };
    bench.answer(beat, GroupResponse::Heartbeat(response));
    assert!(bench.is_at_rest());
    bench.pass(Duration::from_secs(3));
    let (_, request) = bench.request();
    assert!(matches!(request, GroupRequest::Heartbeat(_)));
}

#[test]
fn failed_heartbeats_back_off() {
    let mut bench = Bench::stable(config());
    bench.pass(Duration::from_secs(3));
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let (token, request) = bench.request();
        assert!(matches!(request, GroupRequest::Heartbeat(_)));
        let failed = ClientError::timeout("heartbeat", Duration::ZERO);
        bench.respond(token, Err(failed));
        bench.pass(Duration::ZERO);
        bench.found(7);
        let next = bench.member.next_tick(&bench.coordinator).unwrap();
        pauses.push((next - bench.now).as_millis());
        bench.pass(next - bench.now);
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
}

#[test]
fn a_member_that_is_not_polled_leaves() {
    let mut bench = Bench::stable(config());
    assert!(bench.is_at_rest());
    for _ in 0..99 {
        bench.heartbeat(ErrorCode::None);
    }
    bench.pass(Duration::from_secs(3));
    let (_, request) = bench.request();
    let GroupRequest::Leave(leave) = request else { panic!("{request:?} is no leave") };
    assert_eq!(leave.members[0].member_id, "m1");
    assert_eq!(leave.members[0].reason.as_deref(), Some("consumer poll timeout has expired."));
    bench.pass(Duration::from_secs(30));
    assert!(bench.member.next_request().is_none(), "no heartbeats without membership");
    assert!(bench.prepare(), "what it had is lost");
    let (_, join) = bench.join();
    assert_eq!(join.member_id, "");
}

#[test]
fn who_goes_says_so_unless_it_is_to_remain_or_is_static() {
    use GroupMembershipOperation::{Default as OwnWay, LeaveGroup, RemainInGroup};
    let cases = [
        (None, OwnWay, true),
        (None, LeaveGroup, true),
        (None, RemainInGroup, false),
        (Some("i"), OwnWay, false),
        (Some("i"), LeaveGroup, true),
        (Some("i"), RemainInGroup, false),
    ];
    for (instance, operation, says_so) in cases {
        let group_instance_id = instance.map(str::to_owned);
        let mut bench = Bench::stable(MembershipConfig { group_instance_id, ..config() });
        bench.member.leave("closing", operation, &bench.coordinator);
        if says_so {
            let (token, request) = bench.request();
            // As Kafka's client: by its id alone.
            let GroupRequest::Leave(leave) = request else { panic!("{request:?} is no leave") };
            assert_eq!((leave.members[0].member_id.as_str(), &leave.members[0].group_instance_id), ("m1", &None));
            bench.answer(token, GroupResponse::Leave(LeaveGroupResponse::default()));
        }
        assert!(bench.member.next_request().is_none(), "{instance:?} {operation:?}");
    }
}

#[test]
fn a_generation_that_ends_before_its_assignment_is_taken_over_counts_as_lost() {
    let mut bench = Bench::new(config());
    bench.find_coordinator();
    bench.prepare();
    let (token, _) = bench.join();
    bench.answer(token, joined(1, "m1", "other"));
    let (token, _) = bench.sync();
    bench.answer(token, synced(ErrorCode::None));
    bench.heartbeat(ErrorCode::UnknownMemberId);
    assert!(bench.prepare());
}

#[test]
fn commits_that_are_refused() {
    use CommitVerdict::*;
    // Code, whether the generation is still the one of the commit, verdict, whether the member is reset.
    let cases = [
        (ErrorCode::UnknownMemberId, true, Failed, true),
        (ErrorCode::UnknownMemberId, false, Failed, false),
        (ErrorCode::IllegalGeneration, true, Failed, true),
        (ErrorCode::RebalanceInProgress, true, Rebalancing, false),
        (ErrorCode::FencedInstanceId, true, Fatal, false),
        (ErrorCode::FencedInstanceId, false, Failed, false),
    ];
    for (code, current, verdict, reset) in cases {
        let mut bench = Bench::stable(config());
        let mut sent = bench.member.generation().clone();
        if !current {
            sent.id -= 1;
        }
        assert_eq!(bench.member.on_commit_error(code, &sent), verdict, "{code} {current}");
        assert_eq!(bench.member.state() == MemberState::Unjoined, reset, "{code} {current}");
    }
}

/// How the members give up partitions, what this one has of `t` and `u` of which it has left `u`, what it keeps when it joins.
#[test]
fn a_member_gives_up_what_its_protocol_says() {
    let cases = [(RebalanceProtocol::Eager, vec![]), (RebalanceProtocol::Cooperative, vec![tp(0)])];
    for (protocol, kept) in cases {
        let mut bench = Bench::stable(MembershipConfig { protocol, ..config() });
        bench.subscription.assign_from_group([tp(0), TopicPartition::new("u", 0)].into());
        bench.member.request_rejoin("because");
        let Step::Release(release) = bench.step() else { panic!("nothing to release") };
        assert!(!release.lost);
        assert_eq!(release.always_tell, protocol == RebalanceProtocol::Eager);
        assert_eq!(release.keep, kept.into_iter().collect());
    }
}

#[test]
fn a_cooperative_member_joins_again_when_it_has_to_revoke() {
    let protocol = RebalanceProtocol::Cooperative;
    for (owned, joins) in [(vec![tp(0)], false), (vec![tp(0), tp(1)], true)] {
        let mut bench = Bench::new(MembershipConfig { protocol, ..config() });
        bench.find_coordinator();
        bench.prepare();
        bench.subscription.assign_from_group(owned.into_iter().collect());
        let (token, _) = bench.join();
        bench.answer(token, joined(1, "m1", "leader"));
        let (token, _) = bench.sync();
        bench.answer(token, synced(ErrorCode::None));
        assert!(matches!(bench.step(), Step::Acquire(_)));
        assert_eq!(bench.member.rejoin_needed(), joins);
    }
}

#[test]
fn a_subscription_or_topics_that_change_ask_for_a_rebalance() {
    let mut bench = Bench::new(config());
    bench.find_coordinator();
    bench.prepare();
    let (token, _) = bench.join();
    bench.answer(token, joined(1, "m1", "m1"));
    assert!(matches!(bench.step(), Step::Assign { .. }));
    let topics = |count| BTreeMap::from([("t".to_owned(), count)]);
    bench.member.assigned(Vec::new(), topics(1));
    let (token, _) = bench.sync();
    bench.answer(token, synced(ErrorCode::None));
    assert!(matches!(bench.step(), Step::Acquire(_)));
    bench.member.on_metadata(&topics(1), &Arc::default());
    assert!(bench.is_at_rest());
    bench.member.on_metadata(&topics(2), &Arc::default());
    assert!(!bench.prepare(), "the leader has more partitions to assign");
    bench.become_stable(2);
    bench.member.on_metadata(&topics(3), &Arc::default());
    assert!(bench.is_at_rest(), "another one leads");
    bench.subscription.subscribe_topics(["t".to_owned(), "u".to_owned()].into()).unwrap();
    assert!(!bench.prepare());
}
