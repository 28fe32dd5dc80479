//! Wake-ups and ends.

use std::time::{Duration, Instant};

use vltava_client::ClientError;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_is_woken_from_another_thread() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 1).await;
    let consumer = consumer(servers, &[]);
    consumer.assign([tp("t", 0)]).unwrap();
    let other = consumer.clone();
    let polling = tokio::spawn(async move { other.poll(PATIENCE).await.map(|records| records.len()) });
    // Before or while the other one polls: it is woken.
    let started = Instant::now();
    std::thread::spawn(move || consumer.wakeup());
    assert!(matches!(polling.await.unwrap(), Err(ClientError::Wakeup)));
    assert!(started.elapsed() < PATIENCE / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_only_one_poll_at_a_time() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 1).await;
    let consumer = consumer(servers, &[]);
    consumer.assign([tp("t", 0)]).unwrap();
    let mut first = Box::pin(consumer.poll(PATIENCE));
    assert!(tokio::time::timeout(SHORT, &mut first).await.is_err(), "it waits");
    assert!(matches!(consumer.poll(Duration::ZERO).await, Err(ClientError::InvalidState { .. })));
    drop(first);
    assert!(consumer.poll(Duration::ZERO).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_consumer_says_so_to_every_handle() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 1).await;
    let consumer = consumer(servers, &[("group.id", "g")]);
    consumer.subscribe(["t"]).unwrap();
    poll_until(&[&consumer], "joined", |c| !c[0].assignment().is_empty()).await;
    let other = consumer.clone();
    consumer.close(PATIENCE).await.unwrap();
    assert!(matches!(other.poll(SHORT).await, Err(ClientError::Closed)));
    assert!(matches!(other.commit_async(), Err(ClientError::Closed)));
    assert!(matches!(other.subscribe(["t"]), Err(ClientError::Closed)));
    other.close(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_member_makes_room_at_once() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 1).await;
    let settings = [("group.id", "g"), ("heartbeat.interval.ms", "50"), ("session.timeout.ms", "50000")];
    let first = consumer(servers, &settings);
    first.subscribe(["t"]).unwrap();
    poll_until(&[&first], "joined", |c| !c[0].assignment().is_empty()).await;
    drop(first);
    let started = Instant::now();
    let second = consumer(servers, &settings);
    second.subscribe(["t"]).unwrap();
    poll_until(&[&second], "taken over", |c| !c[0].assignment().is_empty()).await;
    assert!(started.elapsed() < Duration::from_secs(40), "long before the session ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_takes_no_longer_than_it_may() {
    let consumer = consumer("127.0.0.1:1", &[("group.id", "g")]);
    consumer.subscribe(["t"]).unwrap();
    assert_eq!(consumer.poll(SHORT).await.unwrap().len(), 0);
    let started = Instant::now();
    let _ = consumer.close(Duration::from_millis(300)).await;
    assert!(started.elapsed() < Duration::from_secs(20));
}
