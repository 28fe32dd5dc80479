//! What is committed is where a consumer goes on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use vltava_client::OffsetAndMetadata;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn commits_can_be_read_back() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 2).await;
    let consumer = consumer(servers, &[("group.id", "g"), ("enable.auto.commit", "false")]);
    let none = consumer.committed(&[tp("t", 0)]).await.unwrap();
    assert_eq!(none, BTreeMap::from([(tp("t", 0), None)]));
    let offset = OffsetAndMetadata::new(5).with_metadata("why").with_leader_epoch(0);
    consumer.commit_sync_offsets(BTreeMap::from([(tp("t", 0), offset.clone())])).await.unwrap();
    let committed = consumer.committed(&[tp("t", 0), tp("t", 1)]).await.unwrap();
    assert_eq!(committed, BTreeMap::from([(tp("t", 0), Some(offset)), (tp("t", 1), None)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn asynchronous_commits_are_made_in_order() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 1).await;
    let consumer = consumer(servers, &[("group.id", "g")]);
    let order = Arc::new(Mutex::new(Vec::new()));
    for offset in 1..=20 {
        let order = Arc::clone(&order);
        let offsets = BTreeMap::from([(tp("t", 0), OffsetAndMetadata::new(offset))]);
        consumer
            .commit_async_with(offsets, move |offsets, result| {
                result.unwrap();
                order.lock().unwrap().push(offsets[&tp("t", 0)].offset);
            })
            .unwrap();
    }
    let handle = consumer.commit_async_offsets(BTreeMap::from([(tp("t", 0), 21.into())])).unwrap();
    handle.wait().await.unwrap();
    consumer.commit_sync_offsets(BTreeMap::new()).await.unwrap();
    assert_eq!(*order.lock().unwrap(), (1..=20).collect::<Vec<i64>>());
    assert_eq!(consumer.committed(&[tp("t", 0)]).await.unwrap()[&tp("t", 0)].as_ref().unwrap().offset, 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_goes_on_where_the_group_has_committed() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 1).await;
    produce(servers, "t", 1, 100, &[]).await;
    let settings = [("group.id", "g"), ("enable.auto.commit", "false"), ("max.poll.records", "30")];
    let first = consumer(servers, &settings);
    first.subscribe(["t"]).unwrap();
    assert_eq!(read(&first, 30).await.len(), 30);
    first.commit_sync().await.unwrap();
    read(&first, 30).await;
    first.close(PATIENCE).await.unwrap();
    let second = consumer(servers, &settings);
    second.subscribe(["t"]).unwrap();
    assert_eq!(number(&read(&second, 1).await[0]), 30, "what was not committed is read again");
}

#[tokio::test(flavor = "multi_thread")]
async fn automatic_commits_happen_while_polling_and_at_the_end() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 1).await;
    produce(servers, "t", 1, 100, &[]).await;
    let settings = [("group.id", "g"), ("auto.commit.interval.ms", "50"), ("max.poll.records", "60")];
    let first = consumer(servers, &settings);
    let watcher = consumer(servers, &[("group.id", "g"), ("enable.auto.commit", "false")]);
    first.subscribe(["t"]).unwrap();
    read(&first, 60).await;
    let started = std::time::Instant::now();
    loop {
        first.pause(&[tp("t", 0)]).unwrap();
        assert!(first.poll(Duration::from_millis(60)).await.unwrap().is_empty());
        let committed = watcher.committed(&[tp("t", 0)]).await.unwrap();
        if committed[&tp("t", 0)].as_ref().is_some_and(|offset| offset.offset == 60) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{committed:?}");
    }
    first.resume(&[tp("t", 0)]).unwrap();
    read(&first, 40).await;
    first.close(PATIENCE).await.unwrap();
    assert_eq!(watcher.committed(&[tp("t", 0)]).await.unwrap()[&tp("t", 0)].as_ref().unwrap().offset, 100);
}
