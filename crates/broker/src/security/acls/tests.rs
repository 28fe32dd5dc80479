use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn binding(text: &str) -> AclBinding {
    let words: Vec<&str> = text.split(' ').collect();
    let [permission, principal, operation, resource_type, pattern, name, host @ ..] = words.as_slice() else {
        panic!("{text}")
    };
    AclBinding {
        resource_type: ResourceType::from_name(resource_type).unwrap(),
        resource_name: (*name).to_owned(),
        pattern_type: PatternType::from_name(pattern).unwrap(),
        principal: format!("User:{principal}"),
        host: (*host.first().unwrap_or(&WILDCARD)).to_owned(),
        operation: AclOperation::from_name(operation).unwrap(),
        permission_type: AclPermissionType::from_name(permission).unwrap(),
    }
}

fn acls(bindings: &[AclBinding]) -> Acls {
    let mut acls = Acls::default();
    for (id, binding) in (1_u128..).zip(bindings) {
        acls.add(Uuid::from_bytes(id.to_be_bytes()), binding.clone());
    }
    acls
}

/// What is said about `alice`, from 127.0.0.1, and a topic.
fn verdict(lists: &[&str], operation: AclOperation, topic: &str) -> &'static str {
    let acls = acls(&lists.iter().map(|text| binding(text)).collect::<Vec<_>>());
    let alice = KafkaPrincipal::user("alice");
    let who = Requester { principal: &alice, host: HERE };
    match acls.decide(who, operation, ResourceType::Topic, topic) {
        Verdict::Allowed(_) => "allowed",
        Verdict::Denied(_) => "denied",
        Verdict::OthersOnly => "others only",
        Verdict::NoAcl => "no acl",
    }
}

#[test]
fn lists_say_what_they_are_about() {
    use AclOperation::{Alter, AlterConfigs, Describe, DescribeConfigs, Read, Write};
    let cases: &[(&[&str], AclOperation, &str, &str)] = &[
        (&[], Read, "t", "no acl"),
        (&["allow alice read topic literal t"], Read, "t", "allowed"),
        (&["allow alice read topic literal t"], Read, "tt", "no acl"),
        (&["allow alice read topic literal t"], Write, "t", "others only"),
        (&["allow bob read topic literal t"], Read, "t", "others only"),
        (&["allow alice read group literal t"], Read, "t", "no acl"),
        // Everybody, and everything.
        (&["allow * read topic literal t"], Read, "t", "allowed"),
        (&["allow alice all topic literal t"], Alter, "t", "allowed"),
        (&["allow alice read topic literal *"], Read, "t", "allowed"),
        (&["allow bob read topic literal *"], Read, "t", "others only"),
        // Beginnings.
        (&["allow alice read topic prefixed te"], Read, "test", "allowed"),
        (&["allow alice read topic prefixed test"], Read, "test", "allowed"),
        (&["allow alice read topic prefixed tests"], Read, "test", "no acl"),
        (&["allow alice read topic prefixed *"], Read, "test", "no acl"),
        (&["allow alice read topic prefixed té"], Read, "tés", "allowed"),
        (&["allow alice read topic prefixed t"], Read, "é", "no acl"),
        // Hosts.
        (&["allow alice read topic literal t 127.0.0.1"], Read, "t", "allowed"),
        (&["allow alice read topic literal t 127.0.0.2"], Read, "t", "others only"),
        (&["allow alice read topic literal t localhost"], Read, "t", "others only"),
        (&["allow alice read topic literal t ::ffff:127.0.0.1"], Read, "t", "others only"),
        // What denies comes first, wherever it stands.
        (&["allow alice read topic literal t", "deny alice read topic literal t"], Read, "t", "denied"),
        (&["allow alice read topic literal t", "deny * read topic literal *"], Read, "t", "denied"),
        (&["allow alice all topic literal test", "deny alice all topic prefixed te"], Read, "test", "denied"),
        (&["deny alice all topic literal test", "allow alice all topic prefixed te"], Read, "test", "denied"),
        (&["deny bob all topic literal test", "allow alice all topic prefixed te"], Read, "test", "allowed"),
        (&["deny alice write topic literal t", "allow alice read topic literal t"], Read, "t", "allowed"),
        // What implies another, and only where it allows.
        (&["allow alice read topic literal t"], Describe, "t", "allowed"),
        (&["allow alice write topic literal t"], Describe, "t", "allowed"),
        (&["allow alice delete topic literal t"], Describe, "t", "allowed"),
        (&["allow alice alter topic literal t"], Describe, "t", "allowed"),
        (&["allow alice create topic literal t"], Describe, "t", "others only"),
        (&["allow alice alter_configs topic literal t"], Describe, "t", "others only"),
        (&["allow alice alter_configs topic literal t"], DescribeConfigs, "t", "allowed"),
        (&["allow alice describe_configs topic literal t"], AlterConfigs, "t", "others only"),
        (&["allow alice describe topic literal t"], Read, "t", "others only"),
        (&["deny alice read topic literal t", "allow alice describe topic literal t"], Describe, "t", "allowed"),
    ];
    for (lists, operation, topic, expected) in cases {
        assert_eq!(verdict(lists, *operation, topic), *expected, "{operation} of {topic} by {lists:?}");
    }
}

#[test]
fn some_resource_may_be_written_where_nothing_denies_as_much() {
    let cases: &[(&[&str], bool)] = &[
        (&[], false),
        (&["allow alice write topic literal t"], true),
        (&["allow alice all topic literal t"], true),
        (&["allow * write topic literal t"], true),
        (&["allow bob write topic literal t"], false),
        (&["allow alice read topic literal t"], false),
        (&["allow alice write topic literal t 127.0.0.2"], false),
        (&["allow alice write topic literal *"], true),
        (&["allow alice write topic literal *", "deny alice write topic literal *"], false),
        (&["allow alice write topic literal *", "deny alice write topic literal t"], true),
        (&["allow alice write topic literal t", "deny alice write topic literal t"], false),
        (&["allow alice write topic literal t", "deny alice all topic literal u"], true),
        (&["allow alice write topic literal test", "deny alice write topic prefixed te"], false),
        (&["allow alice write topic prefixed test", "deny alice write topic prefixed te"], false),
        (&["allow alice write topic prefixed te", "deny alice write topic prefixed te"], false),
        (&["allow alice write topic prefixed te", "deny alice write topic prefixed test"], true),
        (&["allow alice write topic prefixed te", "deny alice write topic literal te"], true),
        (&["allow alice write topic literal t", "deny * write topic literal *"], false),
    ];
    let alice = KafkaPrincipal::user("alice");
    let who = Requester { principal: &alice, host: HERE };
    for (lists, expected) in cases {
        let acls = acls(&lists.iter().map(|text| binding(text)).collect::<Vec<_>>());
        assert_eq!(acls.allows_some(who, AclOperation::Write, ResourceType::Topic), *expected, "{lists:?}");
    }
}

#[test]
fn addresses_are_in_the_form_of_java() {
    let cases = [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "0:0:0:0:0:0:0:1"),
        ("2001:db8::a", "2001:db8:0:0:0:0:0:a"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
    ];
    for (address, text) in cases {
        assert_eq!(host_address(address.parse().unwrap()), text);
    }
    assert_eq!(Host::of("0:0:0:0:0:0:0:1"), Host::Address("::1".parse().unwrap()));
    assert_eq!(Host::of("::1"), Host::Nowhere);
}

/// Kafka's rules as they are told: look at every entry.
fn naive(bindings: &[AclBinding], who: Requester<'_>, operation: AclOperation, name: &str) -> &'static str {
    let about = |binding: &&AclBinding| match binding.pattern_type {
        PatternType::Literal => binding.resource_name == name || binding.resource_name == WILDCARD,
        _ => name.starts_with(&binding.resource_name),
    };
    let of_resource: Vec<&AclBinding> =
        bindings.iter().filter(|binding| binding.resource_type == ResourceType::Topic).filter(about).collect();
    let fits = |binding: &&&AclBinding| {
        let allows = binding.permission_type == AclPermissionType::Allow;
        let implied: &[AclOperation] = match operation {
            AclOperation::Describe if allows => {
                &[AclOperation::Read, AclOperation::Write, AclOperation::Delete, AclOperation::Alter]
            }
            AclOperation::DescribeConfigs if allows => &[AclOperation::AlterConfigs],
            _ => &[],
        };
        let is_operation = binding.operation == operation
            || binding.operation == AclOperation::All
            || implied.contains(&binding.operation);
        let is_principal = binding.principal == "User:*" || binding.principal == who.principal.to_string();
        let is_host = binding.host == WILDCARD || binding.host == who.host.to_string();
        is_operation && is_principal && is_host
    };
    let fitting: Vec<&&AclBinding> = of_resource.iter().filter(fits).collect();
    match () {
        () if fitting.iter().any(|binding| binding.permission_type == AclPermissionType::Deny) => "denied",
        () if !fitting.is_empty() => "allowed",
        () if of_resource.is_empty() => "no acl",
        () => "others only",
    }
}

fn any_name() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[ab*é]{1,3}").unwrap()
}

fn any_binding() -> impl Strategy<Value = AclBinding> {
    let resource_type = prop::sample::select(vec![ResourceType::Topic, ResourceType::Group]);
    let pattern_type = prop::sample::select(vec![PatternType::Literal, PatternType::Prefixed]);
    let principal = prop::sample::select(vec!["User:*", "User:alice", "User:bob", "Robot:alice"]);
    let host = prop::sample::select(vec!["*", "127.0.0.1", "127.0.0.2"]);
    let operation = prop::sample::select(AclOperation::ALL[2..12].to_vec());
    let permission = prop::sample::select(vec![AclPermissionType::Allow, AclPermissionType::Deny]);
    (resource_type, any_name(), pattern_type, principal, host, operation, permission).prop_map(
        |(resource_type, resource_name, pattern_type, principal, host, operation, permission_type)| AclBinding {
            resource_type,
            resource_name,
            pattern_type,
            principal: principal.to_owned(),
            host: host.to_owned(),
            operation,
            permission_type,
        },
    )
}

proptest! {
    #[test]
    fn verdicts_are_those_of_a_look_at_every_entry(
        bindings in prop::collection::vec(any_binding(), 0..12),
        removed in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        name in any_name(),
        operation in prop::sample::select(AclOperation::ALL[3..12].to_vec()),
    ) {
        let mut acls = acls(&bindings);
        let mut left: Vec<(u128, AclBinding)> = (1..).zip(bindings.clone()).collect();
        for index in removed {
            if !left.is_empty() {
                let (id, _) = left.remove(index.index(left.len()));
                prop_assert!(acls.remove(Uuid::from_bytes(id.to_be_bytes())));
            }
        }
        let left: Vec<AclBinding> = left.into_iter().map(|(_, binding)| binding).collect();
        for principal in [KafkaPrincipal::user("alice"), KafkaPrincipal::anonymous()] {
            let who = Requester { principal: &principal, host: HERE };
            let said = match acls.decide(who, operation, ResourceType::Topic, &name) {
                Verdict::Allowed(_) => "allowed",
                Verdict::Denied(_) => "denied",
                Verdict::OthersOnly => "others only",
                Verdict::NoAcl => "no acl",
            };
            prop_assert_eq!(said, naive(&left, who, operation, &name));
        }
        prop_assert!(left.iter().all(|binding| acls.contains(binding)));
        prop_assert_eq!(acls.len(), left.len());
    }
}
