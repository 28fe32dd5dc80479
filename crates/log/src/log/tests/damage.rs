//! What a producer sent wrong, kind by kind, and the code that Apache Kafka 4.3.1 answers to the same bytes.

use bytes::Bytes;
use vltava_protocol::ErrorCode;
use vltava_protocol::record::{Compression, RecordBatchBuilder};

use crate::testing::{NOW, TestLog};

/// Of the header, which is 61 bytes.
const MAGIC: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 22;
const LAST_OFFSET_DELTA: usize = 23;
const BASE_TIMESTAMP: usize = 27;
const COUNT: usize = 57;
const RECORDS: usize = 61;

fn sent(codec: Compression) -> Vec<u8> {
    let mut builder = RecordBatchBuilder::new(codec);
    for n in 0..2_i64 {
        builder.append(NOW + n, Some(b"key"), Some(b"value"), []).unwrap();
    }
    builder.build().unwrap().to_vec()
}

fn put(bytes: &mut [u8], at: usize, with: &[u8]) {
    bytes[at..at + with.len()].copy_from_slice(with);
}

/// Makes the checksum right again: the producer itself made it like this.
fn sealed(mut bytes: Vec<u8>) -> Bytes {
    let crc = crc_fast::crc32_iscsi(&bytes[CRC + 4..]);
    put(&mut bytes, CRC, &crc.to_be_bytes());
    bytes.into()
}

/// A batch of one record with the fields given, as they lie in the batch.
fn record(body: &[u8]) -> Vec<u8> {
    let mut bytes = sent(Compression::None);
    bytes.truncate(RECORDS);
    bytes.push(u8::try_from(body.len() * 2).unwrap());
    bytes.extend_from_slice(body);
    let length = u32::try_from(bytes.len() - 12).unwrap();
    put(&mut bytes, 8, &length.to_be_bytes());
    put(&mut bytes, LAST_OFFSET_DELTA, &0_i32.to_be_bytes());
    put(&mut bytes, COUNT, &1_i32.to_be_bytes());
    bytes
}

#[test]
fn each_kind_of_damage_is_answered_with_kafkas_code() {
    let plain = || sent(Compression::None);
    let changed = |at: usize, with: &[u8]| {
        let mut bytes = plain();
        put(&mut bytes, at, with);
        bytes
    };
    let compressed = |codec| {
        let mut bytes = sent(codec);
        let last = bytes.len();
        bytes[RECORDS + 2..last].fill(0xa5);
        sealed(bytes)
    };
    // Attributes, timestamp delta, offset delta, key, value, count of headers.
    let varlong_min = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let mut least_timestamp = vec![0];
    least_timestamp.extend(varlong_min);
    least_timestamp.extend([0, 1, 1, 0]);
    let mut least_timestamp = record(&least_timestamp);
    put(&mut least_timestamp, BASE_TIMESTAMP, &0_i64.to_be_bytes());

    use ErrorCode::{CorruptMessage, InvalidRecord, InvalidTimestamp, UnknownServerError};
    let cases: Vec<(&str, Bytes, ErrorCode)> = vec![
        ("a bit that flipped on the way", changed(RECORDS + 5, &[0xff]).into(), CorruptMessage),
        ("a length below that of a header", changed(8, &20_u32.to_be_bytes()).into(), CorruptMessage),
        ("an unknown magic", sealed(changed(MAGIC, &[9])), CorruptMessage),
        ("an old magic", sealed(changed(MAGIC, &[1])), InvalidRecord),
        ("nothing at all", Bytes::new(), InvalidRecord),
        ("half a batch", Bytes::from(plain()).slice(..80), InvalidRecord),
        ("more records counted than there are", sealed(changed(COUNT, &3_i32.to_be_bytes())), InvalidRecord),
        ("none counted", sealed(changed(COUNT, &0_i32.to_be_bytes())), InvalidRecord),
        ("a negative count", sealed(changed(COUNT, &(-1_i32).to_be_bytes())), InvalidRecord),
        (
            "a last offset that is not the count's",
            sealed(changed(LAST_OFFSET_DELTA, &7_i32.to_be_bytes())),
            InvalidRecord,
        ),
        ("a base offset", sealed(changed(0, &5_i64.to_be_bytes())), InvalidRecord),
        ("a control batch", sealed(changed(ATTRIBUTES, &[0x20])), InvalidRecord),
        ("a record longer than the batch", sealed(changed(RECORDS, &[0x7e])), InvalidRecord),
        ("a record shorter than its fields", sealed(changed(RECORDS, &[0x04])), InvalidRecord),
        ("a key longer than its record", sealed(record(&[0, 0, 0, 0x40, b'k', 1, 0])), InvalidRecord),
        ("a negative number of headers", sealed(record(&[0, 0, 0, 1, 1, 1])), InvalidRecord),
        ("more headers than bytes", sealed(record(&[0, 0, 0, 1, 1, 0x40])), InvalidRecord),
        ("a varint without an end", sealed(record(&[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])), InvalidRecord),
        ("a timestamp delta of -2^63", sealed(least_timestamp), InvalidTimestamp),
        ("a codec that became unknown on the way", changed(ATTRIBUTES, &[0x07]).into(), CorruptMessage),
        ("an unknown codec", sealed(changed(ATTRIBUTES, &[0x07])), UnknownServerError),
        ("gzip that is none", compressed(Compression::Gzip), UnknownServerError),
        ("zstd that is none", compressed(Compression::Zstd), UnknownServerError),
        ("lz4 that is none", compressed(Compression::Lz4), UnknownServerError),
        ("snappy that is none", compressed(Compression::Snappy), UnknownServerError),
    ];
    for (name, bytes, expected) in cases {
        let mut t = TestLog::new(&[]);
        let refused = t.append(bytes).expect_err(name);
        assert_eq!(refused.code(), expected, "{name}: {refused}");
        assert_eq!((t.log.log_end_offset(), t.log.log_dir().is_offline()), (0, false), "{name}");
    }
    let mut t = TestLog::new(&[]);
    t.append(sealed(plain())).unwrap();
}
