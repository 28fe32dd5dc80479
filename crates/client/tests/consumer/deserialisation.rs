//! Records that cannot be deserialised.

use vltava_client::consumer::TypedConsumer;
use vltava_client::producer::{Producer, ProducerRecord};
use vltava_client::serdes::{JsonSerde, StringSerde};
use vltava_client::{ClientError, ProducerConfig};

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_position_stays_before_a_bad_record() {
    let broker = broker();
    let servers = broker.bootstrap_servers();
    create_topic(servers, "t", 1).await;
    let config = ProducerConfig::from_properties([("bootstrap.servers", servers)]).unwrap();
    let producer = Producer::new(config).unwrap();
    for value in [&b"1"[..], b"2", b"\xff", b"4"] {
        drop(producer.send(ProducerRecord::new("t").key(b"k").value(value).partition(0)).await.unwrap());
    }
    producer.flush().await.unwrap();

    let consumer = consumer(servers, &[]);
    consumer.assign([tp("t", 0)]).unwrap();
    let typed = TypedConsumer::<String, i64>::new(consumer, StringSerde, JsonSerde);
    let mut values = Vec::new();
    let mut errors = 0;
    while errors < 2 {
        match typed.poll(SHORT).await {
            Ok(records) => values.extend(records.into_iter().map(|record| (record.key, record.value))),
            Err(ClientError::RecordDeserialization { offset, part, record, .. }) => {
                assert_eq!((offset, part, record.value()), (2, "value", Some(&b"\xff"[..])));
                errors += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    let pair = |value: i64| (Some("k".to_owned()), Some(value));
    assert_eq!(values, [pair(1), pair(2)]);
    typed.consumer().seek(&tp("t", 0), 3).unwrap();
    let mut after = Vec::new();
    while after.is_empty() {
        after = typed.poll(SHORT).await.unwrap();
    }
    assert_eq!(after[0].value, Some(4));
}
