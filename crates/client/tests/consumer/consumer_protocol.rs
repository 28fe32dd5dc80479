//! Groups whose coordinator assigns (KIP-848).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::runtime::{Builder, Runtime};
use vltava_broker::embedded;
use vltava_client::admin::NewPartitions;
use vltava_client::consumer::{ConsumerGroupMetadata, Offsets, SubscriptionPattern};
use vltava_client::producer::{Producer, ProducerRecord};
use vltava_client::{
    Admin, AdminConfig, ClientError, Consumer, ConsumerConfig, ErrorCode, OffsetAndMetadata, ProducerConfig,
    RebalanceCallbacks, TopicPartition,
};

use crate::support::*;

/// One whose groups notice quickly who is gone.
fn quick_broker() -> embedded::Broker {
    let config = embedded::Config::default()
        .property("group.consumer.min.heartbeat.interval.ms", "50")
        .property("group.consumer.heartbeat.interval.ms", "100")
        .property("group.consumer.min.session.timeout.ms", "1000")
        .property("group.consumer.session.timeout.ms", "2000")
        .property("group.consumer.assignment.interval.ms", "0");
    embedded::Broker::start(config).unwrap()
}

const GROUP: [(&str, &str); 3] = [("group.id", "g"), ("group.protocol", "consumer"), ("enable.auto.commit", "false")];

fn member(servers: &str, settings: &[(&str, &str)]) -> Consumer {
    consumer(servers, &[&GROUP, settings].concat())
}

/// Which call, for which partitions.
type Call = (&'static str, BTreeSet<i32>);

#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<Call>>>);

impl Calls {
    fn list(&self) -> Vec<Call> {
        self.0.lock().unwrap().clone()
    }

    fn callbacks(&self) -> RebalanceCallbacks {
        let note = |call: &'static str| {
            let calls = self.clone();
            move |_: &Consumer, partitions: &[TopicPartition]| {
                calls.0.lock().unwrap().push((call, partitions.iter().map(TopicPartition::partition).collect()));
                Ok(())
            }
        };
        RebalanceCallbacks::new().on_assigned(note("assigned")).on_revoked(note("revoked")).on_lost(note("lost"))
    }
}

fn share_evenly(members: &[&Consumer]) -> bool {
    let all: BTreeSet<TopicPartition> = members.iter().flat_map(|member| member.assignment()).collect();
    all.len() == 4 && members.iter().all(|member| member.assignment().len() == 4 / members.len())
}

fn admin(servers: &str) -> Admin {
    Admin::new(AdminConfig::from_properties([("bootstrap.servers", servers)]).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_partitions_and_only_what_moves_is_revoked() {
    let broker = quick_broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 4).await;
    produce(servers, "t", 4, 400, &[]).await;
    for auto_commit in ["false", "true"] {
        let group = format!("g-{auto_commit}");
        let settings = [("group.id", group.as_str()), ("enable.auto.commit", auto_commit)];
        let (calls, others) = (Calls::default(), Calls::default());
        let first = member(servers, &settings);
        first.subscribe_with(["t"], calls.callbacks()).unwrap();
        let mut records = poll_until(&[&first], "the first has all", share_evenly).await;
        records.extend(read(&first, 400 - records.len()).await);
        first.commit_sync().await.unwrap();
        let second = member(servers, &settings);
        second.subscribe_with(["t"], others.callbacks()).unwrap();
        records.extend(poll_until(&[&first, &second], "both have half", share_evenly).await);

        let kept: BTreeSet<i32> = first.assignment().iter().map(TopicPartition::partition).collect();
        let moved: BTreeSet<i32> = [0, 1, 2, 3].into_iter().filter(|p| !kept.contains(p)).collect();
        let is_assigned = |call: &&Call| call.0 == "assigned" && !call.1.is_empty();
        assert_eq!(calls.list().iter().find(is_assigned), Some(&("assigned", [0, 1, 2, 3].into())));
        assert!(calls.list().contains(&("revoked", moved.clone())), "{:?}", calls.list());
        assert_eq!(others.list().iter().find(is_assigned), Some(&("assigned", moved)), "{:?}", others.list());
        assert!(calls.list().iter().all(|(call, _)| *call != "lost"));

        first.close(PATIENCE).await.unwrap();
        assert_eq!(calls.list().last(), Some(&("revoked", kept)));
        let left = Instant::now();
        records.extend(poll_until(&[&second], "the second has all", share_evenly).await);
        assert!(left.elapsed() < PATIENCE);
        assert!(counts(&records).values().all(|&count| count == 1) && records.len() == 400, "each record once");
        second.close(PATIENCE).await.unwrap();
    }
}

/// A member on a runtime of its own is stopped while nobody drives that, and killed when it ends.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn what_a_killed_member_had_goes_to_the_others() {
    let broker = quick_broker();
    let servers = broker.bootstrap_servers().to_owned();
    let (mine, other) = (runtime(), runtime());
    mine.block_on(async {
        create_topic(&servers, "t", 4).await;
        produce(&servers, "t", 4, 100, &[]).await;
    });
    let first = other.block_on(async { member(&servers, &[]) });
    first.subscribe(["t"]).unwrap();
    other.block_on(async {
        read(&first, 100).await;
        first.commit_sync().await.unwrap();
    });
    mine.block_on(produce(&servers, "t", 4, 100, &[]));
    other.block_on(read(&first, 100));
    // It dies without a commit.
    other.shutdown_background();
    mine.block_on(async {
        let second = member(&servers, &[]);
        second.subscribe(["t"]).unwrap();
        assert_eq!(counts(&read(&second, 100).await).len(), 100, "what was not committed is read again");
        assert!(share_evenly(&[&second]));
    });
}

#[test]
fn a_member_that_was_stopped_loses_its_partitions_and_joins_again() {
    let broker = quick_broker();
    let servers = broker.bootstrap_servers().to_owned();
    let (mine, other) = (runtime(), runtime());
    mine.block_on(async {
        create_topic(&servers, "t", 4).await;
        produce(&servers, "t", 4, 40, &[]).await;
    });
    let calls = Calls::default();
    let first = other.block_on(async { member(&servers, &[]) });
    first.subscribe_with(["t"], calls.callbacks()).unwrap();
    other.block_on(read(&first, 40));
    assert!(first.is_in_session());
    let before = first.group_metadata().unwrap();
    let second = mine.block_on(async { member(&servers, &[]) });
    second.subscribe(["t"]).unwrap();
    mine.block_on(poll_until(&[&second], "the second has all", share_evenly));
    assert!(!first.is_in_session(), "it knows that before it is told");
    other.block_on(async {
        let error = first.commit_sync().await.unwrap_err();
        assert!(error.is_member_lost(), "{error}");
        let joined = |c: &[&Consumer]| c[0].group_metadata().unwrap().generation_id() > before.generation_id();
        poll_until(&[&first], "it joins anew", joined).await;
    });
    assert!(calls.list().contains(&("lost", [0, 1, 2, 3].into())), "{:?}", calls.list());
    assert_eq!(first.group_metadata().unwrap().member_id(), before.member_id(), "the id is the process's");
    let started = Instant::now();
    while !share_evenly(&[&first, &second]) {
        assert!(started.elapsed() < PATIENCE);
        other.block_on(first.poll(SHORT)).unwrap();
        mine.block_on(second.poll(SHORT)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_poll_leaves_and_the_next_poll_joins() {
    let broker = quick_broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 4).await;
    let calls = Calls::default();
    let first = member(servers, &[("max.poll.interval.ms", "1000")]);
    first.subscribe_with(["t"], calls.callbacks()).unwrap();
    poll_until(&[&first], "the first has all", share_evenly).await;
    let second = member(servers, &[]);
    second.subscribe(["t"]).unwrap();
    // Only the second one polls from here on.
    poll_until(&[&second], "the second has all", share_evenly).await;
    poll_until(&[&first, &second], "both have half", share_evenly).await;
    assert!(calls.list().contains(&("lost", [0, 1, 2, 3].into())), "{:?}", calls.list());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_comes_back_to_its_partitions() {
    let broker = quick_broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 4).await;
    let calls = Calls::default();
    let first = member(servers, &[("group.instance.id", "one")]);
    let second = member(servers, &[("group.instance.id", "two")]);
    first.subscribe(["t"]).unwrap();
    second.subscribe_with(["t"], calls.callbacks()).unwrap();
    poll_until(&[&first, &second], "both have half", share_evenly).await;

    let rival = member(servers, &[("group.instance.id", "one")]);
    rival.subscribe(["t"]).unwrap();
    let error = poll_error(&rival).await;
    assert_eq!(error.code(), Some(ErrorCode::UnreleasedInstanceId), "{error}");
    assert_eq!(rival.poll(SHORT).await.unwrap_err().code(), error.code(), "it is of no use any more");

    let had = first.assignment();
    let before = calls.list().len();
    first.close(PATIENCE).await.unwrap();
    let again = member(servers, &[("group.instance.id", "one")]);
    again.subscribe(["t"]).unwrap();
    poll_until(&[&again, &second], "it is back", |c| c[0].assignment() == had).await;
    assert_eq!(calls.list().len(), before, "the other one noticed nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_coordinator_looks_at_patterns() {
    let broker = quick_broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "log-a", 1).await;
    create_topic(servers, "other", 1).await;
    let consumer = member(servers, &[]);
    consumer.subscribe_pattern(SubscriptionPattern::new("log-.*")).unwrap();
    poll_until(&[&consumer], "the first topic", |c| c[0].assignment() == [tp("log-a", 0)].into()).await;
    create_topic(servers, "log-b", 1).await;
    produce(servers, "log-b", 1, 10, &[]).await;
    assert_eq!(counts(&read(&consumer, 10).await).len(), 10, "a topic that came later");
    assert_eq!(consumer.assignment(), [tp("log-a", 0), tp("log-b", 0)].into());
    assert_eq!(consumer.subscription(), BTreeSet::new(), "which topics match is the coordinator's to know");
    consumer.unsubscribe().await.unwrap();
    consumer.subscribe_pattern(SubscriptionPattern::new("log-[")).unwrap();
    let error = poll_error(&consumer).await;
    assert_eq!(error.code(), Some(ErrorCode::InvalidRegularExpression));
    let text = error.to_string();
    assert!(text.contains("Invalid RE2J SubscriptionPattern provided in the call to subscribe. "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_classic_protocol_cannot_do_is_refused_in_kafkas_words() {
    let classic = consumer("127.0.0.1:1", &[("group.id", "g")]);
    let text =
        "Subscribe to RE2/J pattern is not supported when using the CLASSIC protocol defined in config group.protocol";
    let error = classic.subscribe_pattern(SubscriptionPattern::new("a")).unwrap_err();
    assert_eq!(error.to_string(), text);
    let error = member("127.0.0.1:1", &[]).subscribe_pattern(SubscriptionPattern::new("")).unwrap_err();
    assert_eq!(error.to_string(), "invalid argument: Topic pattern to subscribe to cannot be empty");
    let config = ConsumerConfig::from_properties([
        ("bootstrap.servers", "127.0.0.1:1"),
        ("group.id", "g"),
        ("group.protocol", "Consumer"),
    ]);
    let error = Consumer::with_assignors(config.unwrap(), Vec::new()).unwrap_err();
    assert!(error.to_string().contains("mean nothing with group.protocol=CONSUMER"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_assignor_is_the_one_that_the_settings_name() {
    let broker = quick_broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 4).await;
    let first = member(servers, &[("group.remote.assignor", "range")]);
    let second = member(servers, &[("group.remote.assignor", "range")]);
    first.subscribe(["t"]).unwrap();
    second.subscribe(["t"]).unwrap();
    poll_until(&[&first, &second], "both have half", share_evenly).await;
    let described = admin(servers).describe_consumer_groups(["g"]).await.remove("g").unwrap().unwrap();
    assert_eq!((described.group_type.as_str(), described.partition_assignor.as_str()), ("Consumer", "range"));
    let mut told: Vec<_> =
        described.members.iter().map(|m| (m.member_id.clone(), BTreeSet::from_iter(m.assignment.clone()))).collect();
    let known = |consumer: &Consumer| {
        let id = consumer.group_metadata().unwrap().member_id().to_owned();
        (id, consumer.assignment())
    };
    let mut expected = vec![known(&first), known(&second)];
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
    assert!(described.members.iter().all(|m| m.upgraded == Some(true)));

    let stranger = consumer(servers, &[("group.id", "h"), GROUP[1], ("group.remote.assignor", "unheard-of")]);
    stranger.subscribe(["t"]).unwrap();
    let error = poll_error(&stranger).await;
    assert_eq!(error.code(), Some(ErrorCode::UnsupportedAssignor), "{error}");
    assert!(error.to_string().contains("unheard-of is not supported"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_topics_and_partitions_may_change() {
    let broker = quick_broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "a", 1).await;
    create_topic(servers, "b", 1).await;
    let consumer = member(servers, &[("allow.auto.create.topics", "false")]);
    consumer.subscribe(["a"]).unwrap();
    poll_until(&[&consumer], "a", |c| c[0].assignment() == [tp("a", 0)].into()).await;
    consumer.subscribe(["a", "b"]).unwrap();
    poll_until(&[&consumer], "a and b", |c| c[0].assignment().len() == 2).await;
    consumer.subscribe(["b"]).unwrap();
    poll_until(&[&consumer], "b", |c| c[0].assignment() == [tp("b", 0)].into()).await;

    let more = admin(servers).create_partitions([("b", NewPartitions::increase_to(3))]).await;
    assert!(more.values().all(Result::is_ok));
    poll_until(&[&consumer], "all of b", |c| c[0].assignment().len() == 3).await;

    produce(servers, "b", 3, 30, &[]).await;
    read(&consumer, 30).await;
    consumer.commit_sync().await.unwrap();
    assert!(admin(servers).delete_topics(["b"]).await.values().all(Result::is_ok));
    create_topic(servers, "b", 1).await;
    // More than was read of the other one: its positions would be good ones here.
    produce(servers, "b", 1, 25, &[]).await;
    assert_eq!(counts(&read(&consumer, 25).await).len(), 25, "the topic that has its name now, from its beginning");
    assert_eq!(consumer.assignment(), [tp("b", 0)].into());

    consumer.unsubscribe().await.unwrap();
    assert!(consumer.assignment().is_empty());
    assert_eq!(consumer.group_metadata().unwrap(), ConsumerGroupMetadata::unknown_member("g"));
    consumer.assign([tp("a", 0)]).unwrap();
    assert_eq!(consumer.assignment(), [tp("a", 0)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_survives_a_restart_of_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let start = |listener: &str| {
        let config =
            embedded::Config::default().dir(dir.path()).property("listeners", format!("PLAINTEXT://{listener}"));
        embedded::Broker::start(config).unwrap()
    };
    let broker = start("127.0.0.1:0");
    let servers = broker.bootstrap_servers().to_owned();
    create_topic(&servers, "t", 2).await;
    produce(&servers, "t", 2, 100, &[]).await;
    let consumer = member(&servers, &[]);
    consumer.subscribe(["t"]).unwrap();
    let mut records = read(&consumer, 100).await;
    consumer.commit_sync().await.unwrap();
    broker.shutdown().await;
    for _ in 0..5 {
        assert_eq!(consumer.poll(SHORT).await.unwrap().len(), 0, "no broker is no error");
    }
    let broker = start(&servers);
    produce(&servers, "t", 2, 100, &[]).await;
    records.extend(read(&consumer, 100).await);
    assert!(counts(&records).values().all(|&count| count == 2));
    consumer.commit_sync().await.unwrap();
    consumer.close(PATIENCE).await.unwrap();
    broker.shutdown().await;
}

/// Offsets go into a transaction in the member epoch; in one that is over they do not.
#[test]
fn offsets_are_committed_in_transactions_by_members_only() {
    let broker = quick_broker();
    let servers = broker.bootstrap_servers().to_owned();
    let (mine, other) = (runtime(), runtime());
    let first = other.block_on(async { member(&servers, &[]) });
    mine.block_on(async {
        create_topic(&servers, "t", 4).await;
        create_topic(&servers, "out", 1).await;
        produce(&servers, "t", 4, 40, &[]).await;
    });
    first.subscribe(["t"]).unwrap();
    let mut next = Offsets::new();
    for record in other.block_on(read(&first, 40)) {
        let after = OffsetAndMetadata::new(record.offset() + 1);
        next.insert(record.topic_partition().clone(), after);
    }
    let group = first.group_metadata().unwrap();
    assert!(group.generation_id() > 0 && !group.member_id().is_empty());
    mine.block_on(async {
        let settings = [("bootstrap.servers", servers.as_str()), ("transactional.id", "x")];
        let producer = Producer::new(ProducerConfig::from_properties(settings).unwrap()).unwrap();
        producer.init_transactions().await.unwrap();
        let transaction = producer.begin_transaction().await.unwrap();
        transaction.send(ProducerRecord::new("out").value(b"all".as_slice())).await.unwrap();
        transaction.send_offsets(next.clone(), &group).await.unwrap();
        transaction.commit().await.unwrap();

        let second = member(&servers, &[]);
        second.subscribe(["t"]).unwrap();
        poll_until(&[&second], "the second has all", share_evenly).await;
        let partitions: Vec<TopicPartition> = next.keys().cloned().collect();
        let committed = second.committed(&partitions).await.unwrap();
        assert!(committed.iter().all(|(tp, offset)| offset.as_ref() == next.get(tp)), "{committed:?}");

        let transaction = producer.begin_transaction().await.unwrap();
        let sent = transaction.send_offsets(next.clone(), &group).await;
        let error = match sent {
            Err(error) => error,
            Ok(()) => transaction.commit().await.unwrap_err(),
        };
        assert!(error.is_member_lost() && !error.is_fatal(), "{error}");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_does_not_know_the_protocol_is_told_of_in_kafkas_words() {
    let broker = embedded::Broker::start(
        embedded::Config::default().property("group.coordinator.rebalance.protocols", "classic"),
    )
    .unwrap();
    let consumer = member(broker.bootstrap_servers(), &[]);
    consumer.subscribe(["t"]).unwrap();
    let error: ClientError = poll_error(&consumer).await;
    assert_eq!(error.code(), Some(ErrorCode::UnsupportedVersion));
    assert!(error.to_string().contains("The cluster does not support the new CONSUMER group protocol."), "{error}");
}
