//! Keys and values of the internal topics' records.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use vltava_protocol::records::group::{GroupRecordKey, GroupRecordValue};
use vltava_protocol::records::metadata::MetadataRecord;
use vltava_protocol::records::share::{ShareRecordKey, ShareRecordValue};
use vltava_protocol::records::transaction::{TransactionRecordKey, TransactionRecordValue};
use vltava_protocol::wire::Reader;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    let reader = || Reader::new(bytes.clone());
    let _ = MetadataRecord::decode(&mut reader());
    let _ = GroupRecordKey::decode(&mut reader());
    let _ = TransactionRecordKey::decode(&mut reader());
    let _ = ShareRecordKey::decode(&mut reader());
    let Ok(record_type) = reader().i16() else { return };
    let value = || Reader::new(bytes.slice(2..));
    let _ = GroupRecordValue::decode(record_type, &mut value());
    let _ = TransactionRecordValue::decode(record_type, &mut value());
    let _ = ShareRecordValue::decode(record_type, &mut value());
});
