use super::spec::{self, Versions};
use super::{generate, is_ci, jars, names, workspace_root};

#[test]
fn committed_code_is_what_codegen_writes() {
    let root = workspace_root().unwrap();
    // A test does not download, but in CI nothing may be skipped.
    let network = if is_ci() { jars::Network::Allowed } else { jars::Network::Avoided };
    let Some(jars) = jars::find(None, &root, network).unwrap() else {
        assert!(!is_ci(), "Maven is missing");
        eprintln!("skipped: Apache Kafka's jars are not at hand, `cargo xtask codegen` fetches them");
        return;
    };
    let differing = generate(&jars, &root).unwrap().differing(&root).unwrap();
    assert_eq!(differing, Vec::<String>::new(), "run `cargo xtask codegen`");
}

#[test]
fn versions_are_parsed() {
    let range = |low, high| Some(Versions { low, high });
    assert_eq!(Versions::parse("none").unwrap(), None);
    assert_eq!(Versions::parse("3").unwrap(), range(3, 3));
    assert_eq!(Versions::parse("3-5").unwrap(), range(3, 5));
    assert_eq!(Versions::parse("3+").unwrap(), range(3, i16::MAX));
    assert!(Versions::parse("5-3").is_err());
    assert!(Versions::parse("x").is_err());
}

#[test]
fn comments_are_no_part_of_a_specification() {
    let spec = spec::parse(
        "// one\n{ \"name\": \"A//b\", // two\n \"type\": \"data\", \"validVersions\": \"0\",\n// {\n \"fields\": [] }",
    );
    assert_eq!(spec.unwrap().name, "A//b");
}

#[test]
fn names_are_in_snake_case() {
    for (kafka, rust) in [
        ("TransactionalId", "transactional_id"),
        ("V3AndBelowProducerId", "v3_and_below_producer_id"),
        ("Enable2Pc", "enable2_pc"),
        ("KRaftVersionRecord", "kraft_version_record"),
        ("currentStateTimestamp", "current_state_timestamp"),
    ] {
        assert_eq!(names::snake(kafka), rust);
    }
    assert_eq!(names::field("Type"), "r#type");
}
