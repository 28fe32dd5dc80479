//! Access control beyond single answers: what outlives a restart, who is never asked, and what a subscription by a regular
//! expression finds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::path::Path;

use support::Client;
use vltava_broker::embedded;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::create_acls_request::AclCreation;
use vltava_protocol::messages::delete_acls_request::DeleteAclsFilter;
use vltava_protocol::messages::{
    ConsumerGroupHeartbeatRequest, CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest, FindCoordinatorRequest,
    MetadataRequest,
};
use vltava_security::acl::{AclOperation, AclPermissionType, CLUSTER_NAME, PatternType, ResourceType};

const STANDARD: &str = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";

/// A broker with an authorizer; all may do everything about which there are no entries.
fn config() -> embedded::Config {
    embedded::Config::default()
        .property("authorizer.class.name", STANDARD)
        .property("allow.everyone.if.no.acl.found", "true")
}

fn at(dir: &Path) -> embedded::Broker {
    embedded::Broker::start(config().dir(dir)).unwrap()
}

fn entry(
    resource_type: ResourceType,
    name: &str,
    operation: AclOperation,
    permission: AclPermissionType,
) -> AclCreation {
    AclCreation {
        resource_type: resource_type.code(),
        resource_name: name.to_owned(),
        resource_pattern_type: PatternType::Literal.code(),
        principal: "User:ANONYMOUS".to_owned(),
        host: "*".to_owned(),
        operation: operation.code(),
        permission_type: permission.code(),
        ..Default::default()
    }
}

fn create(client: &mut Client, creations: Vec<AclCreation>) {
    let created = client.call(3, &CreateAclsRequest { creations, ..Default::default() });
    assert!(created.results.iter().all(|result| result.error_code == 0), "{created:?}");
}

/// How many entries there are about topics.
fn count(client: &mut Client) -> usize {
    let any = DescribeAclsRequest {
        resource_type_filter: ResourceType::Topic.code(),
        resource_name_filter: None,
        pattern_type_filter: PatternType::Any.code(),
        principal_filter: None,
        host_filter: None,
        operation: AclOperation::Any.code(),
        permission_type: AclPermissionType::Any.code(),
        ..Default::default()
    };
    client.call(3, &any).resources.iter().map(|resource| resource.acls.len()).sum()
}

#[test]
fn entries_outlive_a_restart_and_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let broker = at(dir.path());
    let mut client = Client::connect(&broker);
    client.create_topic("kept", 1, &[]);
    let deny = |name: &str| entry(ResourceType::Topic, name, AclOperation::All, AclPermissionType::Deny);
    create(&mut client, vec![deny("kept"), deny("other")]);
    assert_eq!(client.produce("kept", 0, &["a"]).error_code, ErrorCode::TopicAuthorizationFailed.code());
    broker.abort();

    let broker = at(dir.path());
    let mut client = Client::connect(&broker);
    assert_eq!(count(&mut client), 2);
    assert_eq!(client.produce("kept", 0, &["a"]).error_code, ErrorCode::TopicAuthorizationFailed.code());
    let filter = DeleteAclsFilter {
        resource_type_filter: ResourceType::Topic.code(),
        resource_name_filter: Some("kept".to_owned()),
        pattern_type_filter: PatternType::Literal.code(),
        principal_filter: None,
        host_filter: None,
        operation: AclOperation::Any.code(),
        permission_type: AclPermissionType::Any.code(),
        ..Default::default()
    };
    let deleted = client.call(3, &DeleteAclsRequest { filters: vec![filter], ..Default::default() });
    assert_eq!(deleted.filter_results[0].matching_acls.len(), 1);
    assert_eq!(client.produce("kept", 0, &["a"]).error_code, 0);
    drop(broker);

    let broker = at(dir.path());
    let mut client = Client::connect(&broker);
    assert_eq!(count(&mut client), 1);
    assert_eq!(client.produce("kept", 0, &["b"]).base_offset, 1);
}

#[test]
fn nobody_may_do_anything_before_there_are_entries_but_super_users() {
    let nobody = embedded::Config::default().property("authorizer.class.name", STANDARD);
    let broker = embedded::Broker::start(nobody.clone()).unwrap();
    let error = Client::connect(&broker).call(
        3,
        &CreateAclsRequest {
            creations: vec![entry(ResourceType::Topic, "t", AclOperation::All, AclPermissionType::Allow)],
            ..Default::default()
        },
    );
    assert_eq!(error.results[0].error_code, ErrorCode::ClusterAuthorizationFailed.code());
    drop(broker);

    let broker = embedded::Broker::start(nobody.property("super.users", "User:root;User:ANONYMOUS")).unwrap();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    create(&mut client, vec![entry(ResourceType::Topic, "t", AclOperation::All, AclPermissionType::Deny)]);
    assert_eq!(client.produce("t", 0, &["a"]).error_code, 0);
}

#[test]
fn a_subscription_by_expression_finds_what_its_member_may_see() {
    let broker = embedded::Broker::start(config()).unwrap();
    let mut client = Client::connect(&broker);
    let shown = client.create_topic("events-shown", 1, &[]);
    client.create_topic("events-hidden", 1, &[]);
    let hidden = entry(ResourceType::Topic, "events-hidden", AclOperation::Describe, AclPermissionType::Deny);
    create(&mut client, vec![hidden]);
    let find = FindCoordinatorRequest { coordinator_keys: vec!["g".to_owned()], ..Default::default() };
    assert_eq!(client.call(6, &find).coordinators[0].error_code, 0);
    let mut beat = ConsumerGroupHeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: "a-member".to_owned(),
        rebalance_timeout_ms: 30_000,
        subscribed_topic_regex: Some("events-.*".to_owned()),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let deadline = std::time::Instant::now() + support::PATIENCE;
    let assigned = loop {
        let answer = client.call(1, &beat);
        assert_eq!(answer.error_code, 0, "{answer:?}");
        beat.member_epoch = answer.member_epoch;
        match answer.assignment {
            Some(assignment) if !assignment.topic_partitions.is_empty() => break assignment.topic_partitions,
            _ => assert!(std::time::Instant::now() < deadline, "nothing was assigned"),
        }
    };
    assert_eq!(assigned.iter().map(|topic| topic.topic_id).collect::<Vec<_>>(), [shown]);
}

#[test]
fn who_may_only_see_does_not_create_a_topic_by_asking() {
    let broker = embedded::Broker::start(config()).unwrap();
    let mut client = Client::connect(&broker);
    create(
        &mut client,
        vec![
            entry(ResourceType::Topic, "*", AclOperation::Describe, AclPermissionType::Allow),
            entry(ResourceType::Cluster, CLUSTER_NAME, AclOperation::Alter, AclPermissionType::Allow),
            entry(ResourceType::Cluster, CLUSTER_NAME, AclOperation::Describe, AclPermissionType::Allow),
        ],
    );
    let refused = client.metadata(&["asked-for"], true).topics.remove(0).error_code;
    assert_eq!(refused, ErrorCode::TopicAuthorizationFailed.code());
    let all = MetadataRequest { topics: None, ..Default::default() };
    assert!(client.call(12, &all).topics.is_empty());
    create(&mut client, vec![entry(ResourceType::Topic, "asked-for", AclOperation::Create, AclPermissionType::Allow)]);
    let deadline = std::time::Instant::now() + support::PATIENCE;
    while client.metadata(&["asked-for"], true).topics.remove(0).error_code != 0 {
        assert!(std::time::Instant::now() < deadline, "the topic was never created");
    }
}
