use std::net::SocketAddr;

use vltava_protocol::{ApiKey, Uuid};
use vltava_security::acl::{AclBinding, AclPermissionType, PatternType};
use vltava_security::{KafkaPrincipal, SecurityProtocol};

use super::*;
use crate::quota::Charges;
use crate::request::Peer;

fn context(access: Access) -> RequestContext {
    let peer = Peer {
        connection_id: "127.0.0.1:9092-127.0.0.1:5000-7".to_owned(),
        address: SocketAddr::from(([127, 0, 0, 1], 5000)),
        listener: "PLAINTEXT".into(),
        security_protocol: SecurityProtocol::Plaintext,
        principal: KafkaPrincipal::anonymous(),
        activity: Arc::default(),
        listener_metrics: Arc::default(),
    };
    RequestContext {
        api_key: ApiKey::Metadata,
        version: 9,
        correlation_id: 3,
        client_id: None,
        peer: Arc::new(peer),
        access,
        charges: Charges::default(),
    }
}

fn judged(operation: AclOperation, permission_type: AclPermissionType) -> RequestContext {
    let mut acls = Acls::default();
    let binding = AclBinding {
        resource_type: ResourceType::Topic,
        resource_name: "t".to_owned(),
        pattern_type: PatternType::Prefixed,
        principal: "User:ANONYMOUS".to_owned(),
        host: "127.0.0.1".to_owned(),
        operation,
        permission_type,
    };
    acls.add(Uuid::from_bytes([1; 16]), binding);
    context(Access::judged_by(&Arc::default(), &Arc::new(acls)))
}

/// The fields are those that Kafka answers where everything is allowed.
#[test]
fn without_an_authorizer_all_is_allowed() {
    let context = context(Access::default());
    assert!(!context.is_judged());
    assert!(context.may(AclOperation::Describe, Resource::topic("t")));
    assert!(context.may_with_some(AclOperation::Write, ResourceType::Topic));
    assert!(context.need_of_cluster(AclOperation::Alter).is_ok());
    assert_eq!(context.authorized_operations(Resource::topic("t")), 3576);
    assert_eq!(context.authorized_operations(Resource::CLUSTER), 8096);
    assert_eq!(context.authorized_operations(Resource::group("g")), 3400);
}

#[test]
fn authorized_operations_are_those_that_are_allowed() {
    let bits = |operations: &[AclOperation]| operations.iter().fold(0, |field, one| field | 1 << one.code());
    let reader = judged(AclOperation::Read, AclPermissionType::Allow);
    let expected = bits(&[AclOperation::Read, AclOperation::Describe]);
    assert_eq!(reader.authorized_operations(Resource::topic("topic")), expected);
    assert_eq!(reader.authorized_operations(Resource::topic("other")), 0);
    let all = judged(AclOperation::All, AclPermissionType::Allow);
    assert_eq!(all.authorized_operations(Resource::topic("topic")), 3576);
    let denied = judged(AclOperation::All, AclPermissionType::Deny);
    assert_eq!(denied.authorized_operations(Resource::topic("topic")), 0);
}

#[test]
fn who_lacks_a_right_on_the_cluster_is_told_which() {
    let error = judged(AclOperation::Read, AclPermissionType::Allow).need_of_cluster(AclOperation::Describe);
    let error = error.unwrap_err();
    assert_eq!(error.code, ErrorCode::ClusterAuthorizationFailed);
    assert!(error.message.unwrap().ends_with(") needs DESCRIBE permission."));
}

#[test]
#[cfg(debug_assertions)]
fn a_handler_asks_only_what_its_row_names() {
    let context = judged(AclOperation::All, AclPermissionType::Allow);
    let asked = || context.may(AclOperation::Alter, Resource::topic("t"));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(asked)).is_err());
}
