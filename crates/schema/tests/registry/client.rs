use std::net::TcpListener;

use vltava_schema::{
    CompatibilityLevel, Deletion, MockRegistry, RegistryConfig, Schema, SchemaError, SchemaReference, SchemaRegistry,
    SchemaType,
};

use crate::{
    client,
    fake::{self, FakeRegistry, STRICT},
};

fn schema(text: &str) -> Schema {
    Schema::new(SchemaType::Json, text)
}

#[test]
fn ids_and_schemas_are_asked_for_once() {
    let fake = FakeRegistry::start();
    let registry = client(&fake, &[]);
    for _ in 0..3 {
        assert_eq!(registry.register("a/b", &schema("{}")).unwrap(), 1);
        assert_eq!(*registry.schema(1).unwrap(), schema("{}"));
    }
    assert_eq!(fake.requests(), ["POST /subjects/a%2Fb/versions", "GET /schemas/ids/1"]);
}

#[test]
fn what_the_registry_refuses_is_an_error_of_its_kind() {
    let fake = FakeRegistry::start();
    let registry = client(&fake, &[]);
    registry.register(STRICT, &schema("1")).unwrap();
    let incompatible = registry.register(STRICT, &schema("2")).unwrap_err();
    assert!(matches!(&incompatible, SchemaError::Incompatible { subject, .. } if subject == STRICT));
    assert!(incompatible.is_fatal() && !incompatible.is_retriable());
    assert!(!registry.is_compatible(STRICT, &schema("2")).unwrap());
    assert!(registry.is_compatible("other", &schema("2")).unwrap());
    assert!(matches!(registry.schema(9), Err(SchemaError::NotFound { code: 40403, .. })));
    assert!(matches!(registry.latest("none"), Err(SchemaError::NotFound { code: 40401, .. })));
    assert!(matches!(registry.version(STRICT, 7), Err(SchemaError::NotFound { code: 40402, .. })));
    assert!(matches!(registry.id_of(STRICT, &schema("2")), Err(SchemaError::NotFound { code: 40403, .. })));
    let invalid = registry.register("s", &schema("invalid")).unwrap_err().to_string();
    assert_eq!(invalid, "not a valid JSON schema: Invalid schema");
}

#[test]
fn logs_in_with_basic_authentication() {
    let fake = FakeRegistry::start();
    fake.require("Basic ZnJlZDpsZXRtZWlu");
    let refused = client(&fake, &[]).subjects().unwrap_err();
    assert!(matches!(refused, SchemaError::Unauthorized { status: 401, .. }), "{refused}");
    let login = [("basic.auth.credentials.source", "USER_INFO"), ("basic.auth.user.info", "fred:letmein")];
    assert_eq!(client(&fake, &login).subjects().unwrap(), Vec::<String>::new());
    let url = fake.url.replace("http://", "http://fred:letmein@");
    let registry = SchemaRegistry::new(RegistryConfig::builder(url).build().unwrap()).unwrap();
    assert_eq!(registry.subjects().unwrap(), Vec::<String>::new());
}

#[test]
fn the_next_address_answers_when_one_is_away() {
    let fake = FakeRegistry::start();
    // Bound and dropped: nobody listens there.
    let away = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let both = format!("{away},{}", fake.url);
    let registry = SchemaRegistry::new(RegistryConfig::builder(both).build().unwrap()).unwrap();
    assert_eq!(registry.register("s", &schema("{}")).unwrap(), 1);
    let registry = SchemaRegistry::new(RegistryConfig::builder(&away).build().unwrap()).unwrap();
    let error = registry.register("s", &schema("{}")).unwrap_err();
    assert!(error.is_retriable() && matches!(&error, SchemaError::Unavailable { url, .. } if *url == away), "{error}");
}

#[test]
fn references_come_before_what_needs_them() {
    let fake = FakeRegistry::start();
    let registry = client(&fake, &[]);
    let to = |subject: &str| SchemaReference { name: subject.to_owned(), subject: subject.to_owned(), version: 1 };
    let (a, b) = (schema("1"), schema("2").with_references([to("a")]));
    let c = schema("3").with_references([to("a"), to("b")]);
    for (subject, schema) in [("a", &a), ("b", &b), ("c", &c)] {
        registry.register(subject, schema).unwrap();
    }
    let found: Vec<_> = registry.referenced(&c).unwrap().iter().map(|schema| schema.text.clone()).collect();
    assert_eq!(found, ["1", "2"]);
    registry.register("circle", &schema("4").with_references([to("circle")])).unwrap();
    let circle = registry.referenced(&registry.latest("circle").unwrap().schema).unwrap_err();
    assert!(circle.to_string().contains("circle"), "{circle}");
}

#[test]
fn an_answer_that_is_none_is_a_typed_error() {
    let fake = FakeRegistry::start();
    let registry = client(&fake, &[]);
    // The fake knows no such path, which is how a wrong base address looks.
    let base = format!("{}/wrong", fake.url);
    let wrong = SchemaRegistry::new(RegistryConfig::builder(base).build().unwrap()).unwrap();
    let error = wrong.subjects().unwrap_err();
    assert!(matches!(error, SchemaError::Registry { status: 405, code: 405, .. }), "{error}");
    assert!(registry.subjects().unwrap().is_empty());
}

#[test]
fn a_registry_in_memory_answers_as_one_over_http() {
    let config = || RegistryConfig::builder("http://mock").build().unwrap();
    let mock = MockRegistry::new();
    let (one, two) = (mock.client(config()), mock.client(config()));
    assert_eq!(one.register("a/b", &schema("{}")).unwrap(), 1);
    assert_eq!(two.register("a/b", &schema("[]")).unwrap(), 2);
    assert_eq!(two.register("other", &schema("{}")).unwrap(), 1, "an id is a schema's over all subjects");
    let latest = one.latest("a/b").unwrap();
    assert_eq!((latest.id, latest.version, latest.schema.text.as_str()), (2, 2, "[]"));
    assert_eq!(one.subjects().unwrap(), ["a/b", "other"]);
    assert!(one.is_compatible("a/b", &schema("1")).unwrap());
    one.set_compatibility("a/b", CompatibilityLevel::Backward).unwrap();
    let refused = one.is_compatible("a/b", &schema("1")).unwrap_err();
    assert!(matches!(refused, SchemaError::Registry { status: 501, .. }), "{refused}");
}

#[test]
fn what_is_deleted_is_registered_anew() {
    let fake = FakeRegistry::start();
    let registry = client(&fake, &[]);
    registry.register("s", &schema("{}")).unwrap();
    registry.register("s", &schema("[]")).unwrap();
    let early = registry.delete_version("s", 1, Deletion::Permanent).unwrap_err();
    assert!(matches!(early, SchemaError::Registry { status: 404, code: 40407, .. }), "{early}");
    registry.delete_version("s", 1, Deletion::Soft).unwrap();
    assert_eq!(registry.versions("s").unwrap(), [2]);
    registry.register("s", &schema("{}")).unwrap();
    assert_eq!(registry.versions("s").unwrap(), [2, 3], "the client must not answer from what it knew");
    assert_eq!(registry.delete_subject("s", Deletion::Soft).unwrap(), [2, 3]);
    assert_eq!(registry.delete_subject("s", Deletion::Permanent).unwrap(), [1, 2, 3]);
    assert_eq!(registry.subjects().unwrap(), [""; 0]);
}

/// Answers that are not the mock's, as other registries and what is no registry give them.
#[test]
fn codes_say_more_than_statuses() {
    let answered = |status: u16, body: &'static str| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answering = std::thread::spawn(move || fake::answer_once(&listener, status, body));
        let registry = SchemaRegistry::new(RegistryConfig::builder(url).build().unwrap()).unwrap();
        let error = registry.delete_version("s", 1, Deletion::Soft).unwrap_err();
        answering.join().unwrap();
        error
    };
    let deleted = answered(409, r#"{"error_code":40406,"message":"Schema is already soft deleted"}"#);
    assert!(matches!(deleted, SchemaError::NotFound { code: 40406, .. }), "{deleted}");
    let taken = answered(409, r#"{"error_code":40904,"message":"An association already exists"}"#);
    assert!(matches!(taken, SchemaError::Registry { status: 409, code: 40904, .. }), "{taken}");
    let incompatible = answered(409, r#"{"error_code":40901,"message":"x"}"#);
    assert!(matches!(incompatible, SchemaError::Incompatible { .. }), "{incompatible}");
    for body in ["<html>", r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#] {
        let wrong = answered(404, body).to_string();
        assert!(
            wrong.ends_with("is `schema.registry.url` right?") && wrong.contains("DELETE http://127.0.0.1:"),
            "{wrong}"
        );
    }
}
