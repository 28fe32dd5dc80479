use std::collections::BTreeMap;

use vltava_client::admin::AlterConfigOp;

use super::changes::changes;
use super::command_line::{OPTIONS, check};
use super::entity::{Entity, Kind};
use crate::failure::Failure;
use crate::options::Options;

fn options(line: &str) -> Options {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    Options::parse(OPTIONS, &words).expect(line)
}

fn entity(line: &str) -> Result<Entity, String> {
    check(&options(&format!("--bootstrap-server b {line}"))).map_err(|failure| failure.message().to_owned())
}

#[test]
fn entities_have_a_long_and_a_short_form() {
    let topic = Entity { kind: Kind::Topic, name: Some("t".to_owned()) };
    assert_eq!(entity("--describe --entity-type topics --entity-name t").unwrap(), topic);
    assert_eq!(entity("--describe --topic t --all").unwrap(), topic);
    let defaults = Entity { kind: Kind::Broker, name: Some(String::new()) };
    assert_eq!(entity("--alter --broker-defaults --add-config a=b").unwrap(), defaults);
    assert_eq!(entity("--describe --entity-type brokers --entity-default").unwrap(), defaults);
    assert_eq!(entity("--describe --entity-type brokers").unwrap().name, None);
}

#[test]
fn what_does_not_go_together_is_refused_in_kafkas_words() {
    for (line, expected) in [
        ("--describe --alter --topic t", "Command must include exactly one action: --describe, --alter"),
        ("--describe", "At least one entity type must be specified"),
        ("--describe --topic t --broker 1", "Only 'users' and 'clients' entity types may be specified together"),
        (
            "--describe --topic t --entity-name u",
            "--entity-{type,name,default} should not be used in conjunction with specific entity flags",
        ),
        ("--describe --broker one", "The entity name for brokers must be a valid integer broker id, but it is: one"),
        (
            "--describe --entity-type topics --entity-default",
            "--entity-default must not be specified with --describe of topics",
        ),
        ("--alter --entity-type topics --add-config a=b", "An entity name must be specified with --alter of topics"),
        (
            "--alter --topic t",
            "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter",
        ),
        ("--describe --entity-type clients", "--entity-type clients is not supported yet"),
        (
            "--alter --entity-type users --entity-default --add-config SCRAM-SHA-256=[password=x]",
            "The use of --entity-default or --user-defaults is not allowed with User SCRAM Credentials using \
             --bootstrap-server.",
        ),
    ] {
        assert_eq!(entity(line).unwrap_err(), expected, "{line}");
    }
}

#[test]
fn brackets_keep_commas_together() {
    let of = |text: &str| -> Result<BTreeMap<String, AlterConfigOp>, Failure> {
        changes(&options(&format!("--alter --topic t --add-config {text}")))
    };
    let set = |text: &str| AlterConfigOp::Set(text.to_owned());
    let read: Vec<_> = of("a=1,b=[x,y=z],c=").unwrap().into_iter().collect();
    assert_eq!(read, [("a".to_owned(), set("1")), ("b".to_owned(), set("x,y=z")), ("c".to_owned(), set(""))]);
    for text in ["a", "a=1,b", "a=1=2"] {
        assert!(of(text).unwrap_err().message().starts_with("requirement failed: Invalid entity config"), "{text}");
    }
    assert_eq!(of("a/b=1").unwrap_err().message(), "Invalid character found for config key: a/b");
    let both = options("--alter --topic t --add-config a=1 --delete-config b,c");
    let read: Vec<_> = changes(&both).unwrap().into_values().collect();
    assert_eq!(read, [set("1"), AlterConfigOp::Delete, AlterConfigOp::Delete]);
}
