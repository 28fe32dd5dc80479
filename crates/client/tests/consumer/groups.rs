//! Groups share partitions, and take over from each other.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use vltava_client::consumer::TopicPattern;
use vltava_client::consumer::assignor::BoxFuture;
use vltava_client::{ClientError, Consumer, RebalanceCallbacks, RebalanceListener, TopicPartition};

use crate::support::*;

/// Commits what is revoked, and keeps a list of the calls.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<Call>>>);

/// Which call, for which partitions.
type Call = (&'static str, BTreeSet<i32>);

impl Calls {
    fn note(&self, call: &'static str, partitions: &[TopicPartition]) {
        self.0.lock().unwrap().push((call, partitions.iter().map(TopicPartition::partition).collect()));
    }

    fn list(&self) -> Vec<Call> {
        self.0.lock().unwrap().clone()
    }
}

impl RebalanceListener for Calls {
    fn on_partitions_revoked<'a>(
        &'a mut self,
        consumer: &'a Consumer,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        self.note("revoked", partitions);
        Box::pin(async move { consumer.commit_sync().await })
    }

    fn on_partitions_assigned<'a>(
        &'a mut self,
        _consumer: &'a Consumer,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        self.note("assigned", partitions);
        Box::pin(std::future::ready(Ok(())))
    }

    fn on_partitions_lost<'a>(
        &'a mut self,
        _consumer: &'a Consumer,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        self.note("lost", partitions);
        Box::pin(std::future::ready(Ok(())))
    }
}

fn share_evenly(members: &[&Consumer]) -> bool {
    let all: BTreeSet<TopicPartition> = members.iter().flat_map(|member| member.assignment()).collect();
    all.len() == 4 && members.iter().all(|member| member.assignment().len() == 4 / members.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_partitions_without_losing_or_repeating_records() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    for strategy in ["range", "roundrobin", "sticky", "cooperative-sticky"] {
        let topic = format!("t-{strategy}");
        create_topic(servers, &topic, 4).await;
        produce(servers, &topic, 4, 400, &[]).await;
        let settings = [
            ("group.id", strategy),
            ("partition.assignment.strategy", strategy),
            ("enable.auto.commit", "false"),
            ("heartbeat.interval.ms", "50"),
        ];
        let first = consumer(servers, &settings);
        first.subscribe_with([topic.as_str()], Calls::default()).unwrap();
        let mut records = poll_until(&[&first], "the first has all", share_evenly).await;
        let second = consumer(servers, &settings);
        second.subscribe_with([topic.as_str()], Calls::default()).unwrap();
        records.extend(poll_until(&[&first, &second], "both have half", share_evenly).await);
        produce(servers, &topic, 4, 400, &[]).await;
        let mut seen = records.len();
        while seen < 800 {
            for member in [&first, &second] {
                records.extend(member.poll(SHORT).await.unwrap().into_owned_records());
            }
            seen = records.len();
        }
        first.close(PATIENCE).await.unwrap();
        records.extend(poll_until(&[&second], "the second has all", share_evenly).await);
        produce(servers, &topic, 4, 400, &[]).await;
        records.extend(read(&second, 1200 - records.len()).await);
        let counts = counts(&records);
        assert_eq!(counts.len(), 400, "{strategy}");
        assert!(counts.values().all(|&count| count == 3), "{strategy}: every number was produced three times");
        second.close(PATIENCE).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closures_hear_of_rebalances_and_their_error_is_told_by_poll() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 2).await;
    let (calls, refuses) = (Calls::default(), Arc::new(std::sync::atomic::AtomicBool::new(true)));
    let (assigned, revoked, refused) = (calls.clone(), calls.clone(), Arc::clone(&refuses));
    let callbacks = RebalanceCallbacks::new()
        .on_assigned(move |consumer, partitions| {
            assigned.note("assigned", partitions);
            consumer.seek_to_beginning(partitions)?;
            match refused.swap(false, std::sync::atomic::Ordering::SeqCst) {
                true => Err(ClientError::Closed),
                false => Ok(()),
            }
        })
        .on_revoked(move |_, partitions| {
            revoked.note("revoked", partitions);
            Ok(())
        });
    let consumer = consumer(servers, &[("group.id", "g")]);
    consumer.subscribe_with(["t"], callbacks).unwrap();
    let error = consumer.poll(PATIENCE).await.unwrap_err();
    assert!(matches!(error, ClientError::RebalanceCallback { .. }), "{error}");
    produce(servers, "t", 2, 10, &[]).await;
    assert_eq!(read(&consumer, 10).await.len(), 10);
    consumer.unsubscribe().await.unwrap();
    let both: BTreeSet<i32> = [0, 1].into();
    assert_eq!(calls.list(), [("assigned", both.clone()), ("revoked", both)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cooperative_protocol_revokes_only_what_moves() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 4).await;
    let settings =
        [("group.id", "g"), ("partition.assignment.strategy", "cooperative-sticky"), ("heartbeat.interval.ms", "50")];
    let (calls, others) = (Calls::default(), Calls::default());
    let first = consumer(servers, &settings);
    first.subscribe_with(["t"], calls.clone()).unwrap();
    poll_until(&[&first], "the first has all", share_evenly).await;
    assert_eq!(calls.list(), [("assigned", BTreeSet::from([0, 1, 2, 3]))]);
    let second = consumer(servers, &settings);
    second.subscribe_with(["t"], others.clone()).unwrap();
    poll_until(&[&first, &second], "both have half", share_evenly).await;
    let kept: BTreeSet<i32> = first.assignment().iter().map(TopicPartition::partition).collect();
    let moved: BTreeSet<i32> = [0, 1, 2, 3].into_iter().filter(|p| !kept.contains(p)).collect();
    assert!(calls.list().contains(&("revoked", moved.clone())), "{:?}", calls.list());
    assert!(others.list().contains(&("assigned", moved)), "{:?}", others.list());
    assert!(calls.list().iter().all(|(call, _)| *call != "lost"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_eager_protocol_revokes_everything() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 4).await;
    let settings = [("group.id", "g"), ("partition.assignment.strategy", "range"), ("heartbeat.interval.ms", "50")];
    let calls = Calls::default();
    let first = consumer(servers, &settings);
    first.subscribe_with(["t"], calls.clone()).unwrap();
    poll_until(&[&first], "the first has all", share_evenly).await;
    let second = consumer(servers, &settings);
    second.subscribe(["t"]).unwrap();
    poll_until(&[&first, &second], "both have half", share_evenly).await;
    let kept: BTreeSet<i32> = first.assignment().iter().map(TopicPartition::partition).collect();
    let all = BTreeSet::from([0, 1, 2, 3]);
    assert_eq!(calls.list(), [("assigned", all.clone()), ("revoked", all), ("assigned", kept.clone())]);
    first.close(PATIENCE).await.unwrap();
    assert_eq!(calls.list().last(), Some(&("revoked", kept)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_poll_loses_its_partitions() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 4).await;
    let settings = [("group.id", "g"), ("heartbeat.interval.ms", "50"), ("max.poll.interval.ms", "1000")];
    let calls = Calls::default();
    let first = consumer(servers, &settings);
    first.subscribe_with(["t"], calls.clone()).unwrap();
    poll_until(&[&first], "the first has all", share_evenly).await;
    let second = consumer(servers, &settings);
    second.subscribe(["t"]).unwrap();
    // Only the second one polls from here on.
    poll_until(&[&second], "the second has all", share_evenly).await;
    poll_until(&[&first, &second], "both have half", share_evenly).await;
    assert!(calls.list().contains(&("lost", BTreeSet::from([0, 1, 2, 3]))), "{:?}", calls.list());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_comes_back_to_its_partitions() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 4).await;
    let settings = |instance| [("group.id", "g"), ("group.instance.id", instance), ("heartbeat.interval.ms", "50")];
    let calls = Calls::default();
    let first = consumer(servers, &settings("one"));
    let second = consumer(servers, &settings("two"));
    first.subscribe(["t"]).unwrap();
    second.subscribe_with(["t"], calls.clone()).unwrap();
    poll_until(&[&first, &second], "both have half", share_evenly).await;
    let had = first.assignment();
    let before = calls.list().len();
    first.close(PATIENCE).await.unwrap();
    let again = consumer(servers, &settings("one"));
    again.subscribe(["t"]).unwrap();
    poll_until(&[&again, &second], "it is back", |c| c[0].assignment() == had).await;
    assert_eq!(calls.list().len(), before, "the other one noticed nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_finds_topics_that_come_later() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "log-a", 1).await;
    create_topic(servers, "other", 1).await;
    let consumer = consumer(servers, &[("group.id", "g"), ("metadata.max.age.ms", "200")]);
    consumer.subscribe_pattern(TopicPattern::new("log-.*").unwrap()).unwrap();
    poll_until(&[&consumer], "the first topic", |c| c[0].assignment() == [tp("log-a", 0)].into()).await;
    create_topic(servers, "log-b", 1).await;
    poll_until(&[&consumer], "the second topic", |c| c[0].assignment() == [tp("log-a", 0), tp("log-b", 0)].into())
        .await;
    assert_eq!(consumer.subscription(), ["log-a".to_owned(), "log-b".to_owned()].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_can_change() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "a", 1).await;
    create_topic(servers, "b", 1).await;
    let consumer = consumer(servers, &[("group.id", "g")]);
    consumer.subscribe(["a"]).unwrap();
    poll_until(&[&consumer], "a", |c| c[0].assignment() == [tp("a", 0)].into()).await;
    consumer.subscribe(["a", "b"]).unwrap();
    poll_until(&[&consumer], "a and b", |c| c[0].assignment().len() == 2).await;
    consumer.subscribe(["b"]).unwrap();
    poll_until(&[&consumer], "b", |c| c[0].assignment() == [tp("b", 0)].into()).await;
    consumer.unsubscribe().await.unwrap();
    assert!(consumer.assignment().is_empty());
    consumer.assign([tp("a", 0)]).unwrap();
    assert_eq!(consumer.assignment(), [tp("a", 0)].into());
    assert!(matches!(consumer.subscribe(["a"]), Err(ClientError::InvalidState { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn group_metadata_names_the_member() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 1).await;
    let consumer = consumer(servers, &[("group.id", "g")]);
    assert_eq!(consumer.group_metadata().unwrap().generation_id(), -1);
    consumer.subscribe(["t"]).unwrap();
    poll_until(&[&consumer], "joined", |c| !c[0].assignment().is_empty()).await;
    let before = consumer.group_metadata().unwrap();
    assert!(before.generation_id() > 0 && !before.member_id().is_empty());
    consumer.enforce_rebalance("because").unwrap();
    poll_until(&[&consumer], "another generation", |c| {
        c[0].group_metadata().unwrap().generation_id() > before.generation_id()
    })
    .await;
    assert_eq!(consumer.group_metadata().unwrap().member_id(), before.member_id());
}
