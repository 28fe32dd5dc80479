use std::time::Duration;

use serde::{Deserialize, Serialize};
use vltava_broker::embedded;
use vltava_client::{
    Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition, consumer::TypedConsumer,
    producer::TypedProducer,
};
use vltava_schema::{Schema, SchemaReference, SchemaType, avro::AvroSerde};
use vltava_serde::Serde;

use crate::{
    LATEST, LOOK_UP, bytes, client,
    fake::{FakeRegistry, STRICT},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    item: String,
    count: i32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OldOrder {
    item: String,
    weight: f64,
}

const ORDER: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
    {"name":"item","type":"string"},{"name":"count","type":"int","default":1}]}"#;
const OLD_ORDER: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
    {"name":"item","type":"string"},{"name":"weight","type":"double"}]}"#;

fn order() -> Order {
    Order { item: "tea".to_owned(), count: 2 }
}

#[test]
fn records_have_the_registrys_header() {
    let fake = FakeRegistry::start();
    let serde = AvroSerde::<Order>::with_registry(&client(&fake, &[]), ORDER).unwrap();
    let written = bytes(&serde, "orders", &order()).unwrap();
    assert_eq!(written, [0, 0, 0, 0, 1, 6, b't', b'e', b'a', 4]);
    assert_eq!(serde.deserialize("orders", &written).unwrap(), order());
    bytes(&serde.for_keys(), "orders", &order()).unwrap();
    assert_eq!(fake.subjects(), ["orders-key", "orders-value"]);
    let by_name = client(&fake, &[("value.subject.name.strategy", "RecordNameStrategy")]);
    bytes(&AvroSerde::with_registry(&by_name, ORDER).unwrap(), "orders", &order()).unwrap();
    assert!(fake.subjects().contains(&"shop.Order".to_owned()));
}

#[test]
fn older_records_are_resolved_to_the_type_that_reads() {
    let fake = FakeRegistry::start();
    let registry = client(&fake, &[]);
    let old = AvroSerde::<OldOrder>::with_registry(&registry, OLD_ORDER).unwrap();
    let written = bytes(&old, "orders", &OldOrder { item: "tea".to_owned(), weight: 0.5 }).unwrap();
    let new = AvroSerde::<Order>::with_registry(&registry, ORDER).unwrap();
    assert_eq!(new.deserialize("orders", &written).unwrap(), Order { item: "tea".to_owned(), count: 1 });
    // The other way there is no default, and the registry's rule would have said so.
    let written = bytes(&new, "orders", &order()).unwrap();
    let error = old.deserialize("orders", &written).unwrap_err().to_string();
    assert!(error.starts_with("avro: "), "{error}");
}

#[test]
fn a_type_may_have_another_name_than_its_record() {
    let old = AvroSerde::<OldOrder>::new(OLD_ORDER).unwrap();
    for weight in [0.5, 1.5] {
        let order = OldOrder { item: "tea".to_owned(), weight };
        let written = bytes(&old, "orders", &order).unwrap();
        assert_eq!(old.deserialize("orders", &written).unwrap(), order);
        assert!(old.deserialize("orders", &written[1..]).unwrap_err().to_string().starts_with("avro: "));
    }
}

#[test]
fn the_latest_version_is_written_where_that_is_asked_for() {
    let fake = FakeRegistry::start();
    let latest = r#"{"type":"record","name":"Order","namespace":"shop","doc":"newer","fields":[
        {"name":"count","type":"int"},{"name":"item","type":"string"}]}"#;
    client(&fake, &[]).register("orders-value", &Schema::new(SchemaType::Avro, ORDER)).unwrap();
    client(&fake, &[]).register("orders-value", &Schema::new(SchemaType::Avro, latest)).unwrap();
    let registry = client(&fake, &[LOOK_UP, LATEST]);
    let serde = AvroSerde::<Order>::with_registry(&registry, ORDER).unwrap();
    let written = bytes(&serde, "orders", &order()).unwrap();
    assert_eq!(written, [0, 0, 0, 0, 2, 4, 6, b't', b'e', b'a'], "id 2, and the fields in its order");
    assert_eq!(serde.deserialize("orders", &written).unwrap(), order());
}

#[test]
fn an_incompatible_schema_is_the_serdes_error() {
    let fake = FakeRegistry::start();
    let registry = client(&fake, &[]);
    let old = AvroSerde::<OldOrder>::with_registry(&registry, OLD_ORDER).unwrap();
    bytes(&old, STRICT, &OldOrder { item: String::new(), weight: 0.0 }).unwrap();
    let new = AvroSerde::<Order>::with_registry(&registry, ORDER).unwrap();
    let error = bytes(&new, STRICT, &order()).unwrap_err();
    assert!(error.starts_with("the schema is not compatible with those of subject strict-value: "), "{error}");
}

#[test]
fn schemas_may_refer_to_others() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Parcel {
        order: Order,
    }
    let fake = FakeRegistry::start();
    let registry = client(&fake, &[]);
    registry.register("order", &Schema::new(SchemaType::Avro, ORDER)).unwrap();
    let parcel = r#"{"type":"record","name":"Parcel","fields":[{"name":"order","type":"shop.Order"}]}"#;
    let reference = SchemaReference { name: "shop.Order".to_owned(), subject: "order".to_owned(), version: 1 };
    let schema = Schema::new(SchemaType::Avro, parcel).with_references([reference]);
    let serde = AvroSerde::<Parcel>::with_schema(&registry, schema.clone()).unwrap();
    let written = bytes(&serde, "parcels", &Parcel { order: order() }).unwrap();
    assert_eq!(written, [0, 0, 0, 0, 2, 6, b't', b'e', b'a', 4]);
    // Another process, which knows the schema by its id alone.
    let other = AvroSerde::<Parcel>::with_schema(&client(&fake, &[]), schema).unwrap();
    assert_eq!(other.deserialize("parcels", &written).unwrap(), Parcel { order: order() });
}

#[test]
fn bytes_and_values_that_do_not_fit_are_errors() {
    let fake = FakeRegistry::start();
    let serde = AvroSerde::<Order>::with_registry(&client(&fake, &[]), ORDER).unwrap();
    let written = bytes(&serde, "orders", &order()).unwrap();
    for end in 0..written.len() {
        assert!(serde.deserialize("orders", &written[..end]).is_err(), "cut at {end}");
    }
    assert!(serde.deserialize("orders", &[0, 0, 0, 0, 9, 0]).unwrap_err().to_string().contains("Schema not found"));
    let wrong = AvroSerde::<OldOrder>::new(ORDER).unwrap();
    assert!(bytes(&wrong, "t", &OldOrder { item: String::new(), weight: 1.0 }).is_err());
    assert!(AvroSerde::<Order>::new("{").unwrap_err().to_string().starts_with("not a valid AVRO schema: "));
}

/// Clients alone: no Streams. Keys get their own subject without being asked for it.
#[tokio::test]
async fn plain_clients_write_and_read_avro() {
    let fake = FakeRegistry::start();
    let serde = AvroSerde::<Order>::with_registry(&client(&fake, &[]), ORDER).unwrap();
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let servers = ("bootstrap.servers", broker.bootstrap_servers());

    let producer = Producer::new(ProducerConfig::from_properties([servers]).unwrap()).unwrap();
    let orders = TypedProducer::<Order, Order>::new(producer, "orders", serde.clone(), serde.clone());
    let key = Order { item: "cup".to_owned(), count: 1 };
    orders.send(Some(&key), Some(&order())).await.unwrap().await.unwrap();
    assert_eq!(fake.subjects(), ["orders-key", "orders-value"]);

    let reset = ("auto.offset.reset", "earliest");
    let consumer = Consumer::new(ConsumerConfig::from_properties([servers, reset]).unwrap()).unwrap();
    consumer.assign([TopicPartition::new("orders", 0)]).unwrap();
    let consumer = TypedConsumer::<Order, Order>::new(consumer, serde.clone(), serde);
    let mut read = Vec::new();
    while read.is_empty() {
        read = consumer.poll(Duration::from_millis(200)).await.unwrap();
    }
    assert_eq!((read[0].key.as_ref(), read[0].value.as_ref()), (Some(&key), Some(&order())));
    assert!(read[0].record.value().unwrap().starts_with(&[0, 0, 0, 0, 1]));
}
