//! Requests about the lists themselves: what is let into them, what is told of them, and what goes.

use vltava_protocol::messages::create_acls_request::AclCreation;
use vltava_protocol::messages::delete_acls_request::DeleteAclsFilter;
use vltava_protocol::messages::{CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest};
use vltava_security::acl::{AclOperation, AclPermissionType, PatternType, ResourceType};

use super::Asking;
use crate::transcript::Session;

fn of_nobody() -> DescribeAclsRequest {
    DescribeAclsRequest {
        resource_type_filter: ResourceType::Any.code(),
        resource_name_filter: None,
        pattern_type_filter: PatternType::Any.code(),
        principal_filter: Some("User:nobody".to_owned()),
        host_filter: None,
        operation: AclOperation::Any.code(),
        permission_type: AclPermissionType::Any.code(),
        ..Default::default()
    }
}

pub(super) fn describe_acls(a: &mut Asking<'_>, version: i16) -> String {
    a.ask(version, &of_nobody(), |_| {})
}

/// An entry of nobody's.
fn entry(change: fn(&mut AclCreation)) -> AclCreation {
    let mut creation = AclCreation {
        resource_type: ResourceType::Topic.code(),
        resource_name: "t".to_owned(),
        resource_pattern_type: PatternType::Literal.code(),
        principal: "User:nobody".to_owned(),
        host: "*".to_owned(),
        operation: AclOperation::Read.code(),
        permission_type: AclPermissionType::Allow.code(),
        ..Default::default()
    };
    change(&mut creation);
    creation
}

/// A filter for entries of nobody's.
fn filter(change: fn(&mut DeleteAclsFilter)) -> DeleteAclsFilter {
    let mut filter = DeleteAclsFilter {
        resource_type_filter: ResourceType::Any.code(),
        resource_name_filter: None,
        pattern_type_filter: PatternType::Any.code(),
        principal_filter: Some("User:nobody".to_owned()),
        host_filter: None,
        operation: AclOperation::Any.code(),
        permission_type: AclPermissionType::Any.code(),
        ..Default::default()
    };
    change(&mut filter);
    filter
}

pub(super) fn create_acls(a: &mut Asking<'_>, version: i16) -> String {
    let creations = vec![entry(|_| {}), entry(|entry| entry.resource_name.clear())];
    a.ask(version, &CreateAclsRequest { creations, ..Default::default() }, |_| {})
}

pub(super) fn delete_acls(a: &mut Asking<'_>, version: i16) -> String {
    let group = filter(|filter| filter.resource_type_filter = ResourceType::Group.code());
    let filters = vec![group, filter(|filter| filter.operation = 99)];
    a.ask(version, &DeleteAclsRequest { filters, ..Default::default() }, |_| {})
}

/// What is told of lists where there are none.
pub(crate) fn no_authorizer(s: &mut Session) {
    s.about("without an authorizer");
    s.call("describe", 3, &of_nobody());
    let creations = vec![entry(|_| {}), entry(|e| e.resource_name.clear())];
    s.call("create", 3, &CreateAclsRequest { creations, ..Default::default() });
    s.call("delete", 3, &DeleteAclsRequest { filters: vec![filter(|_| {})], ..Default::default() });
    s.call(
        "create what is none",
        3,
        &CreateAclsRequest { creations: vec![entry(|e| e.operation = 0)], ..Default::default() },
    );
}

/// What is let into the lists, what is told of them, and what goes.
pub(crate) fn lists(s: &mut Session) {
    entries(s);
    descriptions(s);
    deletions(s);
}

fn entries(s: &mut Session) {
    let create = |creations: Vec<AclCreation>| CreateAclsRequest { creations, ..Default::default() };
    s.about("entries");
    let good = vec![
        entry(|_| {}),
        entry(|_| {}),
        entry(|e| e.resource_pattern_type = PatternType::Prefixed.code()),
        entry(|e| e.permission_type = AclPermissionType::Deny.code()),
        entry(|e| (e.resource_type, e.resource_name) = (ResourceType::User.code(), "User:other".to_owned())),
        entry(|e| e.host = "not an address".to_owned()),
        entry(|e| e.principal = "Robot:a:b".to_owned()),
        entry(|e| e.principal = ":".to_owned()),
    ];
    s.call("good ones, one of them twice", 3, &create(good));
    s.call("one that is there already", 1, &create(vec![entry(|_| {})]));
    let wrong = vec![
        entry(|e| e.resource_type = 99),
        entry(|e| e.resource_type = ResourceType::Cluster.code()),
        entry(|e| e.resource_pattern_type = 99),
        entry(|e| e.operation = 99),
        entry(|e| e.permission_type = 99),
        entry(|_| {}),
        entry(|e| e.resource_name.clear()),
        entry(|e| e.principal = "nobody".to_owned()),
        entry(|e| e.principal.clear()),
    ];
    s.call("wrong ones", 3, &create(wrong));
    let filters = [
        entry(|e| e.resource_type = ResourceType::Any.code()),
        entry(|e| e.resource_pattern_type = PatternType::Any.code()),
        entry(|e| e.resource_pattern_type = PatternType::Match.code()),
        entry(|e| e.operation = AclOperation::Any.code()),
        entry(|e| e.permission_type = AclPermissionType::Any.code()),
    ];
    for creation in filters {
        s.call("what only a filter has", 3, &create(vec![creation, entry(|_| {})]));
    }
    s.call("none", 3, &create(Vec::new()));
    s.call("an unknown type", 3, &create(vec![entry(|e| e.resource_type = 0)]));
    s.call("an unknown operation", 3, &create(vec![entry(|e| e.operation = 0)]));
}

fn descriptions(s: &mut Session) {
    s.about("what there is");
    s.until(3, &of_nobody(), |answer| answer.resources.iter().map(|of| of.acls.len()).sum::<usize>() == 5);
    let describe = |s: &mut Session, what: &str, change: fn(&mut DescribeAclsRequest)| {
        let mut request = of_nobody();
        change(&mut request);
        s.call_then(what, 3, &request, |answer| {
            answer.resources.sort_by_key(|of| (of.resource_type, of.resource_name.clone(), of.pattern_type));
            for resource in &mut answer.resources {
                resource.acls.sort_by_key(|entry| {
                    (entry.principal.clone(), entry.host.clone(), entry.operation, entry.permission_type)
                });
            }
        });
    };
    describe(s, "of somebody", |_| {});
    describe(s, "of everybody", |r| r.principal_filter = None);
    describe(s, "of a topic", |r| {
        r.resource_type_filter = ResourceType::Topic.code();
        r.resource_name_filter = Some("t".to_owned());
    });
    describe(s, "about a topic", |r| {
        r.resource_name_filter = Some("tt".to_owned());
        r.pattern_type_filter = PatternType::Match.code();
    });
    describe(s, "that deny", |r| r.permission_type = AclPermissionType::Deny.code());
    describe(s, "of a type that there is not", |r| r.resource_type_filter = 99);
    describe(s, "of a pattern that there is not", |r| r.pattern_type_filter = 99);
    describe(s, "of an unknown type", |r| r.resource_type_filter = 0);
}

fn deletions(s: &mut Session) {
    s.about("what goes");
    let delete = |s: &mut Session, what: &str, filters: Vec<DeleteAclsFilter>| {
        s.call_then(what, 3, &DeleteAclsRequest { filters, ..Default::default() }, |answer| {
            for result in &mut answer.filter_results {
                result.matching_acls.sort_by_key(|acl| {
                    let pattern = (acl.resource_type, acl.resource_name.clone(), acl.pattern_type);
                    (pattern, acl.principal.clone(), acl.host.clone(), acl.operation, acl.permission_type)
                });
            }
        });
    };
    let unknown = vec![
        filter(|f| f.resource_type_filter = 99),
        filter(|f| f.pattern_type_filter = 99),
        filter(|f| f.operation = 99),
        filter(|f| f.permission_type = 99),
    ];
    delete(s, "unknown types", unknown);
    delete(s, "a type that is none", vec![filter(|f| f.operation = 0)]);
    let twice = vec![
        filter(|f| f.permission_type = AclPermissionType::Deny.code()),
        filter(|f| {
            f.resource_name_filter = Some("t".to_owned());
            f.pattern_type_filter = PatternType::Literal.code();
        }),
    ];
    delete(s, "one, by two filters", twice);
    delete(s, "all", vec![filter(|f| f.principal_filter = None)]);
    delete(s, "none", Vec::new());
}
