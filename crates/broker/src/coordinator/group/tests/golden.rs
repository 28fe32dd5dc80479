//! Segments of `__consumer_offsets` that Apache Kafka 4.3.1 wrote, read and written again byte by byte.
//!
//! In the first `kafka-console-consumer` joined as `alpha` (dynamic), `beta` (static) and `modern` (KIP-848); offsets were
//! reset and deleted by `kafka-consumer-groups`, a topic was deleted, and `alpha` at last. The second has the streams group
//! `flow` of the conversation `streams_groups` in `tests/apache_answers`, from its first member to its end, and consumer
//! groups of the same test.

use bytes::Bytes;
use vltava_protocol::record::{Decompressor, RecordBatches};

use super::harness::{Harness, replay_one};
use crate::coordinator::group::records::CoordinatorRecord;
use crate::coordinator::record::{NO_PRODUCER_ID, RecordBytes};

const SEGMENT: &[u8] = include_bytes!("../fixtures/consumer-offsets-4.3.1.log");
const STREAMS_GROUPS: &[u8] = include_bytes!("../fixtures/streams-groups-4.3.1.log");

/// The type of `ConsumerGroupPartitionMetadata`, as a key begins with it.
const PARTITION_METADATA: [u8; 2] = [0, 4];

fn records(segment: &'static [u8]) -> Vec<RecordBytes> {
    let mut decompressor = Decompressor::new();
    let mut records = Vec::new();
    for batch in RecordBatches::new(Bytes::from_static(segment)) {
        let batch = batch.unwrap();
        assert_eq!(batch.producer_id(), NO_PRODUCER_ID);
        for record in batch.records(&mut decompressor).unwrap() {
            let record = record.unwrap();
            // Of a type that Kafka only takes back any more, and that means nothing here.
            if record.key().unwrap().starts_with(&PARTITION_METADATA) {
                continue;
            }
            records.push(RecordBytes {
                key: Bytes::copy_from_slice(record.key().unwrap()),
                value: record.value().map(Bytes::copy_from_slice),
            });
        }
    }
    records
}

#[test]
fn records_of_apache_kafka_are_written_again_as_they_were() {
    let (first, second) = (records(SEGMENT), records(STREAMS_GROUPS));
    assert_eq!((first.len(), second.len()), (25, 121));
    for record in first.into_iter().chain(second) {
        let decoded = CoordinatorRecord::decode(record.key.clone(), record.value.clone()).unwrap().unwrap();
        assert_eq!(decoded.encode().as_ref(), Ok(&record), "{decoded:?}");
    }
}

#[test]
fn the_state_after_apache_kafka_s_records_is_apache_kafka_s() {
    let mut harness = Harness::new();
    let records = records(SEGMENT);
    for (position, record) in records.iter().enumerate() {
        replay_one(&mut harness.shard, position as i64, record);
        // Before its offsets are deleted, `alpha` had been reset to the earliest.
        if position == 20 {
            let topics = harness.shard.fetch_offsets("alpha", None, true);
            let offsets: Vec<_> = topics[0].partitions.iter().map(|partition| partition.committed_offset).collect();
            assert_eq!((topics[0].name.as_str(), offsets), ("orders", vec![0, 0]));
        }
    }
    let beta = harness.shard.describe_group(6, "beta");
    assert_eq!((beta.group_state.as_str(), beta.protocol_data.as_str()), ("Stable", "range"));
    assert_eq!(beta.members[0].group_instance_id.as_deref(), Some("static-1"));
    assert_eq!(beta.members[0].client_host, "/127.0.0.1");
    assert!(harness.shard.fetch_offsets("beta", None, true).is_empty(), "its topic was deleted");
    assert_eq!(harness.shard.describe_group(6, "alpha").group_state, "Dead");
    let modern = harness.shard.fetch_offsets("modern", None, true);
    assert_eq!(modern[0].partitions[0].committed_offset, 10, "offsets are kept whatever the group's protocol");
}

#[test]
fn a_streams_group_goes_through_apache_kafka_s_states() {
    let mut harness = Harness::new();
    let mut states: Vec<String> = Vec::new();
    for (position, record) in records(STREAMS_GROUPS).iter().enumerate() {
        replay_one(&mut harness.shard, position as i64, record);
        let group = harness.shard.describe_streams_group("flow");
        if states.last() != Some(&group.group_state) {
            states.push(group.group_state.clone());
        }
        if group.group_state == "Stable" && group.members.len() == 2 {
            let tasks = group.members.iter().flat_map(|member| &member.assignment.active_tasks);
            assert_eq!(tasks.map(|tasks| tasks.partitions.len()).sum::<usize>(), 4, "{group:#?}");
        }
    }
    let expected = [
        "",
        "NotReady",
        "Reconciling",
        "Assigning",
        "Reconciling",
        "Stable",
        "Reconciling",
        "Assigning",
        "Reconciling",
        "Stable",
        "Assigning",
        "Reconciling",
        "Assigning",
        "Reconciling",
        "Stable",
        "Reconciling",
        "Empty",
        "",
    ];
    assert_eq!(states, expected);
}
