//! Offsets of a group in transactions.

use std::collections::BTreeMap;

use vltava_client::config::IsolationLevel;
use vltava_client::consumer::ConsumerGroupMetadata;
use vltava_client::{Consumer, OffsetAndMetadata, TopicPartition};

use super::setup::{PATIENCE, Setup, record};

async fn committed(consumer: &Consumer, partition: &TopicPartition) -> Option<i64> {
    let all = consumer.committed(std::slice::from_ref(partition)).await.unwrap();
    all[partition].as_ref().map(|one| one.offset)
}

pub(crate) async fn offsets_count_with_the_commit_only(setup: &Setup) {
    let (from, to) = (setup.topic("from", 1, &[]).await, setup.topic("to", 1, &[]).await);
    let producer = setup.ready("p").await;
    let input = producer.begin_transaction().await.unwrap();
    for number in 0..30 {
        input.send(record(&from, 0, &number.to_string())).await.unwrap();
    }
    input.commit().await.unwrap();

    let group = setup.name("g");
    let settings = [("group.id", group.as_str()), ("max.poll.records", "10")];
    let consumer = setup.consumer(IsolationLevel::ReadCommitted, &settings);
    consumer.subscribe([from.as_str()]).unwrap();
    let partition = TopicPartition::new(from.as_str(), 0);
    let mut rounds = 0;
    while committed(&consumer, &partition).await != Some(31) {
        let records = consumer.poll(PATIENCE).await.unwrap();
        if records.is_empty() {
            continue;
        }
        rounds += 1;
        let before = committed(&consumer, &partition).await;
        let transaction = producer.begin_transaction().await.unwrap();
        for (_, one) in records.iter() {
            transaction.send(record(&to, 0, std::str::from_utf8(one.value().unwrap()).unwrap())).await.unwrap();
        }
        let mut next = records.next_offsets();
        if next[&partition].offset == 30 {
            // Behind the marker, where the position is when there is no more.
            next.insert(partition.clone(), OffsetAndMetadata::new(31));
        }
        let member = consumer.group_metadata().unwrap();
        assert!(member.generation_id() > 0 && !member.member_id().is_empty());
        transaction.send_offsets(next.clone(), &member).await.unwrap();
        if rounds == 2 {
            transaction.abort().await.unwrap();
            assert_eq!(committed(&consumer, &partition).await, before, "nothing of it is left");
            consumer.seek(&partition, before.unwrap_or(0)).unwrap();
            continue;
        }
        transaction.commit().await.unwrap();
        assert_eq!(committed(&consumer, &partition).await, Some(next[&partition].offset));
    }
    let expected: Vec<String> = (0..30).map(|number: i32| number.to_string()).collect();
    let read = setup.read(&to, 1, IsolationLevel::ReadCommitted).await;
    assert_eq!(read[&0], expected, "each once, in order");
    consumer.close(PATIENCE).await.unwrap();
}

pub(crate) async fn a_lost_member_is_refused_and_the_producer_goes_on(setup: &Setup) {
    let topic = setup.topic("t", 1, &[]).await;
    let producer = setup.ready("p").await;
    let group = setup.name("g");
    let consumer = setup.consumer(IsolationLevel::ReadCommitted, &[("group.id", group.as_str())]);
    consumer.subscribe([topic.as_str()]).unwrap();
    let partition = TopicPartition::new(topic.as_str(), 0);
    while consumer.assignment().is_empty() {
        consumer.poll(std::time::Duration::from_millis(100)).await.unwrap();
    }
    let offsets = || BTreeMap::from([(partition.clone(), OffsetAndMetadata::new(1).with_metadata("mine"))]);
    let member = consumer.group_metadata().unwrap();
    let stale = ConsumerGroupMetadata::new(&group, member.generation_id() + 1, member.member_id(), None);
    let stranger = ConsumerGroupMetadata::new(&group, member.generation_id(), "nobody", None);
    for refused in [stale, stranger] {
        let transaction = producer.begin_transaction().await.unwrap();
        transaction.send(record(&topic, 0, "lost")).await.unwrap();
        let error = transaction.send_offsets(offsets(), &refused).await.unwrap_err();
        assert!(error.is_member_lost() && error.is_abortable() && !error.is_fatal(), "{error}");
        let error = transaction.commit().await.unwrap_err();
        assert!(error.is_member_lost(), "{error}");
    }
    assert_eq!(committed(&consumer, &partition).await, None);
    let transaction = producer.begin_transaction().await.unwrap();
    transaction.send(record(&topic, 0, "kept")).await.unwrap();
    transaction.send_offsets(offsets(), &member).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(setup.committed(&topic, 1).await, ["kept"]);
    let all = consumer.committed(std::slice::from_ref(&partition)).await.unwrap();
    assert_eq!(all[&partition].as_ref().unwrap().metadata, "mine");
    consumer.close(PATIENCE).await.unwrap();
    // A group without members takes offsets of whoever has its name.
    let transaction = producer.begin_transaction().await.unwrap();
    let outside = ConsumerGroupMetadata::unknown_member(setup.name("other"));
    transaction.send_offsets(offsets(), &outside).await.unwrap();
    transaction.commit().await.unwrap();
}
