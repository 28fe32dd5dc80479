//! Records as Apache Kafka 4.3.1 has written them, of `transaction.version` 2.

use bytes::Bytes;
use vltava_log::TopicPartition;

use crate::coordinator::transaction::records::TransactionRecord;
use crate::coordinator::transaction::state::TransactionState::{
    self, CompleteAbort, CompleteCommit, Empty, Ongoing, PrepareAbort, PrepareCommit,
};

/// Key and value, the state and epoch they say, and the partitions of the topic `answers`.
const WRITTEN: [(&str, &str, TransactionState, i16, &[i32]); 6] = [
    (
        "00000009616e73776572732d62",
        "0001000000000000000300000000ea600000000001a22d818570ffffffffffffffff0100080000000000000003",
        Empty,
        0,
        &[],
    ),
    (
        "00000009616e73776572732d62",
        "0001000000000000000300000000ea60010208616e7377657273020000000000000001a22d8185d7000001a22d8185d7\
         020008000000000000000302020002",
        Ongoing,
        0,
        &[0],
    ),
    (
        "0000000b616e73776572732d6e6577",
        "0001000000000000000700020000ea60020208616e737765727303000000010000000000000001a22d818de6\
         000001a22d818ddd020008000000000000000702020002",
        PrepareCommit,
        2,
        &[0, 1],
    ),
    (
        "0000000c616e73776572732d6c617465",
        "00010000000000000009000100000001030208616e7377657273020000000000000001a22d81911f000001a22d8190bf\
         020008000000000000000902020002",
        PrepareAbort,
        1,
        &[0],
    ),
    (
        "0000000b616e73776572732d6e6577",
        "0001000000000000000700020000ea600401000001a22d818de6000001a22d818ddd020008000000000000000702020002",
        CompleteCommit,
        2,
        &[],
    ),
    (
        "0000000c616e73776572732d6c617465",
        "000100000000000000090001000000010501000001a22d819123000001a22d8190bf020008000000000000000902020002",
        CompleteAbort,
        1,
        &[],
    ),
];

fn bytes(hex: &str) -> Bytes {
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect::<Vec<_>>().into()
}

#[test]
fn records_of_apache_kafka_are_read_and_written_to_the_byte() {
    for (key, value, state, epoch, partitions) in WRITTEN {
        let (key, value) = (bytes(key), bytes(value));
        let record = TransactionRecord::decode(key.clone(), Some(value.clone())).unwrap().unwrap();
        let metadata = record.metadata.as_ref().unwrap();
        assert_eq!((metadata.state, metadata.producer_epoch), (state, epoch));
        let expected = partitions.iter().map(|index| TopicPartition::new("answers", *index));
        assert!(metadata.partitions.iter().cloned().eq(expected), "{:?}", metadata.partitions);
        let written = record.encode(2).unwrap();
        assert_eq!(written.key, key);
        // The order of partitions in Kafka's is that of a hash set.
        let sorted = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes.sort_unstable();
            bytes
        };
        assert_eq!(sorted(&written.value.unwrap()), sorted(&value), "{state:?}");
    }
}

#[test]
fn records_of_another_kafka_are_passed_over() {
    let (key, value) = (bytes(WRITTEN[0].0), bytes(WRITTEN[0].1));
    let mut newer = value.to_vec();
    newer[1] = 9;
    assert_eq!(TransactionRecord::decode(key.clone(), Some(newer.into())).unwrap(), None);
    let mut other = key.to_vec();
    other[1] = 9;
    assert_eq!(TransactionRecord::decode(other.into(), Some(value.clone())).unwrap(), None);
    let mut unknown = value.to_vec();
    unknown[16] = 77;
    assert!(TransactionRecord::decode(key, Some(unknown.into())).is_err(), "a state that there is not");
}
