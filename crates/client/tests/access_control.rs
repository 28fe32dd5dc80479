//! What clients make of missing rights: the names of topics, groups and transactional ids are told, as by Kafka's.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use vltava_broker::embedded;
use vltava_client::admin::NewTopic;
use vltava_client::admin::acls::{
    AclBinding, AclBindingFilter, AclOperation, AclPermissionType, PatternType, ResourceType, WILDCARD,
};
use vltava_client::consumer::Consumer;
use vltava_client::producer::{Producer, ProducerRecord};
use vltava_client::{Admin, AdminConfig, ClientError, ConsumerConfig, ProducerConfig};
use vltava_protocol::ErrorCode;

/// A broker on which everybody may do everything but what is denied, with topics `open` and `closed`.
async fn world() -> (embedded::Broker, Admin) {
    let config = embedded::Config::default()
        .property("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
        .property("allow.everyone.if.no.acl.found", "true");
    let broker = embedded::Broker::start(config).unwrap();
    let admin = Admin::new(AdminConfig::builder().bootstrap_servers(broker.bootstrap_servers()).build().unwrap());
    let admin = admin.unwrap();
    for (_, created) in admin.create_topics(["open", "closed"].map(NewTopic::new)).await {
        created.unwrap();
    }
    let types = [ResourceType::Topic, ResourceType::Group, ResourceType::TransactionalId];
    set(&admin, types.map(|resource_type| allow(resource_type, WILDCARD, AclOperation::All))).await;
    (broker, admin)
}

fn deny(resource_type: ResourceType, name: &str, operation: AclOperation) -> AclBinding {
    AclBinding { permission_type: AclPermissionType::Deny, ..allow(resource_type, name, operation) }
}

fn allow(resource_type: ResourceType, name: &str, operation: AclOperation) -> AclBinding {
    AclBinding {
        resource_type,
        resource_name: name.to_owned(),
        pattern_type: PatternType::Literal,
        principal: "User:ANONYMOUS".to_owned(),
        host: WILDCARD.to_owned(),
        operation,
        permission_type: AclPermissionType::Allow,
    }
}

async fn set(admin: &Admin, bindings: impl IntoIterator<Item = AclBinding>) {
    for (_, created) in admin.create_acls(bindings).await {
        created.unwrap();
    }
}

fn producer(broker: &embedded::Broker, change: &[(&str, &str)]) -> Producer {
    let own = [("bootstrap.servers", broker.bootstrap_servers()), ("max.block.ms", "20000")];
    Producer::new(ProducerConfig::from_properties(own.iter().chain(change).copied()).unwrap()).unwrap()
}

fn consumer(broker: &embedded::Broker, group: &str) -> Consumer {
    let own = [
        ("bootstrap.servers", broker.bootstrap_servers()),
        ("group.id", group),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
    ];
    Consumer::new(ConsumerConfig::from_properties(own).unwrap()).unwrap()
}

/// The error and what it says.
fn told(error: &ClientError) -> (Option<ErrorCode>, String) {
    (error.code(), error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_are_created_described_and_deleted() {
    let (_broker, admin) = world().await;
    let entries = ["a", "b"].map(|name| deny(ResourceType::Topic, name, AclOperation::All));
    set(&admin, entries.clone()).await;
    let denied = AclBindingFilter { permission_type: AclPermissionType::Deny, ..AclBindingFilter::ANY };
    let mut described = admin.describe_acls(&denied).await.unwrap();
    described.sort();
    assert_eq!(described, entries);
    let [one, none] =
        ["a", "nosuch"].map(|name| AclBindingFilter { resource_name: Some(name.to_owned()), ..AclBindingFilter::ANY });
    let deleted = admin.delete_acls([one.clone(), none.clone()]).await;
    assert_eq!(deleted[&one].as_ref().unwrap(), &entries[..1]);
    assert!(deleted[&none].as_ref().unwrap().is_empty());
    assert_eq!(admin.describe_acls(&denied).await.unwrap(), entries[1..]);
    let wrong = deny(ResourceType::Any, "a", AclOperation::All);
    let refused = admin.create_acls([wrong.clone()]).await;
    let error = refused[&wrong].as_ref().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidRequest));
    assert!(error.to_string().contains("Invalid ACL creation: Resource type is ANY."), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_is_told_which_topic_it_may_not_write_to() {
    let (broker, admin) = world().await;
    set(&admin, [deny(ResourceType::Topic, "closed", AclOperation::Write)]).await;
    let producer = producer(&broker, &[]);
    let closed = producer.send(ProducerRecord::new("closed").value("v")).await.unwrap().await.unwrap_err();
    let (code, text) = told(&closed);
    assert_eq!(code, Some(ErrorCode::TopicAuthorizationFailed), "{text}");
    assert!(text.ends_with("Not authorized to access topics: [closed]"), "{text}");
    // It goes on with others.
    producer.send(ProducerRecord::new("open").value("v")).await.unwrap().await.unwrap();

    set(&admin, [deny(ResourceType::Topic, "hidden", AclOperation::Describe)]).await;
    let hidden = match producer.send(ProducerRecord::new("hidden").value("v")).await {
        Ok(delivery) => delivery.await.unwrap_err(),
        Err(error) => error,
    };
    let (code, text) = told(&hidden);
    assert_eq!(code, Some(ErrorCode::TopicAuthorizationFailed), "{text}");
    assert!(text.ends_with("Not authorized to access topics: [hidden]"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_without_a_right_to_its_id_is_over() {
    let (broker, admin) = world().await;
    set(&admin, [deny(ResourceType::TransactionalId, "mine", AclOperation::Write)]).await;
    let producer = producer(&broker, &[("transactional.id", "mine")]);
    let error = producer.init_transactions().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::TransactionalIdAuthorizationFailed), "{error}");
    assert!(error.is_fatal(), "{error:?}");
}

/// The first error of a consumer.
async fn failure(consumer: &mut Consumer) -> ClientError {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        match consumer.poll(Duration::from_millis(100)).await {
            Ok(_) => assert!(std::time::Instant::now() < deadline, "nothing failed"),
            Err(error) => return error,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_is_told_which_topic_it_may_not_see_or_read() {
    let (broker, admin) = world().await;
    set(&admin, [deny(ResourceType::Topic, "closed", AclOperation::Read)]).await;
    let mut reader = consumer(&broker, "readers");
    reader.subscribe(["closed"]).unwrap();
    let (code, text) = told(&failure(&mut reader).await);
    assert_eq!(code, Some(ErrorCode::TopicAuthorizationFailed), "{text}");
    assert!(text.contains("closed"), "{text}");

    set(&admin, [deny(ResourceType::Topic, "closed", AclOperation::Describe)]).await;
    let mut blind = consumer(&broker, "blind");
    blind.subscribe(["closed"]).unwrap();
    let (code, text) = told(&failure(&mut blind).await);
    assert_eq!(code, Some(ErrorCode::TopicAuthorizationFailed), "{text}");
    assert!(text.contains("closed"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_without_a_right_to_its_group_is_told_which() {
    let (broker, admin) = world().await;
    set(&admin, [deny(ResourceType::Group, "theirs", AclOperation::Read)]).await;
    let mut consumer = consumer(&broker, "theirs");
    consumer.subscribe(["open"]).unwrap();
    let (code, text) = told(&failure(&mut consumer).await);
    assert_eq!(code, Some(ErrorCode::GroupAuthorizationFailed), "{text}");
    assert!(text.ends_with("Not authorized to access group: theirs"), "{text}");
}
