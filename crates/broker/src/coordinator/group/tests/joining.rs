//! Joining, syncing and heartbeats of dynamic members.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::JoinGroupRequest;

use super::harness::{GROUP, Harness, Member, REBALANCE_MS, SESSION_MS, join_request, protocols, sync_request};
use crate::coordinator::group::GroupCoordinatorConfig;

#[test]
fn a_new_dynamic_member_is_told_its_id_first_since_version_4() {
    for version in 0..=9 {
        let mut harness = Harness::new();
        let token = harness.join(version, join_request(""));
        match harness.joins.remove(&token) {
            Some(response) => {
                assert!(version >= 4, "version {version} was answered");
                assert_eq!(ErrorCode::from(response.error_code), ErrorCode::MemberIdRequired);
                let (prefix, uuid) = response.member_id.split_at("client-".len());
                assert_eq!(prefix, "client-");
                assert_eq!(uuid.len(), 36, "{uuid}");
                assert_eq!(uuid.as_bytes()[14], b'4', "{uuid} is not of version 4");
            }
            None => assert!(version < 4, "version {version} was not answered"),
        }
    }
}

#[test]
fn a_join_that_cannot_be_is_refused() {
    let ok = || join_request("");
    let cases: Vec<(&str, JoinGroupRequest, ErrorCode)> = vec![
        ("no group", JoinGroupRequest { group_id: String::new(), ..ok() }, ErrorCode::InvalidGroupId),
        ("short session", JoinGroupRequest { session_timeout_ms: 5_999, ..ok() }, ErrorCode::InvalidSessionTimeout),
        ("long session", JoinGroupRequest { session_timeout_ms: 1_800_001, ..ok() }, ErrorCode::InvalidSessionTimeout),
        ("unknown member", JoinGroupRequest { member_id: "x".into(), ..ok() }, ErrorCode::UnknownMemberId),
        ("no type", JoinGroupRequest { protocol_type: String::new(), ..ok() }, ErrorCode::InconsistentGroupProtocol),
        ("no protocols", JoinGroupRequest { protocols: Vec::new(), ..ok() }, ErrorCode::InconsistentGroupProtocol),
    ];
    for (name, request, error) in cases {
        let response = Harness::new().join_now(9, request);
        assert_eq!(ErrorCode::from(response.error_code), error, "{name}");
        assert_eq!(response.generation_id, -1, "{name}");
    }
}

#[test]
fn a_stable_group_refuses_other_protocols_and_unknown_members() {
    let mut harness = Harness::new();
    harness.stable_group(1);
    let cases = [
        (
            JoinGroupRequest { protocol_type: "connect".into(), ..join_request("") },
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            JoinGroupRequest { protocols: protocols(&["sticky"]), ..join_request("") },
            ErrorCode::InconsistentGroupProtocol,
        ),
        (join_request("nobody"), ErrorCode::UnknownMemberId),
        (
            JoinGroupRequest { group_instance_id: Some("nobody".into()), ..join_request("nobody") },
            ErrorCode::UnknownMemberId,
        ),
    ];
    for (request, error) in cases {
        assert_eq!(ErrorCode::from(harness.join_now(9, request).error_code), error);
        assert_eq!(harness.state(), "Stable");
    }
}

#[test]
fn an_empty_group_waits_for_more_members_as_long_as_they_come() {
    let mut harness = Harness::new();
    let first = harness.join_dynamic();
    harness.advance(2_999);
    let second = harness.join_dynamic();
    harness.advance(1);
    assert!(harness.joins.is_empty(), "the second member prolongs the delay");
    harness.advance(2_999);
    assert!(harness.joins.is_empty());
    harness.advance(1);
    let (first, second) = (harness.joined(first), harness.joined(second));
    assert_eq!((first.generation_id, second.generation_id), (1, 1));
    assert_eq!(first.leader, second.leader);
    let (leader, follower) = if first.leader == first.member_id { (first, second) } else { (second, first) };
    assert_eq!(leader.members.len(), 2, "the leader is told the members");
    assert!(follower.members.is_empty());
    assert_eq!(leader.protocol_type.as_deref(), Some("consumer"));
    assert_eq!(leader.protocol_name.as_deref(), Some("range"));
}

#[test]
fn the_initial_delay_is_prolonged_up_to_the_rebalance_timeout() {
    let mut harness = Harness::new();
    let request = |id: &str| JoinGroupRequest { rebalance_timeout_ms: 7_000, ..join_request(id) };
    let mut tokens = Vec::new();
    for _ in 0..8 {
        let id = harness.join_now(9, request("")).member_id;
        tokens.push(harness.join(9, request(&id)));
        harness.advance(1_000);
    }
    assert_eq!(harness.joins.len(), 7, "those that came within seven seconds are answered");
}

#[test]
fn without_a_delay_the_first_member_is_answered_at_the_next_look_at_the_clock() {
    let mut harness =
        Harness::with_config(GroupCoordinatorConfig { initial_rebalance_delay_ms: 0, ..Default::default() });
    let token = harness.join_dynamic();
    harness.advance(0);
    assert_eq!(harness.joined(token).generation_id, 1);
}

#[test]
fn the_protocol_that_all_offer_and_most_prefer_is_taken() {
    let cases: [(&[&[&str]], &str); 4] = [
        (&[&["a", "b"], &["b", "a"], &["b", "a"]], "b"),
        (&[&["a", "b"], &["b"], &["a", "b"]], "b"),
        (&[&["c", "a", "b"], &["b", "a"], &["a"]], "a"),
        (&[&["b", "a"], &["a", "b"]], "a"),
    ];
    for (offers, expected) in cases {
        let mut harness = Harness::new();
        let mut tokens = Vec::new();
        for offer in offers {
            let request = |id: &str| JoinGroupRequest { protocols: protocols(offer), ..join_request(id) };
            let id = harness.join_now(9, request("")).member_id;
            tokens.push(harness.join(9, request(&id)));
        }
        harness.advance(60_000);
        for token in tokens {
            assert_eq!(harness.joined(token).protocol_name.as_deref(), Some(expected), "{offers:?}");
        }
    }
}

#[test]
fn a_protocol_named_twice_counts_once() {
    let mut harness = Harness::new();
    let request = |id: &str| JoinGroupRequest { protocols: protocols(&["range", "range"]), ..join_request(id) };
    let id = harness.join_now(9, request("")).member_id;
    let token = harness.join(9, request(&id));
    harness.advance(3_000);
    assert_eq!(harness.joined(token).protocol_name.as_deref(), Some("range"));
}

#[test]
fn followers_wait_for_the_assignment_of_the_leader() {
    let mut harness = Harness::new();
    let tokens = [harness.join_dynamic(), harness.join_dynamic()];
    harness.advance(6_000);
    let joined = tokens.map(|token| harness.joined(token));
    let leader = joined.iter().find(|response| response.leader == response.member_id).map(Member::from).unwrap();
    let follower = joined.iter().find(|response| response.leader != response.member_id).map(Member::from).unwrap();
    assert_eq!(harness.state(), "CompletingRebalance");

    let waiting = harness.sync(&follower, &[]);
    assert!(harness.syncs.is_empty());
    let records = harness.log.len();
    let response = harness.sync_now(&leader, &[(&leader.id, "a"), (&follower.id, "b"), ("stranger", "c")]);
    assert_eq!(harness.log.len(), records + 1, "the assignment is in the log with the answers");
    assert_eq!(response.assignment, "a");
    assert_eq!(harness.syncs.remove(&waiting).unwrap().assignment, "b");
    assert_eq!(harness.state(), "Stable");
    assert_eq!(harness.sync_now(&follower, &[]).assignment, "b", "asking again gives the same");
}

#[test]
fn a_sync_is_checked_against_the_generation_and_what_was_agreed_on() {
    let mut harness = Harness::new();
    let member = harness.stable_group(1).remove(0);
    let stranger = Member { id: "stranger".into(), ..member.clone() };
    let old = Member { generation: 0, ..member.clone() };
    assert_eq!(ErrorCode::from(harness.sync_now(&stranger, &[]).error_code), ErrorCode::UnknownMemberId);
    assert_eq!(ErrorCode::from(harness.sync_now(&old, &[]).error_code), ErrorCode::IllegalGeneration);
    for (protocol_type, protocol_name, error) in [
        (Some("connect"), Some("range"), ErrorCode::InconsistentGroupProtocol),
        (Some("consumer"), Some("sticky"), ErrorCode::InconsistentGroupProtocol),
        (Some("consumer"), Some("range"), ErrorCode::None),
        (None, None, ErrorCode::None),
    ] {
        let token = harness.token();
        let mut request = sync_request(&member, &[]);
        request.protocol_type = protocol_type.map(Into::into);
        request.protocol_name = protocol_name.map(Into::into);
        harness.shard.sync_group(harness.now, request, token);
        harness.collect();
        assert_eq!(ErrorCode::from(harness.syncs[&token].error_code), error);
    }
}

#[test]
fn an_assignment_too_large_for_a_record_fails_the_sync_and_not_the_shard() {
    let mut harness = Harness::with_config(GroupCoordinatorConfig { max_batch_bytes: 1_000, ..Default::default() });
    let token = harness.join_dynamic();
    harness.advance(3_000);
    let member = Member::from(&harness.joined(token));
    let records = harness.log.len();
    let response = harness.sync_now(&member, &[(&member.id, &"x".repeat(1_000))]);
    assert_eq!(ErrorCode::from(response.error_code), ErrorCode::UnknownServerError);
    assert_eq!(harness.log.len(), records);
    assert_eq!(harness.state(), "PreparingRebalance");
}

#[test]
fn a_heartbeat_tells_the_member_where_the_group_is() {
    let mut harness = Harness::new();
    let member = harness.stable_group(1).remove(0);
    assert_eq!(harness.heartbeat(&member), ErrorCode::None);
    assert_eq!(harness.heartbeat(&Member { generation: 9, ..member.clone() }), ErrorCode::IllegalGeneration);
    assert_eq!(harness.heartbeat(&Member { id: "x".into(), ..member.clone() }), ErrorCode::UnknownMemberId);
    harness.join_dynamic();
    assert_eq!(harness.state(), "PreparingRebalance");
    assert_eq!(harness.heartbeat(&member), ErrorCode::RebalanceInProgress);
    let token = harness.join(9, join_request(&member.id));
    let rejoined = Member::from(&harness.joined(token));
    assert_eq!(rejoined.generation, 2);
    assert_eq!(harness.heartbeat(&member), ErrorCode::IllegalGeneration);
    assert_eq!(harness.heartbeat(&rejoined), ErrorCode::None, "heartbeats count while assignments are awaited");
}

#[test]
fn a_member_that_is_silent_for_its_session_is_out() {
    let mut harness = Harness::new();
    let members = harness.stable_group(2);
    harness.advance(i64::from(SESSION_MS) - 1);
    assert_eq!(harness.heartbeat(&members[0]), ErrorCode::None);
    harness.advance(1);
    assert_eq!(harness.heartbeat(&members[1]), ErrorCode::UnknownMemberId);
    assert_eq!(harness.heartbeat(&members[0]), ErrorCode::RebalanceInProgress);
    let response = harness.join_now(9, join_request(&members[0].id));
    assert_eq!((response.generation_id, response.members.len()), (2, 1));
}

#[test]
fn a_group_whose_last_member_fails_is_empty_and_says_so_in_the_log() {
    let mut harness = Harness::new();
    harness.stable_group(1);
    let records = harness.log.len();
    harness.advance(i64::from(SESSION_MS));
    assert_eq!(harness.state(), "Empty");
    assert_eq!(harness.log.len(), records + 1);
    harness.restart();
    assert_eq!(harness.state(), "Empty");
    assert_eq!(harness.shard.describe_group(6, GROUP).protocol_type, "consumer");
}

#[test]
fn a_member_that_does_not_join_again_in_the_rebalance_timeout_is_out() {
    let mut harness = Harness::new();
    let members = harness.stable_group(2);
    harness.join_dynamic();
    let token = harness.join(9, join_request(&members[0].id));
    for _ in 0..REBALANCE_MS / 5_000 {
        assert_eq!(harness.heartbeat(&members[1]), ErrorCode::RebalanceInProgress);
        harness.advance(5_000);
    }
    assert_eq!(harness.joined(token).generation_id, 2);
    assert_eq!(harness.heartbeat(&members[1]), ErrorCode::UnknownMemberId);
}

#[test]
fn a_member_that_does_not_ask_for_its_assignment_is_out() {
    let mut harness = Harness::new();
    let tokens = [harness.join_dynamic(), harness.join_dynamic()];
    harness.advance(6_000);
    let [leader, follower] = tokens.map(|token| Member::from(&harness.joined(token)));
    let waiting = harness.sync(&follower, &[]);
    for _ in 0..REBALANCE_MS / 5_000 {
        assert_eq!(harness.heartbeat(&leader), ErrorCode::None, "heartbeats keep it for the rebalance timeout");
        harness.advance(5_000);
    }
    assert_eq!(harness.heartbeat(&leader), ErrorCode::UnknownMemberId);
    let response = harness.syncs.remove(&waiting).unwrap();
    assert_eq!(ErrorCode::from(response.error_code), ErrorCode::RebalanceInProgress);
    assert_eq!(harness.join_now(9, join_request(&follower.id)).members.len(), 1);
}

#[test]
fn a_pending_member_that_does_not_come_back_does_not_hold_up_the_group() {
    let mut harness = Harness::new();
    let member = harness.stable_group(1).remove(0);
    let response = harness.join_now(9, join_request(""));
    assert_eq!(ErrorCode::from(response.error_code), ErrorCode::MemberIdRequired);
    let token = harness.join(9, join_request(&member.id));
    assert!(harness.joins.is_empty(), "the pending member may still come");
    harness.advance(i64::from(SESSION_MS));
    assert_eq!(harness.joined(token).generation_id, 2);
}

#[test]
fn a_follower_that_joins_again_with_the_same_subscription_moves_nothing() {
    let mut harness = Harness::new();
    let members = harness.stable_group(2);
    let response = harness.join_now(9, join_request(&members[1].id));
    assert_eq!((response.generation_id, response.members.len()), (1, 0));
    assert_eq!(harness.state(), "Stable");
    harness.join(9, join_request(&members[0].id));
    assert_eq!(harness.state(), "PreparingRebalance", "the leader asks for another assignment by joining");
}

#[test]
fn a_join_request_that_is_repeated_answers_the_one_before() {
    let mut harness = Harness::new();
    let member = harness.stable_group(1).remove(0);
    harness.join_dynamic();
    harness.join_now(9, join_request(""));
    let first = harness.join(9, join_request(&member.id));
    let second = harness.join(9, join_request(&member.id));
    let response = harness.joins.remove(&first).unwrap();
    assert_eq!(ErrorCode::from(response.error_code), ErrorCode::RebalanceInProgress);
    harness.advance(i64::from(SESSION_MS));
    assert_eq!(harness.joined(second).generation_id, 2);
}

#[test]
fn members_leave_by_id_and_each_has_its_answer() {
    let mut harness = Harness::new();
    let members = harness.stable_group(2);
    let pending = harness.join_now(9, join_request("")).member_id;
    let errors = harness.leave(&[("stranger", None), (&members[0].id, None), (&pending, None), ("", Some("x"))]);
    assert_eq!(errors, [ErrorCode::UnknownMemberId, ErrorCode::None, ErrorCode::None, ErrorCode::UnknownMemberId]);
    assert_eq!(harness.heartbeat(&members[1]), ErrorCode::RebalanceInProgress);
    assert_eq!(harness.leave(&[(&members[1].id, None)]), [ErrorCode::None]);
    assert_eq!(harness.state(), "Empty");
}

#[test]
fn a_full_group_lets_nobody_in() {
    let mut harness = Harness::with_config(GroupCoordinatorConfig { max_size: 2, ..Default::default() });
    let members = harness.stable_group(2);
    let response = harness.join_now(9, join_request(""));
    assert_eq!(ErrorCode::from(response.error_code), ErrorCode::GroupMaxSizeReached);
    assert_eq!(harness.state(), "Stable");
    harness.leave(&[(&members[0].id, None)]);
    let token = harness.join(9, join_request(&members[1].id));
    assert_eq!(harness.joined(token).generation_id, 2);
}

#[test]
fn a_loaded_group_goes_on_with_its_members_and_assignments() {
    let mut harness = Harness::new();
    let members = harness.stable_group(2);
    harness.restart();
    assert_eq!(harness.state(), "Stable");
    for member in &members {
        assert_eq!(harness.heartbeat(member), ErrorCode::None);
        assert_eq!(harness.sync_now(member, &[]).assignment, format!("of {}", member.id).as_bytes());
    }
    harness.advance(i64::from(SESSION_MS));
    assert_eq!(harness.state(), "Empty", "sessions count from the load on");
}
