use vltava_schema::{Schema, SchemaType, protobuf::ProtobufSerde};
use vltava_serde::Serde;

use crate::{LATEST, LOOK_UP, bytes, client, fake::FakeRegistry};

#[derive(Clone, PartialEq, prost::Message)]
struct Order {
    #[prost(string, tag = "1")]
    item: String,
    #[prost(int32, tag = "2")]
    count: i32,
}

const SHOP: &str = r#"syntax = "proto3"; package shop;
    message Order { string item = 1; int32 count = 2; message Line { string item = 1; } }
    message Other { string item = 1; }"#;
/// The same messages in another order.
const NEWER: &str = r#"syntax = "proto3"; package shop;
    message Other { string item = 1; }
    message Order { string item = 1; int32 count = 2; }"#;

fn order() -> Order {
    Order { item: "tea".to_owned(), count: 2 }
}

const PAYLOAD: [u8; 7] = [10, 3, b't', b'e', b'a', 16, 2];

#[test]
fn records_have_the_header_and_the_place_of_the_message() {
    let fake = FakeRegistry::start();
    let registry = client(&fake, &[]);
    let places: [(&str, &[u8]); 3] = [("shop.Order", &[0]), ("shop.Order.Line", &[4, 0, 0]), ("shop.Other", &[2, 2])];
    for (name, place) in places {
        let serde = ProtobufSerde::<Order>::with_registry(&registry, SHOP, name).unwrap();
        for _ in 0..2 {
            let written = bytes(&serde, "orders", &order()).unwrap();
            assert_eq!(written, [&[0, 0, 0, 0, 1], place, &PAYLOAD].concat(), "{name}");
            assert_eq!(serde.deserialize("orders", &written).unwrap(), order());
        }
    }
    assert_eq!(fake.body_of(1)["schemaType"], "PROTOBUF");
    assert_eq!(fake.subjects(), ["orders-value"]);
}

#[test]
fn a_record_of_another_message_is_refused() {
    let fake = FakeRegistry::start();
    let registry = client(&fake, &[]);
    let other = ProtobufSerde::<Order>::with_registry(&registry, SHOP, "shop.Other").unwrap();
    let written = bytes(&other, "orders", &order()).unwrap();
    let orders = ProtobufSerde::<Order>::with_registry(&client(&fake, &[]), SHOP, "shop.Order").unwrap();
    let error = orders.deserialize("orders", &written).unwrap_err().to_string();
    assert_eq!(error, "schema 1 is of shop.Other where shop.Order is read");
    let nowhere = orders.deserialize("orders", &[0, 0, 0, 0, 1, 2, 14]).unwrap_err().to_string();
    assert!(nowhere.contains("message [7], which its file has not"), "{nowhere}");
    // The first message may be spelled out; Kafka's serializers shorten it.
    let spelled = [&[0, 0, 0, 0, 1, 2, 0][..], &PAYLOAD].concat();
    assert_eq!(orders.deserialize("orders", &spelled).unwrap(), order());
}

#[test]
fn the_latest_version_decides_the_place() {
    let fake = FakeRegistry::start();
    for text in [SHOP, NEWER] {
        client(&fake, &[]).register("orders-value", &Schema::new(SchemaType::Protobuf, text)).unwrap();
    }
    let registry = client(&fake, &[LOOK_UP, LATEST]);
    let serde = ProtobufSerde::<Order>::with_registry(&registry, SHOP, "shop.Order").unwrap();
    let written = bytes(&serde, "orders", &order()).unwrap();
    assert_eq!(written, [&[0, 0, 0, 0, 2, 2, 2][..], &PAYLOAD].concat());
    assert_eq!(serde.deserialize("orders", &written).unwrap(), order());
}

#[test]
fn what_is_wrong_is_named() {
    let fake = FakeRegistry::start();
    let registry = client(&fake, &[]);
    let missing = ProtobufSerde::<Order>::with_registry(&registry, SHOP, "Order").unwrap_err().to_string();
    assert_eq!(missing, "not a valid PROTOBUF schema: it has no message Order");
    let serde = ProtobufSerde::<Order>::with_registry(&registry, SHOP, "shop.Order").unwrap();
    let written = bytes(&serde, "orders", &order()).unwrap();
    assert!(serde.deserialize("orders", &written[..9]).unwrap_err().to_string().starts_with("protobuf: "));
    let bare = ProtobufSerde::<Order>::new();
    assert_eq!(bytes(&bare, "orders", &order()).unwrap(), PAYLOAD);
    assert_eq!(bare.serialized_len(&order()), Some(7));
}
