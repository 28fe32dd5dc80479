use super::{OptionSpec, Options, flag, optional_value, usage, value};
use crate::failure::Failure;

const TABLE: &[OptionSpec] = &[
    flag("create", "Makes one."),
    flag("describe", "Tells about one."),
    flag("members", "Tells about members.").available_if(&["describe"]),
    value("topic", "topic", "Its name."),
    value("config", "name=value", "A setting.").repeatable(),
    value("partitions", "count", "How many.").int().default("1"),
    optional_value("state", "state", "Which."),
    value("later", "what", "Not there.").not_yet(),
];

fn parse(line: &str) -> Result<Options, Failure> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    Options::parse(TABLE, &words)
}

fn refusal(line: &str) -> String {
    parse(line).expect_err(line).message().to_owned()
}

#[test]
fn reads_values_in_both_forms_and_with_one_dash() {
    for line in ["--topic a --create", "--topic=a --create", "-topic a -create"] {
        let options = parse(line).expect(line);
        assert_eq!(options.value("topic"), Some("a"));
        assert!(options.has("create") && !options.has("describe"));
    }
}

#[test]
fn keeps_what_follows_the_first_equals_sign() {
    let options = parse("--config=a=b --config c=d=e").expect("a command line");
    assert_eq!(options.values("config"), ["a=b", "c=d=e"]);
}

#[test]
fn takes_negative_numbers_as_values() {
    assert_eq!(parse("--partitions -3").expect("a command line").int("partitions"), Some(-3));
    assert_eq!(parse("--state -1").expect("a command line").value("state"), Some("-1"));
}

#[test]
fn defaults_are_values_but_not_given() {
    let options = parse("--create").expect("a command line");
    assert_eq!((options.int("partitions"), options.has("partitions")), (Some(1), false));
}

#[test]
fn an_optional_value_is_not_the_next_option() {
    let options = parse("--state --create").expect("a command line");
    assert_eq!((options.has("state"), options.value("state")), (true, None));
    assert_eq!(parse("--state stable").expect("a command line").value("state"), Some("stable"));
}

#[test]
fn refuses_in_the_words_of_kafkas_parser() {
    let cases = [
        ("--nonsense", "nonsense is not a recognized option"),
        ("--topic", "Option topic requires an argument"),
        ("--topic a --topic b", "Found multiple arguments for option topic, but you asked for only one"),
        ("--partitions four", "Cannot parse argument 'four' of option partitions"),
        ("--members", "Option(s) [members] are unavailable given other options on the command line"),
        ("--later x", "option --later is not supported yet"),
    ];
    for (line, expected) in cases {
        assert_eq!(refusal(line), expected);
    }
}

#[test]
fn checks_combinations_as_kafka_words_them() {
    let options = parse("--create --topic a").expect("a command line");
    let text = |result: Result<(), Failure>| result.expect_err("a refusal").message().to_owned();
    assert_eq!(text(options.require(&["topic", "describe"])), "Missing required argument \"[describe]\"");
    assert_eq!(
        text(options.exclude("create", &["topic"])),
        "Option \"[create]\" can't be used with option \"[topic]\""
    );
    assert_eq!(
        text(options.require_one_of(&["create", "topic"])),
        "Exactly one of the following arguments is required: [create], [topic]"
    );
}

#[test]
fn usage_lists_what_is_acted_on_in_order() {
    insta::assert_snapshot!(usage(TABLE), @r"
    Option                                  Description
    ------                                  -----------
    --config <name=value>                   A setting.
    --create                                Makes one.
    --describe                              Tells about one.
    --help                                  Print usage information.
    --members                               Tells about members.
    --partitions <count>                    How many. (default: 1)
    --state [state]                         Which.
    --topic <topic>                         Its name.
    --version                               Display Kafka version.
    ");
}
