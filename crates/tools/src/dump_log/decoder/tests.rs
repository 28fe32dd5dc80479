use vltava_protocol::messages::ConsumerProtocolSubscription;
use vltava_protocol::record::{Compression, Decompressor, RecordBatch, RecordBatchBuilder};
use vltava_protocol::records::group::group_metadata_value::MemberMetadata;
use vltava_protocol::records::group::{GroupMetadataKey, GroupMetadataValue};
use vltava_protocol::records::metadata::{MetadataRecord, NoOpRecord};
use vltava_protocol::records::transaction::{TransactionLogKey, TransactionLogValue};
use vltava_protocol::records::{key_bytes, value_bytes};
use vltava_protocol::wire::{Message, Writer};

use super::*;

/// What a decoder says of one record.
fn decoded(option: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Decoded, Failure> {
    let options = Options::parse(crate::dump_log::OPTIONS, &[option.to_owned()]).expect("options");
    let mut builder = RecordBatchBuilder::new(Compression::None).base_offset(7);
    builder.append(0, key, value, []).expect("a record");
    let batch = RecordBatch::parse(builder.build().expect("a batch")).expect("a batch");
    let mut decompressor = Decompressor::new();
    let record = batch.records(&mut decompressor).expect("records").next().expect("one").expect("a record");
    Decoder::new(&options)?.decode(&record)
}

fn words(key: &str, payload: Option<&str>) -> Decoded {
    let key = (!key.is_empty()).then(|| key.to_owned());
    Decoded { key, payload: payload.map(str::to_owned) }
}

#[test]
fn records_of_transactions_are_shown() {
    let key = TransactionLogKey { transactional_id: "t\"1".to_owned() };
    let key = key_bytes(&key).expect("a key");
    let value = value_bytes(&TransactionLogValue { producer_id: 3, ..TransactionLogValue::default() }, 1);
    let shown_key = r#"{"type":"0","data":{"transactionalId":"t\"1"}}"#;
    let shown = concat!(
        r#"{"version":"1","data":{"producerId":3,"producerEpoch":0,"transactionTimeoutMs":0,"transactionStatus":0,"#,
        r#""transactionPartitions":[],"transactionLastUpdateTimestampMs":0,"transactionStartTimestampMs":0}}"#
    );
    let got = decoded("--transaction-log-decoder", Some(&key), Some(&value.expect("a value"))).expect("words");
    assert_eq!(got, words(shown_key, Some(shown)));
    let got = decoded("--transaction-log-decoder", Some(&key), None).expect("words");
    assert_eq!(got, words(shown_key, Some("<DELETE>")));
}

#[test]
fn a_members_subscription_is_shown() {
    let key = key_bytes(&GroupMetadataKey { group: "g".to_owned() }).expect("a key");
    let subscription = ConsumerProtocolSubscription { topics: vec!["t".to_owned()], ..Default::default() };
    let mut w = Writer::new();
    w.i16(1);
    subscription.encode(&mut w, 1).expect("a subscription");
    let member = |subscription| MemberMetadata { subscription, ..MemberMetadata::default() };
    let group = GroupMetadataValue {
        protocol_type: "consumer".to_owned(),
        members: vec![member(w.into_bytes()), member(Bytes::from_static(&[0, 9, 9]))],
        ..GroupMetadataValue::default()
    };
    let value = value_bytes(&group, 3).expect("a value");
    let got = decoded("--offsets-decoder", Some(&key), Some(&value)).expect("words").payload.expect("a payload");
    assert!(got.contains(r#""subscription":{"topics":["t"],"userData":null,"ownedPartitions":[]}"#), "{got}");
    assert!(got.contains(r#""subscription":"AAkJ""#), "{got}");
    assert!(got.contains(r#""assignment":"""#), "{got}");
}

#[test]
fn what_cannot_be_read_is_said_and_passed_over() {
    type Case<'a> = (&'a [u8], Option<&'a [u8]>, &'a str);
    let cases: [Case<'_>; 4] = [
        (&[0], None, "Error at offset 7, skipping. Could not read version from key's buffer."),
        (&[0, 99], None, "Unknown record type 99 at offset 7, skipping."),
        (
            &[0, 0, 0, 1, b'x'],
            Some(&[0, 77]),
            "Error at offset 7, skipping. Found an unknown record version 77 for 0 type",
        ),
        (&[0, 0, 0, 1, b'x'], Some(&[]), "Error at offset 7, skipping. Could not read version from value's buffer."),
    ];
    for (key, value, expected) in cases {
        let got = decoded("--transaction-log-decoder", Some(key), value).expect("words");
        assert_eq!(got, words(expected, None));
    }
    let refused = decoded("--offsets-decoder", None, Some(b"v")).expect_err("no key");
    assert!(refused.message().contains("message had a missing key"), "{refused}");
    let got = decoded("--cluster-metadata-decoder", None, Some(&[1, 2])).expect("words");
    assert_eq!(got, words("", Some("Error at 7, skipping. Error while reading version")));
}

#[test]
fn records_of_the_metadata_log_are_shown() {
    let mut w = Writer::new();
    MetadataRecord::NoOp(NoOpRecord::default()).encode(&mut w, 0).expect("a record");
    let got = decoded("--cluster-metadata-decoder", None, Some(&w.into_bytes())).expect("words");
    assert_eq!(got, words("", Some(r#"{"type":"NO_OP_RECORD","version":0,"data":{}}"#)));
    assert_eq!(constant("ZkMigrationStateRecord"), "ZK_MIGRATION_STATE_RECORD");
}

#[test]
fn plain_values_are_decoded_by_class() {
    let class = "--value-decoder-class=org.apache.kafka.tools.api.";
    let number = 258_i64.to_be_bytes();
    let got = decoded(&format!("{class}LongDecoder"), Some(b"k"), Some(&number)).expect("words");
    assert_eq!(got, words("k", Some("258")));
    let refused = decoded(&format!("{class}LongDecoder"), None, Some(b"abc")).expect_err("three bytes");
    assert_eq!(refused.message(), "a number of 8 bytes is to be decoded, and there are 3");
    let refused = decoded("--key-decoder-class=com.example.Mine", None, None).expect_err("no such class");
    assert_eq!(refused.message(), "decoder com.example.Mine is not supported yet");
}
