//! Seeking, resetting, pausing, and looking offsets up.

use std::collections::BTreeMap;

use vltava_client::{ClientError, OffsetAndMetadata};

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn seeks_go_where_they_say() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 1).await;
    produce(servers, "t", 1, 100, &[]).await;
    let consumer = consumer(servers, &[]);
    let partition = tp("t", 0);
    consumer.assign([partition.clone()]).unwrap();
    assert_eq!(consumer.position(&partition).await.unwrap(), 0);
    assert_eq!(number(&read(&consumer, 1).await[0]), 0);
    consumer.seek(&partition, 42).unwrap();
    assert_eq!(consumer.position(&partition).await.unwrap(), 42);
    assert_eq!(number(&read(&consumer, 1).await[0]), 42);
    consumer.seek(&partition, OffsetAndMetadata::new(7).with_leader_epoch(0)).unwrap();
    assert_eq!(number(&read(&consumer, 1).await[0]), 7);
    consumer.seek_to_end(&[]).unwrap();
    assert_eq!(consumer.position(&partition).await.unwrap(), 100);
    assert_eq!(consumer.poll(SHORT).await.unwrap().len(), 0);
    consumer.seek_to_beginning(std::slice::from_ref(&partition)).unwrap();
    assert_eq!(number(&read(&consumer, 1).await[0]), 0);
    assert!(matches!(consumer.seek(&partition, -1), Err(ClientError::InvalidArgument { .. })));
    assert!(matches!(consumer.seek(&tp("t", 1), 0), Err(ClientError::NotAssigned { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_does_not_exist_follows_the_policy() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 1).await;
    produce(servers, "t", 1, 10, &[]).await;
    let partition = tp("t", 0);

    let earliest = consumer(servers, &[]);
    earliest.assign([partition.clone()]).unwrap();
    earliest.seek(&partition, 1000).unwrap();
    assert_eq!(number(&read(&earliest, 1).await[0]), 0);

    let none = consumer(servers, &[("auto.offset.reset", "none")]);
    none.assign([partition.clone()]).unwrap();
    let error = poll_error(&none).await;
    assert!(matches!(&error, ClientError::NoOffsetForPartition { partitions } if *partitions == [partition.clone()]));
    none.seek(&partition, 1000).unwrap();
    let error = poll_error(&none).await;
    assert!(matches!(error, ClientError::OffsetOutOfRange { offset: 1000, .. }), "{error}");
    none.seek(&partition, 5).unwrap();
    assert_eq!(number(&read(&none, 1).await[0]), 5);

    let latest = consumer(servers, &[("auto.offset.reset", "latest")]);
    latest.assign([partition.clone()]).unwrap();
    assert_eq!(latest.position(&partition).await.unwrap(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_partitions_wait() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 2).await;
    produce(servers, "t", 2, 100, &[]).await;
    let consumer = consumer(servers, &[]);
    consumer.assign([tp("t", 0), tp("t", 1)]).unwrap();
    consumer.pause(&[tp("t", 1)]).unwrap();
    assert_eq!(consumer.paused(), [tp("t", 1)].into());
    let records = read(&consumer, 50).await;
    assert!(records.iter().all(|record| record.partition() == 0));
    assert_eq!(consumer.poll(SHORT).await.unwrap().len(), 0);
    consumer.resume(&[tp("t", 1)]).unwrap();
    let records = read(&consumer, 50).await;
    assert!(records.iter().all(|record| record.partition() == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_looked_up() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 2).await;
    produce(servers, "t", 2, 9, &[]).await;
    let consumer = consumer(servers, &[]);
    let partitions = [tp("t", 0), tp("t", 1)];
    let beginning = consumer.beginning_offsets(&partitions).await.unwrap();
    assert_eq!(beginning, BTreeMap::from([(tp("t", 0), 0), (tp("t", 1), 0)]));
    let end = consumer.end_offsets(&partitions).await.unwrap();
    assert_eq!(end, BTreeMap::from([(tp("t", 0), 5), (tp("t", 1), 4)]));
    let times = BTreeMap::from([(tp("t", 0), 0), (tp("t", 1), i64::MAX - 1)]);
    let found = consumer.offsets_for_times(times).await.unwrap();
    assert_eq!(found[&tp("t", 0)].map(|found| found.offset), Some(0));
    assert_eq!(found[&tp("t", 1)], None);

    consumer.assign([tp("t", 0)]).unwrap();
    consumer.seek(&tp("t", 0), 2).unwrap();
    poll_until(&[&consumer], "the lag is known", |c| c[0].current_lag(&tp("t", 0)).unwrap() == Some(0)).await;
    assert!(matches!(consumer.current_lag(&tp("t", 1)), Err(ClientError::NotAssigned { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_listed() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "one", 1).await;
    create_topic(servers, "three", 3).await;
    let consumer = consumer(servers, &[]);
    assert_eq!(consumer.partitions_for("three").await.unwrap().partitions.len(), 3);
    let topics = consumer.list_topics().await.unwrap();
    assert_eq!(topics["one"].partitions.len(), 1);
    assert_eq!(topics["three"].partitions.len(), 3);
}
