use super::command_line::{OPTIONS, check};
use super::filter::TopicFilter;
use super::{configs, replica_assignment};
use crate::options::Options;

fn options(line: &str) -> Options {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    Options::parse(OPTIONS, &words).expect(line)
}

#[test]
fn filters_are_regular_expressions_over_whole_names() {
    let cases = [
        ("users", "users", true),
        ("users", "users2", false),
        ("users.*", "users2", true),
        ("a,b", "b", true),
        ("'a'", "a", true),
        ("a, b", "b", true),
    ];
    for (filter, topic, expected) in cases {
        assert_eq!(TopicFilter::new(filter).expect(filter).matches(topic), expected, "{filter} {topic}");
    }
    let refused = TopicFilter::new("a(").err().expect("no regex");
    assert_eq!(refused.message(), "a( is an invalid regex.");
}

#[test]
fn replica_assignments_are_lists_of_lists() {
    let read = |text: &str| replica_assignment(&options(&format!("--replica-assignment {text}")));
    assert_eq!(read("0:1,1:2").expect("an assignment"), [vec![0, 1], vec![1, 2]]);
    let cases = [
        ("0:0", "Partition replica lists may not contain duplicate entries: 0"),
        ("0:1,2", "Partition 1 has different replication factor: [2]"),
        ("x", "For input string: \"x\""),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text).expect_err(text).message(), expected);
    }
    assert!(replica_assignment(&options("--list")).expect("nothing given").is_empty());
}

#[test]
fn settings_have_one_equals_sign() {
    let read = |text: &str| configs(&[text.to_owned()]);
    assert_eq!(read("a = b").expect("a setting").get("a").map(String::as_str), Some("b"));
    for text in ["a", "a=", "a=b=c"] {
        let refused = read(text).expect_err(text);
        assert!(refused.message().starts_with("requirement failed: Invalid topic config"), "{refused}");
    }
}

#[test]
fn refuses_in_kafkas_words_what_does_not_go_together() {
    let server = "--bootstrap-server localhost:9092";
    let cases = [
        (
            format!("--list --create {server}"),
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete",
        ),
        ("--list".to_owned(), "--bootstrap-server must be specified"),
        (format!("--create {server}"), "Missing required argument \"[topic]\""),
        (format!("--alter --topic a {server}"), "Missing required argument \"[partitions]\""),
        (format!("--list --if-not-exists {server}"), "Option \"[if-not-exists]\" can't be used with option \"[list]\""),
        (
            format!("--create --topic a --partitions 1 --replica-assignment 0 {server}"),
            "Option \"[replica-assignment]\" can't be used with option \"[partitions]\"",
        ),
    ];
    for (line, expected) in cases {
        let refused = check(&options(&line), &mut Vec::new()).expect_err(&line);
        assert_eq!(refused.message(), expected, "{line}");
    }
    check(&options(&format!("--describe --topic a {server}")), &mut Vec::new()).expect("all is well");
}
