use serde::{Deserialize, Serialize};
use vltava_schema::{Schema, SchemaType, json::JsonSchemaSerde};
use vltava_streams::{Consumed, Produced, Serde, StreamsBuilder, TopologyTestDriver, data::Data, serdes::StringSerde};

use crate::{LOOK_UP, bytes, client, fake::FakeRegistry};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    item: String,
}
impl Data for Order {}

const SCHEMA: &str = r#"{"title":"Order","type":"object"}"#;

fn order() -> Order {
    Order { item: "tea".to_owned() }
}

#[test]
fn records_have_the_registrys_header() {
    let fake = FakeRegistry::start();
    let serde = JsonSchemaSerde::<Order>::new(&client(&fake, &[]), SCHEMA).unwrap();
    let written = bytes(&serde, "orders", &order()).unwrap();
    assert_eq!(written, [&[0, 0, 0, 0, 1][..], br#"{"item":"tea"}"#].concat());
    assert_eq!(serde.deserialize("orders", &written).unwrap(), order());
    assert_eq!(fake.subjects(), ["orders-value"]);
    assert_eq!(fake.body_of(1)["schemaType"], "JSON");
    let bare = serde.deserialize("orders", b"{}").unwrap_err().to_string();
    assert!(bare.contains("magic byte 123 in place of 0"), "{bare}");
}

#[test]
fn a_topology_uses_the_subject_of_keys_for_keys() {
    let fake = FakeRegistry::start();
    let serde = JsonSchemaSerde::<Order>::new(&client(&fake, &[]), SCHEMA).unwrap();
    let builder = StreamsBuilder::new();
    let texts = builder.stream_with::<String, String>(Consumed::with(StringSerde, StringSerde), "in");
    let orders = texts.map(|key, value| (Order { item: key }, Order { item: value }));
    orders.to_with(Produced::with(serde.clone(), serde), "out");
    let driver = TopologyTestDriver::new(&builder.build().unwrap()).unwrap();
    driver.input_topic::<String, String>("in").pipe("k".to_owned(), "v".to_owned()).unwrap();
    assert_eq!(fake.subjects(), ["out-key", "out-value"]);
    let sent = driver.history();
    assert!(sent[0].key.as_ref().unwrap().starts_with(&[0, 0, 0, 0, 1, b'{']));
}

#[test]
fn record_names_make_subjects() {
    let fake = FakeRegistry::start();
    for (strategy, subject) in [("RecordNameStrategy", "Order"), ("TopicRecordNameStrategy", "t-Order")] {
        let registry = client(&fake, &[("value.subject.name.strategy", strategy)]);
        bytes(&JsonSchemaSerde::new(&registry, SCHEMA).unwrap(), "t", &order()).unwrap();
        assert!(fake.subjects().contains(&subject.to_owned()), "{strategy}");
    }
}

#[test]
fn a_schema_that_may_not_be_registered_must_be_there() {
    let fake = FakeRegistry::start();
    let registry = client(&fake, &[LOOK_UP]);
    let serde = JsonSchemaSerde::<Order>::new(&registry, SCHEMA).unwrap();
    let missing = bytes(&serde, "orders", &order()).unwrap_err();
    assert!(missing.contains("orders-value: Subject not found (error code 40401)"), "{missing}");
    registry.register("orders-value", &Schema::new(SchemaType::Json, SCHEMA)).unwrap();
    assert!(bytes(&serde, "orders", &order()).is_ok(), "a failure is not remembered");
}

#[test]
fn other_formats_are_refused() {
    let fake = FakeRegistry::start();
    let registry = client(&fake, &[]);
    registry.register("s", &Schema::new(SchemaType::Avro, r#""string""#)).unwrap();
    let serde = JsonSchemaSerde::<Order>::new(&registry, SCHEMA).unwrap();
    let error = serde.deserialize("t", &[0, 0, 0, 0, 1, b'{', b'}']).unwrap_err().to_string();
    assert_eq!(error, "schema 1 is of AVRO where JSON is read");
    assert!(JsonSchemaSerde::<Order>::new(&registry, "{").unwrap_err().is_fatal());
}
