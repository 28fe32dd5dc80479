use bytes::Bytes;

use super::{SCHEMAS, Schema, Value};
use crate::messages::fetch_request::ReplicaState;
use crate::messages::{FetchRequest, SnapshotHeaderRecord};
use crate::records::transaction::TransactionLogValue;
use crate::records::transaction::transaction_log_value::PartitionsSchema;
use crate::wire::{Message, Reader, Writer};

fn bytes(message: &impl Message, version: i16) -> Bytes {
    let mut w = Writer::new();
    message.encode(&mut w, version).expect("a message");
    w.into_bytes()
}

fn read(family: &str, message: &impl Message, version: i16) -> Value {
    let schema = Schema::find(family, name(message)).expect("a schema");
    let mut r = Reader::new(bytes(message, version));
    let value = schema.read(&mut r, version).expect("a value");
    r.finish().expect("the end");
    value
}

fn name<M: Message>(_: &M) -> &'static str {
    M::NAME
}

fn field(name: &str, value: Value) -> (String, Value) {
    (name.to_owned(), value)
}

#[test]
fn every_line_of_the_file_is_read() {
    let families = ["messages", "records/group", "records/transaction", "records/share", "records/metadata"];
    let schemas: Vec<Schema> = families.iter().flat_map(|family| Schema::family(family)).collect();
    let lines = |letter: &str| SCHEMAS.lines().filter(|line| line.starts_with(letter)).count();
    assert_eq!(schemas.len(), lines("M "));
    assert_eq!(schemas.iter().map(|schema| schema.structs.len()).sum::<usize>(), lines("S "));
    let fields = schemas.iter().flat_map(|schema| schema.structs.values());
    assert_eq!(fields.map(Vec::len).sum::<usize>(), lines("F "));
}

#[test]
fn tagged_fields_are_shown_where_they_are_set() {
    let mut value = TransactionLogValue {
        producer_id: 7,
        producer_epoch: 2,
        next_producer_epoch: 3,
        transaction_partitions: Some(vec![PartitionsSchema {
            topic: "t".to_owned(),
            partition_ids: vec![0, 5],
            ..PartitionsSchema::default()
        }]),
        ..TransactionLogValue::default()
    };
    let partitions = Value::Struct(vec![
        field("topic", Value::String("t".to_owned())),
        field("partitionIds", Value::Array(vec![Value::Integer(0), Value::Integer(5)])),
    ]);
    let expected = vec![
        field("producerId", Value::Integer(7)),
        field("producerEpoch", Value::Integer(2)),
        field("nextProducerEpoch", Value::Integer(3)),
        field("transactionTimeoutMs", Value::Integer(0)),
        field("transactionStatus", Value::Integer(0)),
        field("transactionPartitions", Value::Array(vec![partitions])),
        field("transactionLastUpdateTimestampMs", Value::Integer(0)),
        field("transactionStartTimestampMs", Value::Integer(0)),
    ];
    assert_eq!(read("records/transaction", &value, 1), Value::Struct(expected));
    value.transaction_partitions = None;
    value.next_producer_epoch = -1;
    let Value::Struct(fields) = read("records/transaction", &value, 0) else { unreachable!("a structure") };
    assert!(fields.contains(&field("transactionPartitions", Value::Null)), "{fields:?}");
}

#[test]
fn versions_and_nested_structures_are_respected() {
    let request = FetchRequest {
        replica_state: ReplicaState { replica_id: 3, replica_epoch: 9, ..ReplicaState::default() },
        ..FetchRequest::default()
    };
    let Value::Struct(fields) = read("messages", &request, 17) else { unreachable!("a structure") };
    let state = vec![field("replicaId", Value::Integer(3)), field("replicaEpoch", Value::Integer(9))];
    assert!(fields.contains(&field("replicaState", Value::Struct(state))), "{fields:?}");
    assert!(!fields.iter().any(|(name, _)| name == "replicaId"), "{fields:?}");
}

#[test]
fn bytes_that_end_early_are_refused() {
    let header = SnapshotHeaderRecord { last_contained_log_timestamp: 5, ..SnapshotHeaderRecord::default() };
    let whole = bytes(&header, 0);
    let schema = Schema::find("messages", "SnapshotHeaderRecord").expect("a schema");
    for len in 0..whole.len() {
        let read = schema.read(&mut Reader::new(whole.slice(..len)), 0);
        assert!(read.is_err(), "{len} of {} bytes gave {read:?}", whole.len());
    }
}
