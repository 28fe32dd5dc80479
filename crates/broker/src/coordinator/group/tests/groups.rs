//! Listing, describing and deleting groups.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{JoinGroupRequest, OffsetCommitRequest};

use super::harness::{GROUP, Harness, commit_request, join_request, protocols, simple_commit};

fn delete(harness: &mut Harness, group: &str) -> ErrorCode {
    let results = harness.shard.delete_groups(harness.now, &[group.into()]);
    harness.collect();
    ErrorCode::from(results[0].error_code)
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut harness = Harness::new();
    harness.stable_group(1);
    let mut other = simple_commit("t", 0, 1);
    other.group_id = "other".into();
    harness.commit(9, other).unwrap();
    let cases: [(&[&str], &[&str], &[&str]); 7] = [
        (&[], &[], &["group", "other"]),
        (&["Stable"], &[], &["group"]),
        (&["stable", " EMPTY "], &[], &["group", "other"]),
        (&["Dead"], &[], &[]),
        (&[], &["Classic"], &["group", "other"]),
        (&[], &["consumer"], &[]),
        (&["Empty"], &["classic", "share"], &["other"]),
    ];
    for (states, types, expected) in cases {
        let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let groups = harness.shard.list_groups(&strings(states), &strings(types));
        let ids: Vec<_> = groups.iter().map(|group| group.group_id.as_str()).collect();
        assert_eq!(ids, expected, "{states:?} {types:?}");
    }
    let group = &harness.shard.list_groups(&[], &[])[0];
    assert_eq!((group.protocol_type.as_str(), group.group_state.as_str()), ("consumer", "Stable"));
    assert_eq!(group.group_type, "classic");
}

#[test]
fn a_stable_group_is_described_with_subscriptions_and_assignments() {
    let mut harness = Harness::new();
    let member = harness.stable_group(1).remove(0);
    let group = harness.shard.describe_group(6, GROUP);
    assert_eq!((group.group_state.as_str(), group.protocol_data.as_str()), ("Stable", "range"));
    let described = &group.members[0];
    assert_eq!((described.member_id.as_str(), described.client_id.as_str()), (member.id.as_str(), "client"));
    assert_eq!(described.client_host, "/127.0.0.1");
    assert!(!described.member_metadata.is_empty());
    assert_eq!(described.member_assignment, format!("of {}", member.id).as_bytes());

    harness.join(9, join_request(&member.id));
    let group = harness.shard.describe_group(6, GROUP);
    assert_eq!((group.group_state.as_str(), group.protocol_data.as_str()), ("CompletingRebalance", ""));
    assert!(group.members[0].member_metadata.is_empty());
}

#[test]
fn a_group_that_is_not_there_is_dead_and_since_version_6_an_error() {
    for version in 0..=6 {
        let group = Harness::new().shard.describe_group(version, "nosuch");
        assert_eq!(group.group_state, "Dead");
        let (error, message) = match version {
            6 => (ErrorCode::GroupIdNotFound, Some("Group nosuch not found.")),
            _ => (ErrorCode::None, None),
        };
        assert_eq!((ErrorCode::from(group.error_code), group.error_message.as_deref()), (error, message));
    }
}

#[test]
fn a_group_is_deleted_with_its_offsets_once_it_has_no_members() {
    let mut harness = Harness::new();
    assert_eq!(delete(&mut harness, "nosuch"), ErrorCode::GroupIdNotFound);
    let member = harness.stable_group(1).remove(0);
    harness.commit(9, commit_request(&member, 5)).unwrap();
    assert_eq!(delete(&mut harness, GROUP), ErrorCode::NonEmptyGroup);
    harness.leave(&[(&member.id, None)]);
    assert_eq!(delete(&mut harness, GROUP), ErrorCode::None);
    for _ in 0..2 {
        assert_eq!(harness.state(), "Dead");
        assert_eq!(harness.fetch("t", 0), Ok(-1));
        harness.restart();
    }
}

/// A string that requests of newer versions can have, and no key of a record.
fn long_name() -> String {
    "x".repeat(40_000)
}

#[test]
fn what_no_record_can_hold_is_refused_and_changes_nothing() {
    let mut harness = Harness::new();
    let commit = OffsetCommitRequest { group_id: long_name(), ..simple_commit("t", 0, 1) };
    assert_eq!(harness.commit(9, commit), Err(ErrorCode::UnknownServerError));

    let of_group = JoinGroupRequest { group_id: long_name(), ..join_request("") };
    let of_type = JoinGroupRequest { protocol_type: long_name(), ..join_request("") };
    let of_instance = JoinGroupRequest { group_instance_id: Some(long_name()), ..join_request("") };
    let of_protocol = JoinGroupRequest { protocols: protocols(&["range", &long_name()]), ..join_request("") };
    for request in [of_group, of_type, of_instance, of_protocol] {
        let response = harness.join_now(9, request);
        assert_eq!(ErrorCode::from(response.error_code), ErrorCode::UnknownServerError);
    }
    assert!(harness.log.is_empty());
    assert_eq!(harness.state(), "Dead");
}
