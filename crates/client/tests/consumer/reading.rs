//! What is read is what was produced.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_core::Stream as _;
use vltava_broker::embedded;
use vltava_client::producer::{Producer, ProducerRecord};
use vltava_client::{Admin, AdminConfig, ClientError, ProducerConfig};

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn every_record_once_and_in_order() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        create_topic(servers, compression, 3).await;
        produce(servers, compression, 3, 3000, &[("compression.type", compression)]).await;
        // Limits that cut batches and answers in many places.
        let limits = [("max.poll.records", "7"), ("max.partition.fetch.bytes", "4000")];
        let consumer = consumer(servers, &limits);
        consumer.assign((0..3).map(|p| tp(compression, p))).unwrap();
        let records = read(&consumer, 3000).await;
        let mut by_partition: BTreeMap<i32, Vec<(i64, usize)>> = BTreeMap::new();
        for record in &records {
            by_partition.entry(record.partition()).or_default().push((record.offset(), number(record)));
        }
        for (partition, found) in by_partition {
            let expected: Vec<(i64, usize)> =
                (0..1000).map(|offset| (offset, offset as usize * 3 + partition as usize)).collect();
            assert_eq!(found, expected, "{compression}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_poll_loses_nothing() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 2).await;
    produce(servers, "t", 2, 2000, &[]).await;
    let consumer = consumer(servers, &[("group.id", "g"), ("max.poll.records", "10")]);
    consumer.subscribe(["t"]).unwrap();
    let mut records = Vec::new();
    for patience in (0..).map(|n| Duration::from_micros(n % 2000)) {
        if let Ok(polled) = tokio::time::timeout(patience, consumer.poll(SHORT)).await {
            records.extend(polled.unwrap().into_owned_records());
        }
        if records.len() >= 2000 {
            break;
        }
    }
    assert!(counts(&records).values().all(|&count| count == 1));
    assert_eq!(counts(&records).len(), 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_gives_the_same_records() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 1).await;
    produce(servers, "t", 1, 100, &[]).await;
    let consumer = consumer(servers, &[]);
    consumer.assign([tp("t", 0)]).unwrap();
    let mut stream = consumer.stream();
    for expected in 0..100 {
        assert_eq!(number(&stream.next().await.unwrap().unwrap()), expected);
    }
    consumer.wakeup();
    assert!(stream.next().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_a_stream_takes_a_consumers() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 1).await;
    produce(servers, "t", 1, 100, &[]).await;
    let consumer = consumer(servers, &[]);
    consumer.assign([tp("t", 0)]).unwrap();
    let mut stream = std::pin::pin!(consumer.stream());
    let mut next = async || std::future::poll_fn(|context| stream.as_mut().poll_next(context)).await;
    for expected in 0..100 {
        assert_eq!(number(&next().await.unwrap().unwrap()), expected);
    }
    consumer.wakeup();
    assert!(next().await.is_none());
}

#[test]
fn a_plain_thread_can_poll() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let broker = broker();
    let servers = broker.bootstrap_servers().to_owned();
    runtime.block_on(create_topic(&servers, "t", 1));
    runtime.block_on(produce(&servers, "t", 1, 500, &[]));
    let handle = runtime.handle().clone();
    let thread = std::thread::spawn(move || {
        let consumer = handle.block_on(async { consumer(&servers, &[("group.id", "g")]) });
        consumer.subscribe(["t"]).unwrap();
        let mut count = 0;
        while count < 500 {
            count += handle.block_on(consumer.poll(SHORT)).unwrap().len();
        }
        handle.block_on(consumer.close(PATIENCE)).unwrap();
        count
    });
    assert_eq!(thread.join().unwrap(), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_without_anything_to_read_says_so() {
    let broker = broker();
    let consumer = consumer(broker.bootstrap_servers(), &[]);
    assert!(matches!(consumer.poll(SHORT).await, Err(ClientError::InvalidState { .. })));
    assert!(matches!(consumer.subscribe(["t"]), Err(ClientError::InvalidState { .. })), "there is no group");
    assert!(matches!(consumer.commit_sync().await, Err(ClientError::InvalidState { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_beyond_the_limit_is_an_error_that_tells_how_to_go_on() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 1).await;
    let settings = [
        ("bootstrap.servers", servers),
        ("compression.type", "zstd"),
        ("max.request.size", "8000000"),
        ("linger.ms", "0"),
    ];
    let producer = Producer::new(ProducerConfig::from_properties(settings).unwrap()).unwrap();
    let zeros = vec![b'0'; 3_000_000];
    for value in [&b"1"[..], &zeros, b"3"] {
        let delivery = producer.send(ProducerRecord::new("t").value(value).partition(0)).await.unwrap();
        delivery.await.unwrap();
    }

    let small = consumer(servers, &[("max.decompressed.batch.bytes", "2000000")]);
    small.assign([tp("t", 0)]).unwrap();
    assert_eq!(number(&read(&small, 1).await[0]), 1);
    for _ in 0..2 {
        let error = poll_error(&small).await;
        let ClientError::DecompressedBatchTooLarge { offset: 1, next_offset, limit: 2_000_000, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(small.position(&tp("t", 0)).await.unwrap(), 1);
        assert_eq!(next_offset, 2);
    }
    small.seek(&tp("t", 0), 2).unwrap();
    assert_eq!(number(&read(&small, 1).await[0]), 3);

    let large = consumer(servers, &[]);
    large.assign([tp("t", 0)]).unwrap();
    assert_eq!(read(&large, 3).await[1].value().unwrap(), zeros);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_later_is_read_soon_and_not_when_the_metadata_is_old() {
    let config = embedded::Config::default().property("auto.create.topics.enable", "false");
    let broker = embedded::Broker::start(config).unwrap();
    let servers = broker.bootstrap_servers();
    let old = ("metadata.max.age.ms", "3600000");
    let (member, assigned) = (consumer(servers, &[old, ("group.id", "g")]), consumer(servers, &[old]));
    member.subscribe(["later"]).unwrap();
    assigned.assign([tp("later", 0)]).unwrap();
    // Time enough for both to look for it.
    for consumer in [&member, &assigned] {
        assert!(consumer.poll(5 * SHORT).await.unwrap().is_empty());
    }
    create_topic(servers, "later", 1).await;
    produce(servers, "later", 1, 3, &[]).await;
    for consumer in [&member, &assigned] {
        assert_eq!(read(consumer, 3).await.len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_and_made_again_is_read_from_its_beginning() {
    let config = embedded::Config::default().property("auto.create.topics.enable", "false");
    let broker = embedded::Broker::start(config).unwrap();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 1).await;
    produce(servers, "t", 1, 3, &[]).await;
    let consumer = consumer(servers, &[("group.id", "g"), ("metadata.max.age.ms", "3600000")]);
    consumer.subscribe(["t"]).unwrap();
    assert_eq!(read(&consumer, 3).await.len(), 3);
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", servers)]).unwrap()).unwrap();
    for (_, deleted) in admin.delete_topics(["t"]).await {
        deleted.unwrap();
    }
    poll_until(&[&consumer], "the partition is gone", |consumers| consumers[0].assignment().is_empty()).await;
    create_topic(servers, "t", 1).await;
    produce(servers, "t", 1, 2, &[]).await;
    let offsets: Vec<_> = read(&consumer, 2).await.iter().map(|record| record.offset()).collect();
    assert_eq!(offsets, [0, 1]);
}
