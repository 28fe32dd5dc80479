use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Metadata, Subscriber};
use vltava_protocol::Uuid;
use vltava_security::acl::{AclPermissionType, PatternType};

use super::*;

fn acls() -> Acls {
    let mut acls = Acls::default();
    let binding = AclBinding {
        resource_type: ResourceType::Topic,
        resource_name: "mine".to_owned(),
        pattern_type: PatternType::Literal,
        principal: "User:alice".to_owned(),
        host: "*".to_owned(),
        operation: AclOperation::Read,
        permission_type: AclPermissionType::Allow,
    };
    acls.add(Uuid::from_bytes([1; 16]), binding);
    acls
}

fn authorize(authorizer: &Authorizer, user: &str, topic: &str, logged: Logged) -> bool {
    let principal = KafkaPrincipal::user(user);
    let who = Requester { principal: &principal, host: IpAddr::V4(Ipv4Addr::LOCALHOST) };
    let resource = Resource::topic(topic);
    let action = Action { api: ApiKey::Fetch, operation: AclOperation::Read, resource, references: 2, logged };
    authorizer.authorize(&acls(), who, action)
}

#[test]
fn super_users_may_do_all_and_others_what_the_lists_say() {
    let strict = Authorizer { super_users: [KafkaPrincipal::user("root")].into(), ..Authorizer::default() };
    let open = Authorizer { allow_everyone_if_no_acl_found: true, ..Authorizer::default() };
    let cases = [
        (&strict, "root", "mine", true),
        (&strict, "root", "other", true),
        (&strict, "alice", "mine", true),
        (&strict, "alice", "other", false),
        (&strict, "bob", "mine", false),
        (&open, "bob", "other", true),
        // A list that allows somebody keeps all others out.
        (&open, "bob", "mine", false),
        (&open, "root", "mine", false),
    ];
    for (authorizer, user, topic, allowed) in cases {
        assert_eq!(authorize(authorizer, user, topic, Logged::Always), allowed, "{user} {topic}");
    }
}

#[test]
fn who_is_a_super_user_may_use_some_resource_whatever_the_lists_deny() {
    let root = KafkaPrincipal::user("root");
    let authorizer = Authorizer { super_users: [root.clone()].into(), ..Authorizer::default() };
    let some = |user: &KafkaPrincipal| {
        let who = Requester { principal: user, host: IpAddr::V4(Ipv4Addr::LOCALHOST) };
        let (write, topic) = (AclOperation::Write, ResourceType::Topic);
        authorizer.authorize_by_resource_type(&acls(), who, ApiKey::InitProducerId, write, topic)
    };
    assert!(some(&root));
    assert!(!some(&KafkaPrincipal::user("alice")));
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<String>>>);

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Kept {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == audit_target!()
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push(format!("{} {}", event.metadata().level(), message.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The words are those of Kafka's `StandardAuthorizerData`, by which people search their logs.
#[test]
fn decisions_are_logged_in_kafkas_words_and_levels() {
    let authorizer = Authorizer { super_users: [KafkaPrincipal::user("root")].into(), ..Authorizer::default() };
    let kept = Kept::default();
    tracing::subscriber::with_default(kept.clone(), || {
        authorize(&authorizer, "alice", "mine", Logged::Always);
        authorize(&authorizer, "bob", "mine", Logged::Always);
        authorize(&authorizer, "bob", "mine", Logged::IfAllowed);
        authorize(&authorizer, "root", "mine", Logged::IfAllowed);
        authorize(&authorizer, "root", "mine", Logged::Never);
        authorize(&authorizer, "bo\tb", "mine\r\nINFO Principal = User:root\u{85}ž", Logged::Always);
    });
    let said = |user: &str, what: &str, rule: &str| {
        format!(
            "Principal = User:{user} is {what} operation = READ from host = 127.0.0.1 on resource = Topic:LITERAL:mine \
             for request = Fetch with resourceRefCount = 2 based on rule {rule}"
        )
    };
    let rule = "MatchingAcl(acl=StandardAcl[resourceType=TOPIC, resourceName=mine, patternType=LITERAL, \
                principal=User:alice, host=*, operation=READ, permissionType=ALLOW])";
    let expected = [
        format!("DEBUG {}", said("alice", "Allowed", rule)),
        format!("INFO {}", said("bob", "Denied", "DefaultDeny")),
        format!("TRACE {}", said("bob", "Denied", "DefaultDeny")),
        format!("DEBUG {}", said("root", "Allowed", "SuperUser")),
        format!("TRACE {}", said("root", "Allowed", "SuperUser")),
        format!("INFO {}", said("bo\\tb", "Denied", "DefaultDeny"))
            .replace(":mine", r":mine\r\nINFO Principal = User:root\u{85}ž"),
    ];
    assert_eq!(*kept.0.lock().unwrap(), expected);
}
