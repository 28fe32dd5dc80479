//! Rules of subjects, and what they refuse.

use vltava_schema::{
    CompatibilityLevel::{self, Backward, BackwardTransitive, Forward, ForwardTransitive, Full, FullTransitive, None},
    Schema, SchemaError,
};

use crate::{
    schemas::{JSON_ORDER, SHOP, avro, json, protobuf},
    tried::{Tried, kind, other, told},
};

const LEVELS: [CompatibilityLevel; 7] =
    [None, Backward, BackwardTransitive, Forward, ForwardTransitive, Full, FullTransitive];

/// A schema with these fields.
fn record(fields: &str) -> Schema {
    avro(&format!(r#"{{"type":"record","name":"R","namespace":"rules","fields":[{fields}]}}"#))
}

const ITEM: &str = r#"{"name":"item","type":"string"}"#;

pub(crate) fn try_all(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    settings(tried)?;
    next_after_one(tried)?;
    next_after_two(tried)?;
    other_formats(tried)
}

fn settings(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    let registry = tried.client(&[])?;
    registry.register("ruled", &record(ITEM))?;
    tried.gives("rule of a subject without one", "None", &told(registry.compatibility("ruled")));
    for level in LEVELS {
        registry.set_compatibility("ruled", level)?;
        tried.gives(&format!("rule {level:?}"), format!("{level:?}"), &told(registry.compatibility("ruled")));
    }
    let why = "Apicurio asks for the subject first";
    tried.gives("rule of no subject", other("None", "no none (40401)", why), &told(registry.compatibility("none")));
    registry.set_compatibility("to-come", Full)?;
    tried.gives("rule of a subject to come", "Full", &told(registry.compatibility("to-come")));
    tried.gives("a rule makes no subject", "no to-come (40401)", &told(registry.versions("to-come")));
    tried.gives("anything could be the first", "true", &told(registry.is_compatible("to-come", &record(ITEM))));
    Ok(())
}

/// Whether a schema fits the newest one, and whether it is taken.
fn follows(
    tried: &mut Tried<'_>,
    (subject, call): (&str, &str),
    next: &Schema,
    (fits, expected): (bool, bool),
) -> Result<(), SchemaError> {
    let registry = tried.client(&[])?;
    tried.gives(&format!("{call}: fits"), fits.to_string(), &told(registry.is_compatible(subject, next)));
    let registered = registry.register(subject, next).map_or_else(|error| kind(&error), |_| "taken".to_owned());
    let expected = if expected { "taken".to_owned() } else { format!("incompatible with {subject}") };
    tried.gives(&format!("{call}: register"), expected, &registered);
    Ok(())
}

fn next_after_one(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    // What is written with the old is read with the new, and the other way.
    let candidates = [
        ("a field with a default", format!(r#"{ITEM},{{"name":"note","type":"string","default":""}}"#), true, true),
        ("a field without", format!(r#"{ITEM},{{"name":"note","type":"string"}}"#), false, true),
        ("a field less", r#"{"name":"only","type":"int","default":0}"#.to_owned(), true, false),
        ("another type", r#"{"name":"item","type":"int"}"#.to_owned(), false, false),
    ];
    for level in LEVELS {
        for (at, (what, fields, backward, forward)) in candidates.iter().enumerate() {
            let subject = format!("{level:?}-{at}");
            let registry = tried.client(&[])?;
            registry.register(&subject, &record(ITEM))?;
            registry.set_compatibility(&subject, level)?;
            let expected = match level {
                None => true,
                Backward | BackwardTransitive => *backward,
                Forward | ForwardTransitive => *forward,
                _ => *backward && *forward,
            };
            let call = format!("{level:?}, {what}");
            follows(tried, (&subject, &call), &record(fields), (expected, expected))?;
        }
    }
    Ok(())
}

/// A field that goes, and comes back as another: its neighbours fit each other, the first and the last do not.
fn next_after_two(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    let first = record(&format!(r#"{ITEM},{{"name":"note","type":"string"}}"#));
    let third = record(&format!(r#"{ITEM},{{"name":"note","type":"int","default":0}}"#));
    for level in LEVELS {
        let subject = format!("{level:?}-two");
        let registry = tried.client(&[])?;
        registry.register(&subject, &first)?;
        registry.register(&subject, &record(ITEM))?;
        registry.set_compatibility(&subject, level)?;
        let expected = matches!(level, None | Backward | Forward | Full);
        follows(tried, (&subject, &format!("{level:?}, after two")), &third, (true, expected))?;
    }
    Ok(())
}

fn other_formats(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    let why = "the registry in memory compares Avro alone";
    for (subject, schema, next) in [
        ("rule-protobuf", protobuf(SHOP), protobuf(&SHOP.replace("int32 count", "string count"))),
        ("rule-json", json(JSON_ORDER), json(&JSON_ORDER.replace("string", "integer"))),
    ] {
        let registry = tried.client(&[])?;
        registry.register(subject, &schema)?;
        registry.set_compatibility(subject, Backward)?;
        let refused = format!("incompatible with {subject}");
        let got = told(registry.register(subject, &next));
        tried.gives(&format!("{subject}: another type"), other("refused (501)", &refused, why), &got);
        let fits = told(registry.is_compatible(subject, &next));
        tried.gives(&format!("{subject}: fits"), other("refused (501)", "false", why), &fits);
    }
    Ok(())
}
