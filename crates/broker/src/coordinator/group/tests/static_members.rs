//! Static members (KIP-345): a process that comes back within its session takes up its assignment.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use super::harness::{Harness, Member, SESSION_MS, commit_request, join_request, protocols};

fn static_request(member_id: &str, instance: &str) -> JoinGroupRequest {
    JoinGroupRequest { group_instance_id: Some(instance.into()), ..join_request(member_id) }
}

fn member(response: &JoinGroupResponse, instance: &str) -> Member {
    Member { instance: Some(instance.into()), ..Member::from(response) }
}

/// Makes a stable group of two static members, `a` leading.
fn stable_static_group(harness: &mut Harness) -> [Member; 2] {
    let tokens = [harness.join(9, static_request("", "a")), harness.join(9, static_request("", "b"))];
    harness.advance(6_000);
    let [a, b] = tokens.map(|token| harness.joined(token));
    assert_eq!(a.leader, a.member_id, "who comes first leads");
    let (a, b) = (member(&a, "a"), member(&b, "b"));
    let waiting = harness.sync(&b, &[]);
    harness.sync_now(&a, &[(&a.id, "for a"), (&b.id, "for b")]);
    assert_eq!(harness.syncs.remove(&waiting).unwrap().assignment, "for b");
    [a, b]
}

#[test]
fn a_new_static_member_needs_no_second_join() {
    let mut harness = Harness::new();
    let token = harness.join(9, static_request("", "a"));
    assert!(harness.joins.is_empty());
    harness.advance(3_000);
    assert!(harness.joined(token).member_id.starts_with("a-"));
}

#[test]
fn a_restarted_follower_has_its_assignment_back_without_a_rebalance() {
    for version in 5..=9 {
        let mut harness = Harness::new();
        let [a, b] = stable_static_group(&mut harness);
        let records = harness.log.len();
        let response = harness.join_now(version, static_request("", "b"));
        assert_eq!(ErrorCode::from(response.error_code), ErrorCode::None);
        assert_eq!((response.generation_id, response.leader.as_str()), (1, a.id.as_str()));
        assert_ne!(response.member_id, b.id);
        assert!(!response.skip_assignment);
        assert_eq!(harness.log.len(), records + 1, "the new member id is in the log");
        assert_eq!(harness.state(), "Stable");
        let restarted = member(&response, "b");
        assert_eq!(harness.sync_now(&restarted, &[]).assignment, "for b");
        assert_eq!(harness.heartbeat(&restarted), ErrorCode::None);
        assert_eq!(harness.heartbeat(&b), ErrorCode::FencedInstanceId, "the old process is told");
        harness.restart();
        assert_eq!(harness.sync_now(&restarted, &[]).assignment, "for b");
    }
}

#[test]
fn a_restarted_leader_leads_on_and_assigns_nothing() {
    for version in 5..=9 {
        let mut harness = Harness::new();
        let [a, _] = stable_static_group(&mut harness);
        let response = harness.join_now(version, static_request("", "a"));
        if version >= 9 {
            assert_eq!(response.leader, response.member_id);
            assert!(response.skip_assignment);
            assert_eq!(response.members.len(), 2);
        } else {
            assert_eq!(response.leader, a.id, "an older client must not take itself for the leader");
            assert!(response.members.is_empty());
        }
        assert_eq!(harness.sync_now(&member(&response, "a"), &[]).assignment, "for a");
    }
}

#[test]
fn a_restart_that_changes_the_protocol_rebalances() {
    let mut harness = Harness::new();
    let request = |names: &[&str]| JoinGroupRequest { protocols: protocols(names), ..static_request("", "a") };
    let token = harness.join(9, request(&["range", "sticky"]));
    harness.advance(3_000);
    let joined = member(&harness.joined(token), "a");
    harness.sync_now(&joined, &[]);
    let response = harness.join_now(9, request(&["sticky", "range"]));
    assert_eq!((response.generation_id, response.protocol_name.as_deref()), (2, Some("sticky")));
}

#[test]
fn the_replaced_process_is_fenced_in_every_request() {
    let mut harness = Harness::new();
    let [a, b] = stable_static_group(&mut harness);
    harness.join_now(9, static_request("", "b"));
    assert_eq!(harness.heartbeat(&b), ErrorCode::FencedInstanceId);
    assert_eq!(ErrorCode::from(harness.sync_now(&b, &[]).error_code), ErrorCode::FencedInstanceId);
    assert_eq!(harness.commit(9, commit_request(&b, 1)), Err(ErrorCode::FencedInstanceId));
    let response = harness.join_now(9, static_request(&b.id, "b"));
    assert_eq!(ErrorCode::from(response.error_code), ErrorCode::FencedInstanceId);
    assert_eq!(harness.leave(&[(&b.id, Some("b"))]), [ErrorCode::FencedInstanceId]);
    assert_eq!(harness.heartbeat(&a), ErrorCode::None);
}

#[test]
fn a_process_replaced_while_it_waits_is_fenced_at_once() {
    let mut harness = Harness::new();
    let first = harness.join(9, static_request("", "a"));
    let second = harness.join(9, static_request("", "a"));
    let fenced = harness.joins.remove(&first).unwrap();
    assert_eq!(ErrorCode::from(fenced.error_code), ErrorCode::FencedInstanceId);
    harness.advance(6_000);
    assert_eq!(harness.joined(second).generation_id, 1);

    let token = harness.join(9, static_request("", "b"));
    harness.advance(60_000);
    let joined = harness.joined(token);
    let waiting = harness.sync(&Member { generation: joined.generation_id, ..member(&joined, "b") }, &[]);
    harness.join(9, static_request("", "b"));
    if let Some(response) = harness.syncs.remove(&waiting) {
        assert_ne!(ErrorCode::from(response.error_code), ErrorCode::None);
    }
}

#[test]
fn a_static_member_is_out_after_its_session_or_by_its_instance_id() {
    let mut harness = Harness::new();
    let [a, b] = stable_static_group(&mut harness);
    assert_eq!(harness.leave(&[("", Some("b")), ("", Some("c"))]), [ErrorCode::None, ErrorCode::UnknownMemberId]);
    assert_eq!(harness.heartbeat(&a), ErrorCode::RebalanceInProgress);
    assert_eq!(harness.heartbeat(&b), ErrorCode::UnknownMemberId);
    harness.advance(i64::from(SESSION_MS));
    assert_eq!(harness.state(), "Empty");
}
