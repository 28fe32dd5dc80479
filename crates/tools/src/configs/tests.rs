use std::collections::BTreeMap;

use vltava_client::admin::AlterConfigOp;

use super::changes::changes;
use super::command_line::{OPTIONS, check};
use super::entity::{Asked, Entity, Kind};
use super::plan::{Plan, plan};
use crate::failure::Failure;
use crate::options::Options;

fn options(line: &str) -> Options {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    Options::parse(OPTIONS, &words).expect(line)
}

fn entity(line: &str) -> Result<Entity, String> {
    Ok(asked(line)?.head())
}

fn asked(line: &str) -> Result<Asked, String> {
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
        (
            "--alter --entity-type client-metrics --add-config metrics=",
            "An entity name must be specified with --alter of client-metrics",
        ),
        (
            "--describe --entity-type client-metrics --entity-default",
            "--entity-default must not be specified with --describe of client-metrics",
        ),
        ("--describe --entity-type users --entity-type users", "Duplicate entity type(s) specified: users"),
        (
            "--describe --entity-type users --entity-type ips",
            "Only 'users' and 'clients' entity types may be specified together",
        ),
        (
            "--describe --entity-type users --entity-name a --entity-name b",
            "More entity names specified than entity types",
        ),
        (
            "--alter --entity-type users --entity-type clients --entity-name a --add-config producer_byte_rate=1",
            "An entity name must be specified for every entity type",
        ),
        (
            "--alter --entity-type ips --add-config connection_creation_rate=1",
            "An entity-name or default entity must be specified with --alter of users, clients, brokers or ips",
        ),
        (
            "--describe --ip no.such.host.invalid",
            "The entity name for ips must be a valid IP or resolvable host, but it is: no.such.host.invalid",
        ),
    ] {
        assert_eq!(entity(line).unwrap_err(), expected, "{line}");
    }
}

#[test]
fn users_and_clients_go_together_in_their_order() {
    let both =
        |kinds: [Kind; 2], names: [&str; 2]| Asked { kinds: kinds.to_vec(), names: names.map(str::to_owned).to_vec() };
    let (user, client) = (Kind::User, Kind::Client);
    for (line, expected) in [
        ("--entity-type users --entity-name u --entity-type clients --entity-name c", both([user, client], ["u", "c"])),
        ("--entity-type users --entity-type clients --entity-name u --entity-default", both([user, client], ["u", ""])),
        ("--entity-type users --entity-default --entity-type clients --entity-name c", both([user, client], ["", "c"])),
        ("--entity-type clients --entity-name c --entity-type users --entity-name u", both([client, user], ["c", "u"])),
        ("--user u --client c", both([client, user], ["c", "u"])),
        ("--user u --client-defaults", both([user, client], ["u", ""])),
    ] {
        assert_eq!(asked(&format!("--describe {line}")).unwrap(), expected, "{line}");
    }
    let any = asked("--describe --entity-type users --entity-type clients --entity-name u").unwrap();
    assert_eq!((any.kinds.len(), any.names.len()), (2, 1));
}

#[test]
fn quotas_and_credentials_are_told_apart() {
    let plan = |line: &str| {
        let line = format!("--bootstrap-server b --alter {line}");
        let options = options(&line);
        plan(&check(&options).unwrap(), changes(&options).unwrap()).map_err(|failure| failure.message().to_owned())
    };
    let quotas =
        "--client c --add-config producer_byte_rate=1024,request_percentage=0.5 --delete-config consumer_byte_rate";
    let expected = [
        ("consumer_byte_rate".to_owned(), None),
        ("producer_byte_rate".to_owned(), Some(1024.0)),
        ("request_percentage".to_owned(), Some(0.5)),
    ];
    assert_eq!(plan(quotas).unwrap(), Plan::Quotas(BTreeMap::from(expected)));
    assert!(matches!(plan("--user u --add-config SCRAM-SHA-256=[password=x]"), Ok(Plan::Credentials(_))));
    for (line, expected) in [
        (
            "--user-defaults --add-config SCRAM-SHA-256=[password=x]",
            "The use of --entity-default or --user-defaults is not allowed with User SCRAM Credentials using \
             --bootstrap-server.",
        ),
        (
            "--user u --add-config SCRAM-SHA-256=[password=x],producer_byte_rate=1",
            "Cannot alter both quota and SCRAM credential configs simultaneously for 'users' using --bootstrap-server.",
        ),
        (
            "--user u --add-config a=1",
            "Only quota and SCRAM credential configs can be added for 'users' using --bootstrap-server. Unexpected \
             config names: Set(a)",
        ),
        (
            "--client c --add-config SCRAM-SHA-256=[password=x]",
            "Only quota configs can be added for 'clients' using --bootstrap-server. Unexpected config names: \
             Set(SCRAM-SHA-256)",
        ),
        (
            "--user u --client c --delete-config SCRAM-SHA-256",
            "Only quota configs can be deleted for 'clients' using --bootstrap-server. Unexpected config names: \
             ArrayBuffer(SCRAM-SHA-256)",
        ),
        (
            "--ip 10.0.0.1 --add-config producer_byte_rate=1",
            "Only connection quota configs can be added for 'ips' using --bootstrap-server. Unexpected config names: \
             producer_byte_rate",
        ),
        (
            "--client c --add-config producer_byte_rate=much",
            "Cannot parse quota configuration value for producer_byte_rate: much",
        ),
    ] {
        assert_eq!(plan(line).unwrap_err(), expected, "{line}");
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
