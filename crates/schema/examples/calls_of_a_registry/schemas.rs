//! Registering, looking up, versions, references, normalisation.

use vltava_schema::{Schema, SchemaError, SchemaReference, SchemaType};

use crate::tried::{Tried, kind, other, told};

pub(crate) const ORDER: &str =
    r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"item","type":"string"}]}"#;
pub(crate) const NEWER: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"item","type":"string"},{"name":"count","type":"int","default":1}]}"#;
/// The same as `ORDER` in another spelling.
const SPELLED: &str =
    r#"{"name": "Order", "namespace": "shop", "type": "record", "fields": [{"type": "string", "name": "item"}]}"#;
const PARCEL: &str =
    r#"{"type":"record","name":"Parcel","namespace":"shop","fields":[{"name":"order","type":"shop.Order"}]}"#;
pub(crate) const SHOP: &str = r#"syntax = "proto3"; package shop;
message Other { string item = 1; }
message Order { string item = 1; int32 count = 2; message Line { string item = 1; } }"#;
/// The same as `SHOP` in another spelling.
const SHOP_SPELLED: &str = r#"syntax="proto3";
package shop;
message Other { string item=1; }
message Order { string item=1; int32 count=2; message Line { string item=1; } }"#;
pub(crate) const DEPOT: &str = r#"syntax = "proto3"; package depot; import "shop.proto";
message Parcel { shop.Order order = 1; }"#;
pub(crate) const JSON_ORDER: &str = r#"{"title":"Order","type":"object","properties":{"item":{"type":"string"}}}"#;
pub(crate) const JSON_PARCEL: &str =
    r#"{"title":"Parcel","type":"object","properties":{"order":{"$ref":"order.json"}}}"#;

pub(crate) fn avro(text: &str) -> Schema {
    Schema::new(SchemaType::Avro, text)
}

pub(crate) fn protobuf(text: &str) -> Schema {
    Schema::new(SchemaType::Protobuf, text)
}

pub(crate) fn json(text: &str) -> Schema {
    Schema::new(SchemaType::Json, text)
}

pub(crate) fn refers(schema: Schema, name: &str, subject: &str) -> Schema {
    schema.with_references([SchemaReference { name: name.to_owned(), subject: subject.to_owned(), version: 1 }])
}

pub(crate) fn try_all(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    registering(tried)?;
    looking_up(tried)?;
    refused(tried)?;
    references(tried)?;
    normalisation(tried)
}

fn registering(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    let registry = tried.client(&[])?;
    for (call, subject, schema, id) in [
        ("a first schema", "a", avro(ORDER), "#1"),
        ("the same under another subject", "b", avro(ORDER), "#1"),
        ("a second version", "a", avro(NEWER), "#2"),
        ("a subject with a name that must be escaped", "of/all ?é", json(JSON_ORDER), "#3"),
    ] {
        let got = tried.id(registry.register(subject, &schema));
        tried.gives(&format!("register {call}"), id, &got);
        let again = tried.client(&[])?.register(subject, &schema);
        let again = tried.id(again);
        tried.gives(&format!("register {call}, again"), id, &again);
    }
    let mut subjects = registry.subjects()?;
    subjects.sort();
    tried.gives("subjects", r#"["a", "b", "of/all ?é"]"#, &format!("{subjects:?}"));
    Ok(())
}

fn looking_up(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    let registry = tried.client(&[])?;
    let found = [
        ("id of a schema", "a", avro(ORDER), "#1"),
        ("id of another", "a", avro(NEWER), "#2"),
        ("id of a schema that the subject has not", "b", avro(NEWER), "no b (40403)"),
        ("id of a schema of no subject", "none", avro(ORDER), "no none (40401)"),
    ];
    for (call, subject, schema, expected) in found {
        let got = tried.id(registry.id_of(subject, &schema));
        tried.gives(call, expected, &got);
    }
    let id = registry.id_of("a", &avro(NEWER))?;
    tried.gives("schema of an id", format!("{:?}", avro(NEWER)), &told(registry.schema(id)));
    tried.gives("schema of an id that is none", "no schema 9999 (40403)", &told(registry.schema(9999)));
    tried.gives("versions", "[1, 2]", &told(registry.versions("a")));
    tried.gives("versions of no subject", "no none (40401)", &told(registry.versions("none")));
    for (call, subject, version, expected) in [
        ("version 1", "a", Some(1), format!("#1, version 1, {:?}", avro(ORDER)).into()),
        ("the latest version", "a", None, format!("#2, version 2, {:?}", avro(NEWER)).into()),
        ("version 9", "a", Some(9), "no a (40402)".into()),
        ("version 1 of no subject", "none", Some(1), "no none (40401)".into()),
        ("the latest version of no subject", "none", None, "no none (40401)".into()),
        (
            "version 0",
            "a",
            Some(0),
            other("refused (42202)", "no a (40402)", "Apicurio takes any number for a version that might be"),
        ),
    ] {
        let found = version.map_or_else(|| registry.latest(subject), |version| registry.version(subject, version));
        let got = match found {
            Ok(found) => format!("{}, version {}, {:?}", tried.named(found.id), found.version, found.schema),
            Err(error) => kind(&error),
        };
        tried.gives(call, expected, &got);
    }
    Ok(())
}

fn refused(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    let registry = tried.client(&[])?;
    let reads = "the registry in memory reads JSON and nothing else";
    let unresolved = refers(avro(PARCEL), "shop.Order", "nowhere");
    for (call, schema, expected) in [
        ("what is no Avro", avro("{"), "no schema of AVRO".into()),
        ("what is no JSON", json("{"), "no schema of JSON".into()),
        ("what is no Protobuf", protobuf("mess"), other("taken", "no schema of PROTOBUF", reads)),
        ("an Avro type that is not there", avro(PARCEL), other("taken", "no schema of AVRO", reads)),
        ("a reference to no subject", unresolved, other("taken", "no schema of AVRO", reads)),
        (
            "a JSON schema without properties",
            json(r#"{"type":"object"}"#),
            other("taken", "no schema of JSON", "Apicurio knows a JSON schema by `$schema` or `properties`"),
        ),
    ] {
        let got = registry.register("refused", &schema).map_or_else(|error| kind(&error), |_| "taken".to_owned());
        tried.gives(&format!("register {call}"), expected, &got);
    }
    Ok(())
}

fn references(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    for (format, subject, of, with) in [
        ("Avro", "avro", avro(ORDER), refers(avro(PARCEL), "shop.Order", "avro-order")),
        ("Protobuf", "protobuf", protobuf(SHOP), refers(protobuf(DEPOT), "shop.proto", "protobuf-order")),
        ("JSON", "json", json(JSON_ORDER), refers(json(JSON_PARCEL), "order.json", "json-order")),
    ] {
        let (order, parcel) = (format!("{subject}-order"), format!("{subject}-parcel"));
        let registry = tried.client(&[])?;
        registry.register(&order, &of)?;
        let id = registry.register(&parcel, &with)?;
        let fresh = tried.client(&[])?;
        tried.gives(&format!("{format}: references, by id"), format!("{with:?}"), &told(fresh.schema(id)));
        let latest = fresh.latest(&parcel)?;
        tried.gives(&format!("{format}: references, by version"), format!("{with:?}"), &format!("{:?}", latest.schema));
        tried.gives(
            &format!("{format}: what it refers to"),
            format!("{:?}", [of]),
            &told(fresh.referenced(&latest.schema)),
        );
        tried.gives(&format!("{format}: looked up with them"), format!("{id}"), &told(fresh.id_of(&parcel, &with)));
    }
    Ok(())
}

fn normalisation(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    let (plain, normalizing) = (tried.client(&[])?, tried.client(&[("normalize.schemas", "true")])?);
    let got = tried.id(plain.id_of("a", &avro(SPELLED)));
    tried.gives("id of another spelling", "no a (40403)", &got);
    for call in ["id of another spelling, normalised", "register another spelling, normalised"] {
        let answer = match call {
            "id of another spelling, normalised" => normalizing.id_of("a", &avro(SPELLED)),
            _ => tried.client(&[("normalize.schemas", "true")])?.register("a", &avro(SPELLED)),
        };
        let got = tried.id(answer);
        tried.gives(call, "#1", &got);
    }
    tried.gives("versions are as they were", "[1, 2]", &told(plain.versions("a")));
    let shop = plain.register("spelled", &protobuf(SHOP))?;
    let got = normalizing.id_of("spelled", &protobuf(SHOP_SPELLED)).map(|id| id == shop);
    let why = "the registry in memory compares texts of Protobuf";
    tried.gives("id of Protobuf in another spelling, normalised", other("no spelled (40403)", "true", why), &told(got));
    Ok(())
}
