//! Quotas: set by the admin client, and obeyed by all clients.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::time::Duration;

use vltava_broker::embedded;
use vltava_client::admin::{
    AlterClientQuotasOptions, ClientQuotaAlteration, ClientQuotaEntity, ClientQuotaFilter, CreatePartitionsOptions,
    CreateTopicsOptions, DeleteTopicsOptions, NewPartitions, NewTopic, QuotaEntityType,
};
use vltava_client::config::AutoOffsetReset;
use vltava_client::producer::{Producer, ProducerRecord};
use vltava_client::{
    Admin, AdminConfig, ClientError, Consumer, ConsumerConfig, ErrorCode, ProducerConfig, TopicPartition,
};

const TOPIC: &str = "events";

/// One window of a second and the one under way are looked at, of changes of topics only that one.
async fn broker() -> (embedded::Broker, Admin) {
    let config =
        embedded::Config::default().property("quota.window.num", "2").property("controller.quota.window.num", "1");
    let broker = embedded::Broker::start(config).unwrap();
    let config = AdminConfig::builder().bootstrap_servers(broker.bootstrap_servers()).build().unwrap();
    let admin = Admin::new(config).unwrap();
    for (_, result) in admin.create_topics([NewTopic::new(TOPIC)]).await {
        result.unwrap();
    }
    (broker, admin)
}

async fn set(admin: &Admin, entity: ClientQuotaEntity, key: &str, value: f64) {
    for (_, result) in admin.alter_client_quotas([ClientQuotaAlteration::of(entity).set(key, value)]).await {
        result.unwrap();
    }
}

#[tokio::test]
async fn quotas_are_described_as_they_were_set() {
    let (_broker, admin) = broker().await;
    assert_eq!(admin.describe_client_quotas(&ClientQuotaFilter::all()).await.unwrap(), BTreeMap::new());
    let both = ClientQuotaEntity::user("alice").and(QuotaEntityType::ClientId, None);
    let alterations = [
        ClientQuotaAlteration::of(both.clone()).set("producer_byte_rate", 1000.0).set("request_percentage", 12.5),
        ClientQuotaAlteration::of(ClientQuotaEntity::default_ip()).set("connection_creation_rate", 7.0),
        ClientQuotaAlteration::of(ClientQuotaEntity::user("bob")).set("producer_byte_rate", 0.0),
    ];
    let validated =
        admin.alter_client_quotas_with(alterations.clone(), AlterClientQuotasOptions::default().validate_only(true));
    assert_eq!(validated.await.into_values().filter(Result::is_ok).count(), 2);
    assert_eq!(admin.describe_client_quotas(&ClientQuotaFilter::all()).await.unwrap(), BTreeMap::new());

    let altered = admin.alter_client_quotas(alterations).await;
    let refused = altered.get(&ClientQuotaEntity::user("bob")).unwrap().as_ref().unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::InvalidRequest));
    assert!(refused.to_string().contains("Quota producer_byte_rate must be greater than 0"), "{refused}");
    let values = BTreeMap::from([("producer_byte_rate".to_owned(), 1000.0), ("request_percentage".to_owned(), 12.5)]);
    let of_alice = ClientQuotaFilter::all().named(QuotaEntityType::User, Some("alice"));
    let expected = BTreeMap::from([(both.clone(), values)]);
    assert_eq!(admin.describe_client_quotas(&of_alice).await.unwrap(), expected);
    assert_eq!(admin.describe_client_quotas(&of_alice.only()).await.unwrap(), BTreeMap::new());
    let defaults = ClientQuotaFilter::all().named(QuotaEntityType::ClientId, None).any(QuotaEntityType::User).only();
    assert_eq!(admin.describe_client_quotas(&defaults).await.unwrap(), expected);

    let removal = ClientQuotaAlteration::of(both).remove("producer_byte_rate").remove("request_percentage");
    assert!(admin.alter_client_quotas([removal]).await.into_values().all(|result| result.is_ok()));
    assert_eq!(admin.describe_client_quotas(&ClientQuotaFilter::all()).await.unwrap().len(), 1);
    let wrong = ClientQuotaFilter::all().any(QuotaEntityType::User).any(QuotaEntityType::Ip);
    assert_eq!(admin.describe_client_quotas(&wrong).await.unwrap_err().code(), Some(ErrorCode::InvalidRequest));
}

/// A request that is sent to a broker that does not listen gets no answer in time, and there is no other try.
#[tokio::test]
async fn a_producer_beyond_its_quota_sends_nothing_until_it_may() {
    let (broker, admin) = broker().await;
    set(&admin, ClientQuotaEntity::client_id("busy"), "producer_byte_rate", 20_000.0).await;
    let settings = [
        ("bootstrap.servers", broker.bootstrap_servers()),
        ("client.id", "busy"),
        ("request.timeout.ms", "900"),
        ("linger.ms", "0"),
        ("retries", "0"),
        ("enable.idempotence", "false"),
        ("batch.size", "1"),
        ("max.in.flight.requests.per.connection", "1"),
    ];
    let producer = Producer::new(ProducerConfig::from_properties(settings).unwrap()).unwrap();
    let value = "v".repeat(50_000);
    for offset in 0..3 {
        let sent = producer.send(ProducerRecord::new(TOPIC).value(&value)).await.unwrap();
        assert_eq!(sent.await.unwrap().offset, Some(offset));
    }
}

#[tokio::test]
async fn a_consumer_beyond_its_quota_reads_everything() {
    let (broker, admin) = broker().await;
    let config = ProducerConfig::builder().bootstrap_servers(broker.bootstrap_servers()).build().unwrap();
    let producer = Producer::new(config).unwrap();
    let value = "v".repeat(10_000);
    for _ in 0..20 {
        producer.send(ProducerRecord::new(TOPIC).value(&value)).await.unwrap().await.unwrap();
    }
    set(&admin, ClientQuotaEntity::default_user(), "consumer_byte_rate", 100_000.0).await;
    let config = ConsumerConfig::builder()
        .bootstrap_servers(broker.bootstrap_servers())
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .build()
        .unwrap();
    let consumer = Consumer::new(config).unwrap();
    consumer.assign([TopicPartition::new(TOPIC, 0)]).unwrap();
    let mut read = 0;
    while read < 20 {
        let polled = consumer.poll(Duration::from_secs(20)).await.unwrap();
        assert!(!polled.is_empty(), "only {read} came");
        read += polled.partitions().iter().map(|partition| partition.iter().count()).sum::<usize>();
    }
}

#[tokio::test]
async fn what_exceeds_a_quota_of_changes_is_told_or_tried_again() {
    let (_broker, admin) = broker().await;
    set(&admin, ClientQuotaEntity::default_user(), "controller_mutation_rate", 2.0).await;
    let exceeded = |error: &ClientError| {
        let ClientError::ThrottlingQuotaExceeded { throttle_time, .. } = error else { panic!("{error:?}") };
        assert!(*throttle_time <= Duration::from_secs(3) && error.is_retriable(), "{throttle_time:?}");
        assert_eq!(error.code(), Some(ErrorCode::ThrottlingQuotaExceeded));
    };
    // Two are there at once; who takes more of them waits afterwards.
    let created = admin.create_topics([NewTopic::new("large").partitions(6)]).await;
    assert!(created.into_values().all(|result| result.is_ok()), "what was used before counts");
    let once = CreateTopicsOptions::default().retry_on_quota_violation(false);
    let refused = admin.create_topics_with([NewTopic::new("more")], once).await;
    refused.into_values().for_each(|result| exceeded(&result.unwrap_err()));
    let more = admin.create_topics([NewTopic::new("more").partitions(6)]).await;
    assert!(more.into_values().all(|result| result.is_ok()), "the broker was left alone until then");

    let once = CreatePartitionsOptions::default().retry_on_quota_violation(false);
    let refused = admin.create_partitions_with([("more", NewPartitions::increase_to(7))], once).await;
    refused.into_values().for_each(|result| exceeded(&result.unwrap_err()));
    let deleted = admin.delete_topics_with(["large"], DeleteTopicsOptions::default().retry_on_quota_violation(false));
    assert!(deleted.await.into_values().all(|result| result.is_ok()));
    let deleted = admin.delete_topics(["more"]).await;
    assert!(deleted.into_values().all(|result| result.is_ok()), "tried again when its time had come");
}
