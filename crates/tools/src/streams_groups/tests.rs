use super::command_line::{OPTIONS, check};
use crate::options::Options;

fn refusal(line: &str) -> Option<String> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let refused = Options::parse(OPTIONS, &words).and_then(|options| check(&options));
    refused.err().map(|failure| failure.message().to_owned())
}

#[test]
fn what_does_not_go_together_is_refused_in_kafkas_words() {
    let actions = "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, or \
        --delete-offsets.";
    let cases = [
        ("", actions),
        ("--describe --delete --group g", actions),
        ("--list --group g", "Option \"[group]\" can't be used with option \"[list]\""),
        ("--describe", "Option [describe] takes one of these options: [all-groups], [group]"),
        ("--describe --group g --state stable", "Option [describe] does not take a value for [state]"),
        (
            "--describe --group g --state --members",
            "Option [describe] takes at most one of these options: [members], [offsets], [state]",
        ),
        (
            "--delete --group g --input-topic t",
            "Kafka Streams does not support topic-specific offset deletion from a streams group.",
        ),
        (
            "--delete-offsets --group g",
            "Option [delete-offsets] takes the [group] and one of these options: [all-input-topics], [input-topic]",
        ),
        (
            "--delete-offsets --group g --group h --input-topic t",
            "Option [delete-offsets] supports only one [group] at a time, but found: [g, h]",
        ),
        ("--reset-offsets --group g --to-earliest", "Option [reset-offsets] takes the option: [execute] or [dry-run]"),
        (
            "--reset-offsets --group g --dry-run --execute",
            "Option [reset-offsets] only accepts one of [execute] and [dry-run]",
        ),
        (
            "--reset-offsets --group g --dry-run --to-earliest --shift-by 1",
            "Option \"[shift-by]\" can't be used with option \"[to-earliest]\"",
        ),
        (
            "--list --delete-all-internal-topics",
            "Option [delete-all-internal-topics] takes one of these options: [delete], [reset-offsets]",
        ),
        (
            "--reset-offsets --group g --dry-run --delete-internal-topic t",
            "Option [delete-internal-topic] takes [reset-offsets] when [execute] is used.",
        ),
        ("--describe --group g --dry-run", "Only Option [reset-offsets] accepts [execute] or [dry-run]"),
    ];
    for (line, expected) in cases {
        assert_eq!(refusal(&format!("--bootstrap-server b {line}")).as_deref(), Some(expected), "{line}");
    }
    assert_eq!(refusal("--list").as_deref(), Some("Missing required argument \"[bootstrap-server]\""));
}

#[test]
fn what_goes_together_is_taken() {
    for line in [
        "--list --state notready",
        "--describe --all-groups --members --verbose",
        "--reset-offsets --group a --all-input-topics --to-current --dry-run --export",
        "--reset-offsets --all-groups --input-topic t:0,1 --shift-by -3 --execute --delete-all-internal-topics",
        "--delete --group g --delete-all-internal-topics",
        "--delete-offsets --group g --all-input-topics",
    ] {
        assert_eq!(refusal(&format!("--bootstrap-server b {line}")), None, "{line}");
    }
}
