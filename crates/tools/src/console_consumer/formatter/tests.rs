use vltava_client::TopicPartition;
use vltava_protocol::record::{HeaderView, RecordBatchBuilder, TimestampType};

use super::{DefaultFormatter, Formatter};
use crate::properties::key_values;

/// What is printed of a record at offset 0 with these settings.
fn printed(settings: &[&str], key: Option<&[u8]>, value: Option<&[u8]>, headers: &[HeaderView<'_>]) -> String {
    let words: Vec<String> = settings.iter().map(|word| (*word).to_owned()).collect();
    let format = DefaultFormatter::new(&key_values(&words)).expect("settings");
    let mut out = Vec::new();
    with_record(key, value, headers, |record| {
        let partition = TopicPartition::new("users", 3);
        format.write(&partition, TimestampType::CreateTime, record, &mut out).expect("a record that can be printed");
    });
    String::from_utf8(out).expect("text")
}

fn with_record(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[HeaderView<'_>],
    mut look: impl FnMut(&vltava_protocol::record::RecordView<'_>),
) {
    let mut builder = RecordBatchBuilder::new(vltava_protocol::record::Compression::None);
    builder.append(1_700_000_000_000, key, value, headers.iter().copied()).expect("room for a record");
    let bytes = builder.build().expect("a batch");
    let batch = vltava_protocol::record::RecordBatch::parse(bytes).expect("a batch");
    let decoded = batch.decode(&mut vltava_protocol::record::Decompressor::default()).expect("records");
    for record in decoded.iter() {
        look(&record.expect("a record"));
    }
}

#[test]
fn prints_the_session_of_the_introduction() {
    let settings = ["print.timestamp=true", "print.key=true", "print.value=true", "print.headers=true"];
    let line = printed(&settings, Some(b"1"), Some(b"mitch"), &[]);
    assert_eq!(line, "CreateTime:1700000000000\tNO_HEADERS\t1\tmitch\n");
}

#[test]
fn prints_the_value_alone_by_default_and_null_as_such() {
    assert_eq!(printed(&[], Some(b"1"), Some(b"mitch"), &[]), "mitch\n");
    assert_eq!(printed(&[], None, None, &[]), "null\n");
    assert_eq!(printed(&["null.literal=-"], None, None, &[]), "-\n");
}

#[test]
fn prints_all_columns_in_kafkas_order() {
    let all = ["timestamp", "partition", "offset", "delivery", "epoch", "headers", "key"];
    let settings: Vec<String> = all.iter().map(|column| format!("print.{column}=true")).collect();
    let mut settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    settings.extend(["key.separator=|", "line.separator=;", "headers.separator=+"]);
    let headers = [HeaderView::new("a", Some(b"1")), HeaderView::new("b", None)];
    let line = printed(&settings, None, Some(b"v"), &headers);
    let expected =
        "CreateTime:1700000000000|Partition:3|Offset:0|Delivery:NOT_PRESENT|Epoch:NOT_PRESENT|a:1+b:null|null|v;";
    assert_eq!(line, expected);
}

#[test]
fn ends_the_line_also_without_a_value() {
    assert_eq!(printed(&["print.value=false", "print.key=true"], Some(b"k"), Some(b"v"), &[]), "k\n");
    assert_eq!(printed(&["print.value=false"], Some(b"k"), Some(b"v"), &[]), "");
}

#[test]
fn deserializes_by_kafkas_classes() {
    let settings = ["value.deserializer=org.apache.kafka.common.serialization.LongDeserializer"];
    assert_eq!(printed(&settings, None, Some(&42_i64.to_be_bytes()), &[]), "42\n");
}

#[test]
fn formatters_go_by_class_names() {
    let none = Vec::new();
    assert!(matches!(Formatter::new("NoOpMessageFormatter", &none), Ok(Formatter::NoOp)));
    let class = "org.apache.kafka.tools.consumer.OffsetsMessageFormatter";
    let refused = Formatter::new(class, &none).expect_err("a formatter that is not there");
    assert_eq!(refused.message(), format!("--formatter {class} is not supported yet"));
}
