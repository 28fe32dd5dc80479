//! The serdes: what they write, what they read of it, and when they ask the registry.

use serde::{Deserialize, Serialize};
use vltava_schema::{
    CompatibilityLevel, Deletion, SchemaError, avro::AvroSerde, json::JsonSchemaSerde, protobuf::ProtobufSerde,
};

use crate::{
    schemas::{DEPOT, JSON_ORDER, NEWER, ORDER, SHOP, avro, protobuf, refers},
    tried::{Tried, other, read, told, written},
};

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    item: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct NewOrder {
    item: String,
    count: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Line {
    #[prost(string, tag = "1")]
    item: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Parcel {
    #[prost(message, optional, tag = "1")]
    order: Option<Line>,
}

fn order() -> Order {
    Order { item: "t".to_owned() }
}

fn line() -> Line {
    Line { item: "t".to_owned() }
}

pub(crate) fn try_all(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    evolution(tried)?;
    messages(tried)?;
    json(tried)?;
    subjects(tried)?;
    looking_up(tried)?;
    asking_once(tried)
}

fn evolution(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    let old = AvroSerde::<Order>::with_registry(&tried.client(&[])?, ORDER)?;
    let new = AvroSerde::<NewOrder>::with_registry(&tried.client(&[])?, NEWER)?;
    let by_old = written(&old, "orders", &order());
    let by_new = written(&new, "orders", &NewOrder { item: "t".to_owned(), count: 2 });
    for (call, bytes, expected) in
        [("Avro: the old writes", &by_old, "#1 [2, 116]"), ("Avro: the new writes", &by_new, "#2 [2, 116, 4]")]
    {
        let got = tried.bytes(bytes);
        tried.gives(call, expected, &got);
    }
    tried.gives("Avro: the old reads the old", r#"Order { item: "t" }"#, &read(&old, &by_old));
    tried.gives("Avro: the old reads the new", r#"Order { item: "t" }"#, &read(&old, &by_new));
    tried.gives("Avro: the new reads the old", r#"NewOrder { item: "t", count: 1 }"#, &read(&new, &by_old));
    tried.gives("Avro: the new reads the new", r#"NewOrder { item: "t", count: 2 }"#, &read(&new, &by_new));
    let registry = tried.client(&[])?;
    registry.set_compatibility("orders-value", CompatibilityLevel::Backward)?;
    let weighed = ORDER.replace(r#"{"name":"item","type":"string"}"#, r#"{"name":"weight","type":"int"}"#);
    let other = AvroSerde::<NewOrder>::with_registry(&registry, &weighed)?;
    let refused = written(&other, "orders", &NewOrder { item: String::new(), count: 1 });
    let got = tried.bytes(&refused);
    tried.gives("Avro: incompatible", "the schema is not compatible with those of subject orders-value", &got);
    Ok(())
}

fn messages(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    let registry = tried.client(&[])?;
    let id = registry.register("lines-value", &protobuf(SHOP))?;
    let id = tried.named(id);
    for (message, place) in [("shop.Other", "0"), ("shop.Order", "2, 2"), ("shop.Order.Line", "4, 2, 0")] {
        let serde = ProtobufSerde::<Line>::with_registry(&registry, SHOP, message)?;
        let bytes = written(&serde, "lines", &line());
        let got = tried.bytes(&bytes);
        tried.gives(&format!("Protobuf: {message}"), format!("{id} [{place}, 10, 1, 116]"), &got);
        let reader = ProtobufSerde::<Line>::with_registry(&tried.client(&[])?, SHOP, message)?;
        tried.gives(&format!("Protobuf: {message} is read"), r#"Line { item: "t" }"#, &read(&reader, &bytes));
        let other = ProtobufSerde::<Line>::with_registry(&tried.client(&[])?, "message Nothing {}", "Nothing")?;
        let got = read(&other, &bytes);
        let is_refused = got.ends_with(&format!(" is of {message} where Nothing is read"));
        tried.gives(&format!("Protobuf: {message} is not another"), "true", &is_refused.to_string());
    }
    let depot = refers(protobuf(DEPOT), "shop.proto", "protobuf-order");
    let serde = ProtobufSerde::<Parcel>::with_schema(&registry, depot.clone(), "depot.Parcel")?;
    let bytes = written(&serde, "parcels", &Parcel { order: Some(line()) });
    let rest = bytes.as_ref().map(|bytes| format!("{:?}", bytes.get(5..).unwrap_or_default()));
    tried.gives("Protobuf: an import", "[0, 10, 3, 10, 1, 116]", &rest.unwrap_or_else(ToString::to_string));
    let reader = ProtobufSerde::<Parcel>::with_schema(&tried.client(&[])?, depot, "depot.Parcel")?;
    let parcel = r#"Parcel { order: Some(Line { item: "t" }) }"#;
    tried.gives("Protobuf: an import is read", parcel, &read(&reader, &bytes));
    Ok(())
}

fn json(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    let serde = JsonSchemaSerde::<Order>::new(&tried.client(&[])?, JSON_ORDER)?;
    let bytes = written(&serde, "texts", &order());
    let got = tried.bytes(&bytes);
    tried.gives("JSON: written", format!("#3 {:?}", br#"{"item":"t"}"#), &got);
    let reader = JsonSchemaSerde::<Order>::new(&tried.client(&[])?, JSON_ORDER)?;
    tried.gives("JSON: read", r#"Order { item: "t" }"#, &read(&reader, &bytes));
    let of_avro = written(&AvroSerde::<Order>::with_registry(&tried.client(&[])?, ORDER)?, "avro", &order());
    let got = read(&reader, &of_avro);
    tried.gives("JSON: Avro is not read", "true", &got.ends_with(" is of AVRO where JSON is read").to_string());
    let unknown = read(&reader, &Ok(vec![0, 0, 0, 39, 15, b'{', b'}']));
    tried.gives("JSON: an id that is none", "not in the schema registry: schema 9999 (40403)", &unknown);
    Ok(())
}

fn subjects(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    for (strategy, value, key) in [
        ("TopicNameStrategy", "named-value", "named-key"),
        ("RecordNameStrategy", "shop.Order", "shop.Order"),
        ("TopicRecordNameStrategy", "named-shop.Order", "named-shop.Order"),
    ] {
        let settings = [("value.subject.name.strategy", strategy), ("key.subject.name.strategy", strategy)];
        let registry = tried.client(&settings)?;
        let serde = AvroSerde::<Order>::with_registry(&registry, ORDER)?;
        for (of, serde, subject) in [("values", serde.clone(), value), ("keys", serde.for_keys(), key)] {
            let got = tried.bytes(&written(&serde, "named", &order()));
            tried.gives(&format!("{strategy}: {of}"), "#1 [2, 116]", &got);
            tried.gives(&format!("{strategy}: subject of {of}"), "[1]", &told(registry.versions(subject)));
        }
    }
    Ok(())
}

fn looking_up(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    let only = ("auto.register.schemas", "false");
    let latest = ("use.latest.version", "true");
    for (call, settings) in [("looking up", &[only][..]), ("latest", &[only, latest])] {
        let serde = AvroSerde::<NewOrder>::with_registry(&tried.client(settings)?, NEWER)?;
        let got = tried.bytes(&written(&serde, "unknown", &NewOrder { item: String::new(), count: 0 }));
        tried.gives(&format!("{call}: no subject"), "not in the schema registry: unknown-value (40401)", &got);
    }
    let registry = tried.client(&[])?;
    registry.register("known-value", &avro(ORDER))?;
    let new = || NewOrder { item: "t".to_owned(), count: 2 };
    let serde = AvroSerde::<NewOrder>::with_registry(&tried.client(&[only])?, NEWER)?;
    let got = tried.bytes(&written(&serde, "known", &new()));
    tried.gives("looking up: another schema", "not in the schema registry: known-value (40403)", &got);
    registry.register("known-value", &avro(NEWER))?;
    let got = tried.bytes(&written(&serde, "known", &new()));
    tried.gives("looking up: a failure is not remembered", "#2 [2, 116, 4]", &got);
    // A schema that is not registered, under which the newest writes; its fields are in another order.
    let swapped = NEWER.replace(
        r#"{"name":"item","type":"string"},{"name":"count","type":"int","default":1}"#,
        r#"{"name":"count","type":"int","default":1},{"name":"item","type":"string"}"#,
    );
    let serde = AvroSerde::<NewOrder>::with_registry(&tried.client(&[only, latest])?, &swapped)?;
    let bytes = written(&serde, "known", &new());
    let got = tried.bytes(&bytes);
    tried.gives("latest: it writes", "#2 [2, 116, 4]", &got);
    tried.gives("latest: it is read", r#"NewOrder { item: "t", count: 2 }"#, &read(&serde, &bytes));
    Ok(())
}

/// Serdes that have asked go on when the registry has deleted what they asked for.
fn asking_once(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    let deletes = tried.client(&[])?;
    let schema = ORDER.replace("shop", "asked");
    let serde = AvroSerde::<Order>::with_registry(&tried.client(&[])?, &schema)?;
    let bytes = written(&serde, "asked", &order());
    let before = read(&serde, &bytes);
    deletes.delete_subject("asked-value", Deletion::Soft)?;
    deletes.delete_subject("asked-value", Deletion::Permanent)?;
    let same = (written(&serde, "asked", &order()).ok() == bytes.as_ref().ok().cloned()).to_string();
    tried.gives("a serde that has asked writes", "true", &same);
    tried.gives("a serde that has asked reads", before, &read(&serde, &bytes));
    tried.gives("what it asked for is gone", "no asked-value (40401)", &told(deletes.versions("asked-value")));
    let fresh = AvroSerde::<Order>::with_registry(&tried.client(&[])?, &schema)?;
    let got = read(&fresh, &bytes);
    let got = if got.starts_with("not in the schema registry") { "not found" } else { &got };
    let why = "Apicurio drops a schema that no subject has";
    let expected = other(r#"Order { item: "t" }"#, "not found", why);
    tried.gives("a serde that has not asked reads", expected, got);
    Ok(())
}
